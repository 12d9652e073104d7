//! An endpoint as one core knows it: its addresses, the idle connections to it, what is in flight, and how it has done.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::shared::{EndpointShared, Permit, Spare, UpstreamShared};
use super::slot::Slot;
use super::{Address, Connection, EndpointKey, Member, Standing};
use crate::clock::Clock;
use crate::error::Reason;
use crate::net::{Deadlines, Socket, Ticks, Watch};
use crate::upstream::health::score::Score;

/// An endpoint of one core. It outlives configurations: one that a new configuration has as well stays,
/// with the connections that wait in it.
pub(crate) struct Node {
    key: EndpointKey,
    id: u64,
    authority: RefCell<Rc<str>>,
    targets: RefCell<Rc<[Target]>>,
    /// Which of them answered last: it is tried first.
    answering: Cell<usize>,
    /// The one used last is on top.
    idle: RefCell<Vec<Idle>>,
    /// The fewest that waited at any time since the core looked last: so many it can spare.
    idle_least: Cell<usize>,
    /// How many may wait, and for how long.
    bounds: Cell<PoolBounds>,
    /// Those that wait at all endpoints of the core.
    of_core: Rc<IdleOfCore>,
    /// Nothing is kept: no roster has the endpoint any more, or it is to be left alone.
    retired: Cell<bool>,
    /// Requests in flight, on this core.
    pub(super) in_flight: Cell<u32>,
    /// How it has done, on this core.
    pub(crate) score: Score,
    pub(super) limits: Cell<EndpointLimits>,
    pub(super) shared: Arc<EndpointShared>,
    pub(super) upstream: Arc<UpstreamShared>,
}

/// What an endpoint may have, over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndpointLimits {
    pub(super) connections_max: Option<u32>,
    pub(super) requests_max: Option<u32>,
}

/// What there is to tell of an endpoint, on one core.
#[derive(Clone, Debug)]
pub(crate) struct NodeReport {
    pub(crate) key: EndpointKey,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Connections that wait.
    pub(crate) idle: usize,
    /// Requests that went to it, answered or not.
    pub(crate) requests: u64,
    /// Requests that it failed.
    pub(crate) failures: u64,
}

/// An address with its text, so that nothing has to be written anew for each request.
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) shown: Rc<str>,
}

/// Bounds on the connections that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolBounds {
    /// So many may wait.
    pub(crate) count_max: usize,
    /// For so long.
    pub(crate) time: Ticks,
}

/// The connections that wait at all endpoints of a core, and how many may.
#[derive(Debug, Default)]
pub(super) struct IdleOfCore {
    pub(super) count: Cell<usize>,
    pub(super) max: Cell<usize>,
    /// How many cores there are: others can use what this one has to spare.
    pub(super) cores: Cell<usize>,
}

/// A connection that waits to be used again. It does not hold its node, which holds it.
struct Idle {
    socket: Socket,
    watch: Watch,
    shown: Rc<str>,
    since: u32,
    permit: Permit,
    /// See [`Connection::preamble`].
    preamble: Option<Box<[u8]>>,
}

impl Node {
    /// A node without connections.
    pub(super) fn new(
        key: EndpointKey,
        member: &Member,
        upstream: &Arc<UpstreamShared>,
        of_core: &Rc<IdleOfCore>,
    ) -> Node {
        Node {
            authority: RefCell::new(Rc::from(&*member.authority)),
            targets: RefCell::new(targets(&member.address, &member.fallbacks)),
            id: key.address.id(),
            key,
            answering: Cell::new(0),
            idle: RefCell::default(),
            idle_least: Cell::new(0),
            bounds: Cell::new(PoolBounds { count_max: 0, time: Ticks::default() }),
            of_core: of_core.clone(),
            retired: Cell::new(false),
            in_flight: Cell::new(0),
            score: Score::default(),
            limits: Cell::default(),
            shared: member.shared.clone(),
            upstream: upstream.clone(),
        }
    }

