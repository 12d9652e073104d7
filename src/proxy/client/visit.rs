//! What a connection counts for, from when it is accepted until it is gone, whatever ends it.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::Reason;
use crate::filter::arrivals::{Count, Crowd, Guest};
use crate::net::listener;
use crate::proxy::client::inlet::Inlet;
use crate::proxy::core::Core;

/// Counts for the limits of its listener, if that has some; and no longer when it is dropped.
#[derive(Default)]
pub(crate) struct Visit(Option<Box<Counted>>);

/// Where a connection is counted.
#[derive(Default)]
pub(in crate::proxy) struct Counted {
    pub(in crate::proxy) all: Option<Arc<Count>>,
    pub(in crate::proxy) client: Option<(Arc<Crowd>, Guest)>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(all) = &self.all {
            all.leave();
        }
        if let Some((crowd, guest)) = &self.client {
            crowd.leave(guest);
        }
    }
}

impl From<Counted> for Visit {
    fn from(counted: Counted) -> Visit {
        Visit((counted.all.is_some() || counted.client.is_some()).then(|| Box::new(counted)))
    }
}

impl Visit {
    /// Adds what is only known now.
    pub(in crate::proxy) fn add(&mut self, other: Visit) {
        match (&mut self.0, other.0) {
            (Some(own), Some(mut other)) => own.client = other.client.take(),
            (own @ None, other) => *own = other,
            (Some(_), None) => {}
        }
    }
}

/// Why a connection is turned away: there are as many as there may be, or too many came of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Refused {
    /// In the process.
    Process,
    /// At its listener.
    Listener,
    /// Of its client.
    Client,
    /// At its listener, of late.
    Rate,
    /// Of its client, of late.
    ClientRate,
}

impl Refused {
    /// Counts it.
    pub(in crate::proxy) fn count(self, core: &Core) {
        let counters = &core.counters;
        counters.ended(Reason::TooManyConnections);
        match self {
            Refused::Process => counters.refused_by_process.increment(),
            Refused::Listener => counters.refused_by_listener.increment(),
            Refused::Client => counters.refused_by_client.increment(),
            Refused::Rate => counters.refused_by_rate.increment(),
            Refused::ClientRate => counters.refused_by_client_rate.increment(),
        }
    }
}

/// What a connection that is turned away is told.
const ANSWER: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Lets a new connection in, and counts it; or answers and closes it at once, without a task.
pub(crate) fn let_in(
    core: &Core,
    fd: OwnedFd,
    peer: Option<IpAddr>,
    inlet: &Inlet,
    introduces: bool,
) -> Option<(OwnedFd, Visit)> {
    let refused = match inlet.welcome(core, peer, introduces) {
        Ok(visit) if core.connection_opened() => return Some((fd, visit)),
        Ok(_) => {
            inlet.give_back(peer, introduces);
            Refused::Process
        }
        Err(refused) => refused,
    };
    refused.count(core);
    listener::answer_and_close(fd, ANSWER);
    None
}

/// What a connection gets that was let in, and is turned away for the client that it turned out to be for.
pub(in crate::proxy) const fn answer() -> &'static [u8] {
    ANSWER
}
