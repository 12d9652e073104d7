//! What a request has to get past before it is served, as its listener and its route want it.
//!
//! ```text
//!   access ─▶ bounds ─▶ rules ─▶ rates ─▶ cors ─▶ identity ─▶ served
//!     │ each, the listener's first: lets it go on, turns it away, answers it, or has it wait
//!     ▼
//!   refused · answered · waits (tarpit, delay, a password, another service) and goes on from there
//! ```
//!
//! Whoever has nothing to check costs nothing. What does not have to wait is decided at once, without a task and
//! without an allocation; only who waits gets a box.
//!
//! A request for which no route can be found, for its path is malformed or means two things, sees networks and rates
//! alone: nobody may send more of those than of others.

pub(super) mod access;
pub(super) mod cors;
pub(super) mod forms;
pub(super) mod identity;
pub(in crate::proxy) mod passwords;
pub(in crate::proxy) mod rates;
pub(super) mod rules;
mod sign_in;
pub(in crate::proxy) mod subrequest;

use std::rc::Rc;

pub(super) use self::rules::Ruled;

use super::core::Core;
use super::record::{Received, Record};
use crate::error::Reason;
use crate::h1::BodyLength;
use crate::net::Buffer;
use crate::proxy::client::connection::{Client, Peer};
use crate::proxy::request::admit::Read;

/// A check that a request has to get past. They come in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Check {
    /// Networks, and the bounds on requests.
    #[default]
    Access,
    /// Rules on requests.
    Rules,
    /// Rates.
    Rates,
    /// Questions of browsers about what a page of another origin may ask: they count for rates as well, since they
    /// are answered for whoever asks.
    Cors,
    /// Credentials.
    Identity,
    /// There is none left.
    Done,
}

impl Check {
    fn next(self) -> Check {
        match self {
            Check::Access => Check::Rules,
            Check::Rules => Check::Rates,
            Check::Rates => Check::Cors,
            Check::Cors => Check::Identity,
            Check::Identity | Check::Done => Check::Done,
        }
    }
}

/// A request that does not get past the checks.
pub(super) enum Turned {
    /// It is refused.
    Away(Reason),
    /// It is answered by this, which is a whole response and says whether the connection goes on; the record knows its
    /// status.
    Answered(Buffer, bool),
}

impl From<Reason> for Turned {
    fn from(reason: Reason) -> Turned {
        Turned::Away(reason)
    }
}

/// What a check says at once.
pub(super) enum Looked {
    /// The request goes on.
    Pass,
    /// It has to wait for this.
    Wait(Waiting),
}

/// What a request waits for.
pub(super) enum Waiting {
    /// For something that a rule has it wait for.
    Rule(rules::Waiting),
    /// For its turn.
    Turn(rates::Waiting),
    /// For what somebody else says of its credentials.
    Verdict(identity::Waiting),
}

/// What is known when a request is checked.
pub(super) struct Checking<'a> {
    pub(super) core: &'a Rc<Core>,
    pub(super) peer: &'a Peer,
    pub(super) received: &'a mut Received,
    pub(super) read: &'a Read,
    pub(super) record: &'a mut Record,
}

/// Leads a request through its checks.
///
/// # Errors
/// It is turned away.
pub(super) async fn pass(mut checking: Checking<'_>, client: &mut Client) -> Result<(), Turned> {
    cors::begin(checking.core, checking.peer, checking.received);
    let mut check = Check::default();
    while let Some(waiting) = checking.look(&mut check)? {
        // Few wait, and what they wait with is large: kept apart, it does not make every connection's task larger.
        Box::pin(checking.wait(client, waiting)).await?;
    }
    Ok(())
}

/// Holds a request that is going to be refused, for it cannot be led to an upstream, against networks, and counts it
/// for rates: those of its listener, and those of its route if it has come so far. It does not wait for its turn.
///
/// # Errors
/// It is turned away by them.
pub(super) fn pass_lost(mut checking: Checking<'_>) -> Result<(), Turned> {
    checking.let_in()?;
    checking.rates().map(drop)
}

impl Checking<'_> {
    /// The checks from that one on, up to one that has the request wait; `check` is then the one behind it.
    fn look(&mut self, check: &mut Check) -> Result<Option<Waiting>, Turned> {
        while *check != Check::Done {
            let looked = match check {
                Check::Access => self.access()?,
                Check::Rules => self.rules()?,
                Check::Rates => self.rates()?,
                Check::Cors => self.cors()?,
                Check::Identity => self.identity()?,
                Check::Done => Looked::Pass,
            };
            *check = check.next();
            if let Looked::Wait(waiting) = looked {
                return Ok(Some(waiting));
            }
        }
        Ok(None)
    }

    /// Whether the connection goes on behind an answer. Content that is still to come stands in front of the next
    /// request, and nobody reads it.
    fn keeps_alive(&self) -> bool {
        let Received { bytes, head_length, terms, .. } = &*self.received;
        let here = (bytes.len() - head_length) as u64;
        let is_whole = match self.read.body {
            BodyLength::None => true,
            BodyLength::Known(length) => length <= here.min(terms.body_bytes_max()),
            BodyLength::Chunked | BodyLength::UntilClose => false,
        };
        is_whole && self.read.asked.keep_alive && !self.core.is_draining()
    }

    async fn wait(&mut self, client: &mut Client, waiting: Waiting) -> Result<(), Turned> {
        match waiting {
            Waiting::Rule(waiting) => self.wait_by_rule(client, waiting).await,
            Waiting::Turn(waiting) => self.wait_for_turn(client, waiting).await,
            Waiting::Verdict(waiting) => self.wait_for_verdict(client, waiting).await,
        }
    }
}