    /// Which endpoint it is.
    pub(crate) fn key(&self) -> &EndpointKey {
        &self.key
    }

    /// See [`Address::id`].
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Host and port as configured: what Host says when the client's is not preserved.
    pub(crate) fn authority(&self) -> Rc<str> {
        self.authority.borrow().clone()
    }

    /// How many connections wait.
    pub(crate) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// The texts of its addresses, in the order in which they are tried.
    pub(crate) fn addresses(&self) -> Vec<Rc<str>> {
        self.targets.borrow().iter().map(|target| target.shown.clone()).collect()
    }

    /// What there is to tell.
    pub(super) fn report(&self) -> NodeReport {
        NodeReport {
            key: self.key.clone(),
            in_flight: self.in_flight.get(),
            idle: self.idle(),
            requests: self.score.requests(),
            failures: self.score.failures(),
        }
    }

    /// It has answered a request, with that status.
    pub(crate) fn succeeded(&self, status: u16) {
        self.score.succeeded(status);
        self.shared.succeeded();
    }

    /// It has failed a request at the tick `now`, for that reason or, without one, by its status. Returns how many these
    /// are, on all cores, since its last success.
    pub(crate) fn failed(&self, reason: Option<Reason>, now: u32) -> u32 {
        self.score.failed(reason, now);
        self.shared.failed()
    }

    /// Whether it may get a request now, as far as limits go.
    pub(super) fn has_room(&self) -> bool {
        let EndpointLimits { connections_max, requests_max } = self.limits.get();
        let shared = &self.shared;
        requests_max.is_none_or(|max| shared.in_flight() < max)
            && connections_max.is_none_or(|max| {
                shared.connections() < max || !self.idle.borrow().is_empty() || shared.spare() > 0
            })
    }

    /// The connection that was used last, if one is still open and quiet, for the request that `slot` stands for. Those
    /// that turn out not to be are closed: bytes that came behind a response must never be taken for the next one.
    /// Only one that began with this preamble will do.
    ///
    /// # Errors
    /// There is none; here is the slot again.
    pub(super) fn take(&self, slot: Slot, preamble: Option<&[u8]>) -> Result<Connection, Slot> {
        let mut waiting = self.idle.borrow_mut();
        let found = loop {
            let fits = |idle: &Idle| idle.preamble.as_deref() == preamble;
            // Without preambles all are alike, and this is the last.
            let Some(at) = waiting.iter().rposition(fits) else { return Err(slot) };
            let idle = waiting.remove(at);
            self.of_core.count.set(self.of_core.count.get() - 1);
            if idle.socket.sink.is_quiet() {
                break idle;
            }
            idle.socket.close();
        };
        self.idle_least.set(self.idle_least.get().min(waiting.len()));
        let Idle { socket, watch, shown, permit, preamble, .. } = found;
        Ok(Connection { socket, watch, slot, shown, reused: true, permit, preamble })
    }

    /// A connection that another core had to spare, if there is one that is still good.
    ///
    /// # Errors
    /// There is none; here is the slot again.
    pub(super) fn take_over(
        &self,
        slot: Slot,
        deadlines: &Rc<Deadlines>,
        clock: &Clock,
    ) -> Result<Connection, Slot> {
        while let Some((spare, permit)) = self.shared.take_spare(&self.upstream) {
            let targets = self.targets.borrow();
            let target = targets.iter().find(|target| target.address == spare.address);
            let young = clock.now().since(spare.since) < self.bounds.get().time.span();
            let Some(target) = target.filter(|_| young) else { continue };
            let Ok(socket) = Socket::take_over(spare.fd) else { continue };
            if !socket.sink.is_quiet() {
                socket.close();
                continue;
            }
            let watch = deadlines.watch(socket.fd());
            let shown = target.shown.clone();
            return Ok(Connection { socket, watch, slot, shown, reused: true, permit, preamble: None });
        }
        Err(slot)
    }

