//! How upstreams are used and kept up: balancing, sticky sessions, probes, ejection, circuit breakers, retries.

use super::said::Either;
use super::said_upstream::{BreakerTable, EjectTable, ProbeTable, UpstreamSaid};
use super::{Blame, Frame, Places};
use crate::config::options::Options;
use crate::config::problem::{Problem, quoted};
use crate::config::quantity::written;
use crate::config::route::Action;
use crate::config::source::Place;
use crate::config::table::{At, Reader, Said};
use crate::config::words::Policy;
use crate::config::{
    Balance, Breaker, Ejection, HashBy, HttpProbe, Probe, ProbeAsk, Queue, Retry, Settings, Sticky,
    UpstreamSettings,
};
use crate::http::fields::is_token;
use crate::limits::REPLAY_BYTES_MAX;

/// The fewest bytes of a secret: fewer can be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// The longest text that a probe looks for, in bytes: more of a response is not looked at.
const PROBE_TEXT_BYTES_MAX: usize = 64 << 10;

/// The bound on the load of an endpoint where nothing is said, in percent of its fair part.
const LOAD_MAX_DEFAULT: u32 = 125;

/// The policy of an upstream by what it is balanced by; what `origin` makes has nothing else to say about it.
pub(super) fn balance(policy: Policy) -> Balance {
    match policy {
        Policy::RoundRobin => Balance::RoundRobin,
        Policy::LeastConnections => Balance::LeastConnections,
        Policy::PowerOfTwo => Balance::PowerOfTwo,
        Policy::Random => Balance::Random,
        Policy::ConsistentHash => {
            Balance::ConsistentHash { by: HashBy::Url, load_max: Some(LOAD_MAX_DEFAULT) }
        }
    }
}

impl Frame<'_, '_> {
    /// Fills in how an upstream is used and kept up. `policy` is what it is balanced by, unless what says that is
    /// wrong.
    pub(super) fn upkeep(
        &self,
        upstream: UpstreamSettings,
        own: &UpstreamSaid,
        options: &Options,
        policy: Option<Policy>,
    ) -> UpstreamSettings {
        let queue = Queue::default();
        UpstreamSettings {
            balance: self.balance(own, policy),
            sticky: self.sticky(&upstream.name, own, policy),
            slow_start: own.slow_start.value.map(|time| time.0),
            queue: Queue {
                waiting_max: own.max_waiting.value.unwrap_or(queue.waiting_max),
                time: own.wait_timeout.value.map_or(queue.time, |time| time.0),
            },
            probe: self.probe(own),
            ejection: self.ejection(own),
            when_down: own.when_down.value.unwrap_or_default(),
            breaker: breaker(own),
            retry: self.retry(own, options),
            proxy_protocol: own.proxy_protocol.value,
            ..upstream
        }
    }

    /// Says of keys that they mean nothing without another.
    fn refuse(&self, keys: &[(&str, Option<Place>)], why: &str) {
        for (key, place) in keys {
            if let Some(place) = place {
                self.reader.error(*place, format!("`{key}` has no use {why}"));
            }
        }
    }

    fn balance(&self, own: &UpstreamSaid, policy: Option<Policy>) -> Balance {
        let load_max = match own.max_load.value {
            Some(load) => load.value().map(|load| load.0),
            None => Some(LOAD_MAX_DEFAULT),
        };
        match policy {
            Some(Policy::ConsistentHash) => {
                Balance::ConsistentHash { by: own.hash_by.value.clone().unwrap_or(HashBy::Url), load_max }
            }
            // A flag may take the place of what the file says for all, and with it the use of these.
            Some(policy) => {
                if self.blame == Blame::File {
                    let keys = [("hash-by", own.hash_by.key), ("max-load", own.max_load.key)];
                    self.refuse(&keys, "without `balance = \"consistent-hash\"`");
                }
                balance(policy)
            }
            None => Balance::default(),
        }
    }

    fn sticky(&self, name: &str, own: &UpstreamSaid, policy: Option<Policy>) -> Option<Sticky> {
        let of_name = || format!("ringway-{name}");
        let (place, said) = own.sticky.at()?;
        let sticky = match said {
            Either::Short(false) => return None,
            Either::Short(true) => Sticky { cookie: of_name(), max_age: None, secure: false, secret: None },
            Either::Long(table) => {
                self.check_cookie(&table.cookie, table.secure.value.unwrap_or(false));
                if let Some((place, secret)) = table.secret.at()
                    && secret.len() < SECRET_BYTES_MIN
                {
                    self.reader.error(place, format!("must have at least {SECRET_BYTES_MIN} bytes"));
                }
                Sticky {
                    cookie: table.cookie.value.clone().unwrap_or_else(of_name),
                    max_age: table.max_age.value.map(|time| time.0),
                    secure: table.secure.value.unwrap_or(false),
                    secret: table.secret.value.clone(),
                }
            }
        };
        if policy == Some(Policy::ConsistentHash) {
            let message = format!(
                "upstream {} cannot be sticky beside consistent-hash: each says by itself where a client goes",
                quoted(name)
            );
            self.reader.error(place, message);
        }
        Some(sticky)
    }

