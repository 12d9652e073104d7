//! An endpoint as the book has it: what probes, requests and people say of it, and how it stands by that.

use std::sync::Arc;
use std::time::Duration;

use super::told;
use crate::config::Probe;
use crate::upstream::health::{Checks, Outlier, checks, ejection, slow_start};
use crate::upstream::roster::SHARE_WHOLE;
use crate::upstream::{Member, Standing};

/// How an endpoint is probed. Another number is another probe: what an older one says no longer counts.
#[derive(Debug)]
pub(super) struct Probing {
    pub(super) number: u64,
    pub(super) probe: Arc<Probe>,
    /// What the last one said, and when.
    pub(super) last: Option<(Duration, Result<(), String>)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// What the cores hear, as it is now.
    pub(super) member: Member,
    pub(super) checks: Checks,
    pub(super) outlier: Outlier,
    /// Somebody wants it to get no requests.
    pub(super) drained: bool,
    pub(super) probing: Option<Probing>,
    /// Since when it stands as it does.
    pub(super) since: Duration,
    /// Since when its probes fail, and why it is down.
    down: Option<(Duration, String)>,
    /// Since when it is ejected, and why.
    ejected: (Duration, String),
    /// Since when its share grows, if it is not whole yet.
    growing: Option<Duration>,
}

impl Endpoint {
    /// An endpoint that nothing is known of. One that joins others gets its share little by little.
    pub(super) fn new(member: Member, joins: bool, now: Duration) -> Endpoint {
        Endpoint {
            member,
            checks: Checks::default(),
            outlier: Outlier::default(),
            drained: false,
            probing: None,
            since: now,
            down: None,
            ejected: (Duration::ZERO, String::new()),
            growing: joins.then_some(now),
        }
    }

    /// It has joined others, and is to be probed: until that was done it is down.
    pub(super) fn join(&mut self, now: Duration) {
        self.checks = Checks::joining();
        self.down = Some((now, told::UNPROBED.to_owned()));
    }

    /// There are no others that are up: it need not wait for its first probe.
    pub(super) fn admit(&mut self) {
        if self.checks.is_joining() {
            self.checks.admit();
            self.down = None;
        }
    }

    /// Whether it gets requests, as far as that is known before somebody settles it.
    pub(super) fn is_up(&self) -> bool {
        self.is_eligible() && !self.outlier.is_out()
    }

    /// Takes what look-ups and the configuration say of it, and keeps how it stands.
    pub(super) fn follow(&mut self, member: Member) {
        let Member { share, standing, shared, .. } = self.member.clone();
        self.member = Member { share, standing, shared, ..member };
    }

    /// Takes the settings of its probes. One that is probed no more is up, as far as anybody knows.
    pub(super) fn probe_by(&mut self, probe: Option<&Arc<Probe>>, next_number: &mut u64) {
        let same = match (&self.probing, probe) {
            (Some(probing), Some(probe)) => probing.probe == *probe,
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        if probe.is_none() {
            (self.checks, self.down) = (Checks::default(), None);
        }
        let last = self.probing.take().and_then(|probing| probing.last);
        self.probing = probe.map(|probe| {
            *next_number += 1;
            Probing { number: *next_number, probe: probe.clone(), last }
        });
    }

    /// Takes what a probe said: what there is to tell, and whether it is up or down by that; none if nothing changed.
    pub(super) fn probed(
        &mut self,
        result: Result<(), String>,
        now: Duration,
    ) -> Option<(checks::Change, String)> {
        let probing = self.probing.as_mut()?;
        let (rise, fall) = (probing.probe.rise, probing.probe.fall);
        let is_first = self.checks.is_joining();
        let change = self.checks.take(result.is_ok(), rise, fall);
        let why = result.as_ref().err().cloned().unwrap_or_default();
        probing.last = Some((now, result));
        let text = match change? {
            checks::Change::Down(count) => {
                let why = told::probes_failed(count, &why);
                let text = format!("is down: {why}");
                self.down = Some((now, why));
                text
            }
            checks::Change::Up(_) if is_first => {
                self.down = None;
                "is up: its first probe has passed".to_owned()
            }
            checks::Change::Up(_) => {
                let since = self.down.take().map_or(now, |(since, _)| since);
                format!("is up again after {}", told::span(now.saturating_sub(since)))
            }
        };
        change.zip(Some(text))
    }

    /// Takes what was decided about it: what there is to tell.
    pub(super) fn turn(&mut self, turn: ejection::Turn, now: Duration) -> String {
        match turn {
            ejection::Turn::Out { time, cause, last } => {
                let why = told::requests_failed(cause, last);
                let text = format!("is ejected for {}: {why}", told::span(time));
                self.ejected = (now, why);
                text
            }
            ejection::Turn::Back => {
                let what = if self.is_eligible() { "gets requests again" } else { "is no longer ejected" };
                format!("{what} after {}", told::span(now.saturating_sub(self.ejected.0)))
            }
        }
    }

    /// Whether nothing but failed requests could keep it from getting some.
    pub(super) fn is_eligible(&self) -> bool {
        !self.drained && self.checks.is_up()
    }

    /// Works out how it stands, and its share. Shares that grow do so only when `grow` says that it is time.
    pub(super) fn settle(&mut self, slow_start: Option<Duration>, grow: bool, now: Duration) {
        let standing = match (self.drained, self.checks.is_up(), self.outlier.is_out()) {
            (true, _, _) => Standing::Draining,
            (false, false, _) => Standing::Down,
            (false, true, true) => Standing::Ejected,
            (false, true, false) => Standing::Up,
        };
        if standing != self.member.standing {
            (self.member.standing, self.since) = (standing, now);
            self.growing = (standing == Standing::Up).then_some(now);
        }
        let whole = self.member.weight.saturating_mul(SHARE_WHOLE);
        let since = self.growing.filter(|_| standing == Standing::Up);
        let grown = since.zip(slow_start).filter(|(since, span)| now.saturating_sub(*since) < *span);
        let Some((since, span)) = grown else {
            (self.growing, self.member.share) = (None, whole);
            return;
        };
        // One that begins to grow had all until now.
        if grow || self.member.share >= whole {
            self.member.share = slow_start::share(self.member.weight, now.saturating_sub(since), span);
        }
    }

    /// Whether its share is not whole yet.
    pub(super) fn grows(&self) -> bool {
        self.growing.is_some()
    }

    /// Why it stands as it does, where there is a reason.
    pub(super) fn why(&self) -> Option<String> {
        match self.member.standing {
            Standing::Draining => Some("by command".to_owned()),
            Standing::Down => self.down.as_ref().map(|(_, why)| why.clone()),
            Standing::Ejected => Some(self.ejected.1.clone()),
            Standing::Up if self.grows() => Some("its share grows".to_owned()),
            Standing::Up => None,
        }
    }
}