    /// Keeps a connection that came from here, if it leads where the endpoint is now and there is room; if another core
    /// may need it more, it is left to that.
    pub(super) fn put(&self, connection: Connection, now: u32, clock: &Clock) {
        let Connection { socket, watch, shown, permit, preamble, slot, .. } = connection;
        if self.retired.get() || !self.leads_here(&shown) {
            return socket.close();
        }
        let of_core = &self.of_core;
        let is_full = self.idle() >= self.bounds.get().count_max || of_core.count.get() >= of_core.max.get();
        if is_full && preamble.is_some() {
            // Of those that serve one client alone, the client of the oldest has most likely gone.
            self.close_first(|idle| idle.preamble.is_some());
        }
        let mut waiting = self.idle.borrow_mut();
        let is_full =
            waiting.len() >= self.bounds.get().count_max || of_core.count.get() >= of_core.max.get();
        if is_full || self.holds_up_others() {
            drop((watch, waiting));
            if preamble.is_none() && self.bounds.get().count_max > 0 {
                self.spare(socket, &shown, permit, clock);
            } else {
                socket.close();
            }
            // Whoever waits for the slot finds the connection.
            return drop(slot);
        }
        watch.clear_read();
        watch.clear_write();
        of_core.count.set(of_core.count.get() + 1);
        waiting.push(Idle { socket, watch, shown, since: now, permit, preamble });
    }

    /// Leaves a connection to whichever core needs one; closes it if there are enough of these.
    fn spare(&self, socket: Socket, shown: &Rc<str>, permit: Permit, clock: &Clock) {
        let address = {
            let targets = self.targets.borrow();
            targets.iter().find(|target| target.shown == *shown).map(|target| target.address.clone())
        };
        let (Some(address), Ok(fd)) = (address, socket.into_fd()) else { return };
        let refused =
            self.shared.give_spare(Spare { fd, address, since: clock.now(), is_limited: false }, permit);
        drop(refused);
    }

    /// Closes those that have waited too long, and those that the upstream has closed. Those that were not needed since
    /// the last time go to where any core can take them. To be called about once a second.
    pub(crate) fn expire(&self, now: u32, clock: &Clock) {
        let time = self.bounds.get().time;
        self.retain(|idle| {
            // A busy connection is looked at when it is taken; here only those that rest.
            let rests = idle.since != now;
            time.after(idle.since) > now && (!rests || idle.socket.sink.is_quiet())
        });
        if self.of_core.cores.get() > 1 {
            self.give_away(self.idle_least.get(), clock);
            self.expire_spare(clock);
        }
        self.idle_least.set(self.idle());
        self.score.fade();
    }

    /// Gives up to so many of those that have waited longest to where any core can take them.
    pub(super) fn give_away(&self, count: usize, clock: &Clock) {
        let given: Vec<Idle> = {
            let mut waiting = self.idle.borrow_mut();
            let count = count.min(waiting.len());
            waiting.extract_if(..count, |idle| idle.preamble.is_none()).collect()
        };
        self.of_core.count.set(self.of_core.count.get() - given.len());
        for Idle { socket, watch, shown, permit, .. } in given {
            drop(watch);
            self.spare(socket, &shown, permit, clock);
        }
    }

    /// Looks at some of those that any core can take, and closes those that nobody should.
    fn expire_spare(&self, clock: &Clock) {
        const AT_ONCE_MAX: usize = 16;
        for _ in 0..self.shared.spare().min(AT_ONCE_MAX) {
            let Some((spare, permit)) = self.shared.take_spare(&self.upstream) else { return };
            let young = clock.now().since(spare.since) < self.bounds.get().time.span();
            if young && Socket::is_quiet_at_rest(&spare.fd) {
                drop(self.shared.give_spare(spare, permit));
            }
        }
    }