    /// Checks the name of a cookie (RFC 6265, section 4.1.1).
    fn check_cookie(&self, said: &Said<String>, secure: bool) {
        let Some((place, name)) = said.at() else { return };
        let begins =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if !is_token(name.as_bytes()) {
            self.reader.error(place, format!("{name:?} is no name of a cookie"));
        } else if !secure && (begins("__Secure-") || begins("__Host-")) {
            self.reader.error(place, format!("browsers refuse a cookie {name:?} without `secure = true`"));
        }
    }

    fn probe(&self, own: &UpstreamSaid) -> Option<Probe> {
        let (place, said) = own.probe.at()?;
        let table = match said {
            Either::Short(ask) => return Some(Probe::new(ask.0.clone())),
            Either::Long(table) => table,
        };
        let defaults = Probe::new(self.ask(table, place));
        let interval = table.interval.value.map_or(defaults.interval, |time| time.0);
        let timeout = match table.timeout.at() {
            None => defaults.timeout.min(interval / 2),
            Some((place, timeout)) => {
                if timeout.0 >= interval && !table.interval.is_wrong {
                    let shown = written(interval);
                    self.reader.error(place, format!("must be less than `interval`, which is {shown}"));
                }
                timeout.0
            }
        };
        Some(Probe {
            host: table.address.value.as_ref().map(|host| host.0.clone()),
            port: table.port.value.map(|port| port.number()),
            interval,
            jitter: table.jitter.value.map_or(defaults.jitter, |share| share.0),
            timeout,
            rise: table.rise.value.map_or(defaults.rise, |count| count.number()),
            fall: table.fall.value.map_or(defaults.fall, |count| count.number()),
            ..defaults
        })
    }

    fn ask(&self, table: &ProbeTable, place: Place) -> ProbeAsk {
        if table.tcp.value == Some(true) {
            let keys = [
                ("path", table.path.key),
                ("host", table.host.key),
                ("status", table.status.key),
                ("body", table.body.key),
                ("header", table.header.key),
            ];
            self.refuse(&keys, "beside `tcp`, which asks for a connection alone");
            return ProbeAsk::Tcp;
        }
        if !table.path.is_there() && !table.tcp.is_wrong && table.unknown == 0 {
            self.reader.error(place, "needs a `path` to ask for, or `tcp = true`");
        }
        if let Some((place, [])) = table.status.at().map(|(place, list)| (place, &list[..]))
            && !table.status.is_wrong
        {
            self.reader.error(place, "must not be empty");
        }
        if let Some((place, body)) = table.body.at()
            && !(1..=PROBE_TEXT_BYTES_MAX).contains(&body.len())
        {
            self.reader.error(place, format!("must have from 1 to {PROBE_TEXT_BYTES_MAX} bytes"));
        }
        let defaults = HttpProbe::new(table.path.value.as_ref().map_or("/", |path| &path.0));
        ProbeAsk::Http(HttpProbe {
            host: table.host.value.as_ref().map(|host| host.0.clone()),
            statuses: match &table.status.value {
                Some(list) => list.iter().map(|statuses| statuses.0).collect(),
                None => defaults.statuses,
            },
            body: table.body.value.clone(),
            header: self.probe_header(table),
            path: defaults.path,
        })
    }

    /// The one field that has to be there.
    fn probe_header(&self, table: &ProbeTable) -> Option<(String, String)> {
        let (place, map) = table.header.at()?;
        let [(At { place: key, value: name }, At { value: text, .. })] = &map.entries[..] else {
            if !table.header.is_wrong {
                self.reader.error(place, "must have one field");
            }
            return None;
        };
        if !is_token(name.as_bytes()) {
            self.reader.error(*key, format!("{} is no name of a field", quoted(name)));
        }
        if let Some(c) = text.value.chars().find(|c| c.is_control()) {
            self.reader.error(text.place, format!("has a control character ({c:?}), which no field has"));
        }
        Some((name.clone(), text.value.clone()))
    }

    fn ejection(&self, own: &UpstreamSaid) -> Option<Ejection> {
        let defaults = Ejection::default();
        let (place, table) = match own.eject.at() {
            None | Some((_, Either::Short(true))) => return Some(defaults),
            Some((_, Either::Short(false))) => return None,
            Some((place, Either::Long(table))) => (place, table),
        };
        let EjectTable { failures, rate, min_requests, window, max_share, status, .. } = table;
        if !rate.is_there() {
            self.refuse(&[("min-requests", min_requests.key), ("window", window.key)], "without `rate`");
            if failures.value == Some(0) {
                self.reader.error(place, "counts nothing: it needs `failures` or `rate`, or has to be false");
            }
        }
        let time = table.time.value.map_or(defaults.time, |time| time.0);
        let time_max = match table.max_time.at() {
            None => defaults.time_max.max(time),
            Some((place, max)) => {
                if max.0 < time && !table.time.is_wrong {
                    let shown = written(time);
                    self.reader.error(place, format!("must not be less than `time`, which is {shown}"));
                }
                max.0
            }
        };
        Some(Ejection {
            consecutive: match failures.value {
                Some(count) => Some(count).filter(|&count| count > 0),
                None => defaults.consecutive,
            },
            rate: rate.value.map(|rate| rate.0),
            requests_min: min_requests.value.map_or(defaults.requests_min, |count| count.number()),
            window: window.value.map_or(defaults.window, |time| time.0),
            time,
            time_max,
            share_max: max_share.value.map_or(defaults.share_max, |share| share.0),
            statuses: status.value.iter().flatten().map(|statuses| statuses.0).collect(),
        })
    }

    fn retry(&self, own: &UpstreamSaid, options: &Options) -> Retry {
        let both = Options {
            retry_on: own.retry_on.value.clone().or_else(|| options.retry_on.clone()),
            ..Options::default()
        };
        let retry = both.retry();
        let replay_bytes_max = own.max_replay.at().map_or(retry.replay_bytes_max, |(place, size)| {
            if size.0 > REPLAY_BYTES_MAX {
                self.reader.error(place, format!("must be at most {REPLAY_BYTES_MAX} bytes"));
            }
            size.0
        });
        Retry {
            budget: own.retry_budget.value.map_or(retry.budget, |share| share.0),
            time: match own.retry_timeout.value {
                Some(time) => time.value().map(|time| time.0),
                None => retry.time,
            },
            backoff: own.retry_backoff.value.map_or(retry.backoff, |time| time.0),
            replay_bytes_max,
            ..retry
        }
    }
}

fn breaker(own: &UpstreamSaid) -> Option<Breaker> {
    let defaults = Breaker::default();
    let BreakerTable { rate, min_requests, window, time, trials, .. } = match own.breaker.value.as_ref()? {
        Either::Short(false) => return None,
        Either::Short(true) => return Some(defaults),
        Either::Long(table) => table,
    };
    Some(Breaker {
        rate: rate.value.map_or(defaults.rate, |rate| rate.0),
        requests_min: min_requests.value.map_or(defaults.requests_min, |count| count.number()),
        window: window.value.map_or(defaults.window, |time| time.0),
        time: time.value.map_or(defaults.time, |time| time.0),
        trials: trials.value.map_or(defaults.trials, |count| count.number()),
    })
}

/// Warns of upstreams that are to be asked again when a response does not come in time, and never are, because the time
/// for retries is over by then.
pub(super) fn warn_of_late_retries(settings: &Settings, places: &Places, reader: &Reader<'_>) {
    for (upstream, place) in settings.upstreams.iter().zip(&places.upstreams) {
        let Retry { on_timeout: true, time: Some(time), .. } = upstream.retry else { continue };
        let Some(place) = *place else { continue };
        let limits = settings.routes.iter().filter_map(|route| match &route.action {
            Action::Forward(split) if split.shares.iter().any(|(name, _)| *name == upstream.name) => {
                Some(route.limits.first_byte.unwrap_or(upstream.limits.first_byte))
            }
            _ => None,
        });
        if let Some(first_byte) = limits.min().filter(|first_byte| *first_byte >= time) {
            let message = format!(
                "upstream {} is never asked again after a timeout: that takes {} by `first-byte-timeout`, and by \
                 `retry-timeout` there are no retries after {}",
                quoted(&upstream.name),
                written(first_byte),
                written(time)
            );
            let help = "lower `first-byte-timeout`, or raise `retry-timeout`";
            reader.add(Problem::warning(place, message).with_help(help));
        }
    }
}