    /// Closes a connection that waits, here or for all cores, so that there may be a new one; false if none does.
    pub(crate) fn make_room(&self) -> bool {
        self.close_first(|_| true) || self.shared.close_one_spare(&self.upstream)
    }

    /// Closes the connection that has waited longest of those that are meant; false if none waits.
    fn close_first(&self, is_meant: impl Fn(&Idle) -> bool) -> bool {
        let mut left = 1;
        let before = self.idle();
        self.retain(|idle| !is_meant(idle) || std::mem::take(&mut left) == 0);
        self.idle() < before
    }

    /// Whether a connection to the address of that text leads where the endpoint is now.
    fn leads_here(&self, shown: &Rc<str>) -> bool {
        self.targets.borrow().iter().any(|target| target.shown == *shown)
    }

    /// Gives others what they wait for, if somebody on another core may: those that any core can take go to where it
    /// finds them, and of those that serve one client alone so many are closed as requests wait.
    pub(super) fn share(&self, clock: &Clock) {
        if !self.holds_up_others() {
            return;
        }
        self.give_away(usize::MAX, clock);
        let mut wanted = self.upstream.waiting();
        self.retain(|_| {
            let stays = wanted == 0;
            wanted = wanted.saturating_sub(1);
            stays
        });
    }

    /// Whether somebody on another core may wait for what is idle here.
    fn holds_up_others(&self) -> bool {
        let most = self.limits.get().connections_max;
        most.is_some_and(|most| self.shared.connections() >= most)
            && self.of_core.cores.get() > 1
            && self.upstream.waiting() > 0
    }

    /// Takes other bounds. Connections beyond them are closed, those first that have waited longest.
    pub(super) fn set_bounds(&self, bounds: PoolBounds) {
        self.bounds.set(bounds);
        let mut beyond = self.idle().saturating_sub(bounds.count_max);
        self.retain(|_| {
            let stays = beyond == 0;
            beyond = beyond.saturating_sub(1);
            stays
        });
    }

    /// Takes what a roster says of it. Where it may be reached by other addresses now, the connections are closed,
    /// those in use when they come back; and so are all while it is to be left alone.
    pub(super) fn follow(&self, member: &Member) {
        if **self.authority.borrow() != *member.authority {
            self.authority.replace(Rc::from(&*member.authority));
        }
        let Member { connections_max, requests_max, .. } = *member;
        self.limits.set(EndpointLimits { connections_max, requests_max });
        let same = {
            let known = self.targets.borrow();
            known.iter().skip(1).map(|target| &target.address).eq(member.fallbacks.iter())
        };
        if !same {
            *self.targets.borrow_mut() = targets(&member.address, &member.fallbacks);
            self.answering.set(0);
            self.retain(|idle| self.leads_here(&idle.shown));
        }
        match member.standing {
            Standing::Draining => self.retire(),
            Standing::Up | Standing::Down | Standing::Ejected => self.retired.set(false),
        }
    }

    /// No connection waits from here on. Exchanges that began before may still connect.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.retain(|_| false);
        self.shared.close_spare(&self.upstream);
    }

    /// The addresses to connect to, and the place of the one to begin with.
    pub(super) fn targets(&self) -> (Rc<[Target]>, usize) {
        (self.targets.borrow().clone(), self.answering.get())
    }

    /// The address at that place has answered.
    pub(super) fn answered_at(&self, place: usize) {
        self.answering.set(place);
    }

    fn retain(&self, stays: impl FnMut(&Idle) -> bool) {
        let mut waiting = self.idle.borrow_mut();
        let before = waiting.len();
        waiting.retain(stays);
        let gone = before - waiting.len();
        self.of_core.count.set(self.of_core.count.get() - gone);
    }
}

fn targets(address: &Address, fallbacks: &[Address]) -> Rc<[Target]> {
    let target = |address: &Address| Target { address: address.clone(), shown: address.to_string().into() };
    std::iter::once(address).chain(fallbacks).map(target).collect()
}
