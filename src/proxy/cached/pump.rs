//! A response on its way from the upstream into the cache, for however many read along: it goes on
//! whether its first client stays or leaves, and no reader slows it down.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::key::KeyRef;
use crate::cache::store::Store;
use crate::cache::store::Ticket;
use crate::cache::stored::{Body, Head, Segment, Stored};
use crate::error::Reason;
use crate::h1::body::{BadBody, Decoder, Encoder};
use crate::net::buffer::Class;
use crate::net::{Buffer, Ticks};
use crate::proxy::core::Core;
use crate::proxy::forward::{Broken, Reader};
use crate::proxy::response::window::next_window;
use crate::upstream::Connection;

/// The longest segment.
const SEGMENT_BYTES_MAX: usize = 64 * 1024;

/// Segments that are shorter than this on average are put together when the response is complete.
const SEGMENT_BYTES_SHORT: usize = 8 * 1024;

/// So much is read before other tasks get their turn, should the origin never make the pump wait.
const TURN_BYTES: usize = 4 * 1024 * 1024;

/// How long a response may take to arrive that nobody reads any more.
const UNREAD_MAX: Duration = Duration::from_secs(300);

/// How long that turn is.
const TURN: Duration = Duration::from_millis(1);

/// How much of a response that is too large to be kept its readers may lie apart, at least.
const APART_BYTES_MIN: usize = 256 * 1024;

/// A response that is being fetched into the cache.
pub(in crate::proxy) struct Pump {
    pub(in crate::proxy) head: Arc<Head>,
    pub(in crate::proxy) decoder: Decoder,
    pub(in crate::proxy) ticket: Ticket,
    pub(in crate::proxy) key: Vec<u8>,
    pub(in crate::proxy) hash: u64,
    /// Whether the upstream's connection can serve again after it.
    pub(in crate::proxy) persists: bool,
    /// The largest response that is stored.
    response_bytes_max: usize,
    segments: Segments,
}

/// What has come of the content.
#[derive(Default)]
struct Segments {
    list: VecDeque<Arc<Segment>>,
    /// Bytes in the list.
    bytes: usize,
    /// Too much has come, or there is no room: it will not be stored, and readers must keep up.
    outgrown: bool,
    /// Some of it had no room.
    passing: bool,
}

impl Segments {
    /// How much of the content its readers may lie apart.
    fn most_apart(&self, response_bytes_max: usize) -> usize {
        match (self.outgrown, self.passing) {
            (false, _) => usize::MAX,
            (true, false) => response_bytes_max.max(APART_BYTES_MIN),
            // What the ledger has no room for must not lie about.
            (true, true) => APART_BYTES_MIN,
        }
    }
}

impl Segments {
    /// All segments; many short ones are put together, so that a hit is not written in as many pieces.
    fn together(self, store: &Store) -> Vec<Arc<Segment>> {
        let list = Vec::from(self.list);
        if list.len() < 2 || self.bytes / list.len() >= SEGMENT_BYTES_SHORT {
            return list;
        }
        let mut longer = Vec::with_capacity(self.bytes / SEGMENT_BYTES_MAX + 1);
        let mut text = Vec::with_capacity(self.bytes.min(SEGMENT_BYTES_MAX));
        for (place, segment) in list.iter().enumerate() {
            text.extend_from_slice(segment.bytes());
            let next = list.get(place + 1).map_or(SEGMENT_BYTES_MAX, |next| next.bytes().len());
            if text.len() + next > SEGMENT_BYTES_MAX {
                let cost = Segment::cost(text.len());
                let Some(segment) = store.make(cost, |ledger| Segment::new(ledger, &text)) else {
                    return list;
                };
                longer.push(segment);
                text.clear();
            }
        }
        longer
    }
}

impl Pump {
    /// Begins with a response whose head is there.
    pub(in crate::proxy) fn new(
        head: Arc<Head>,
        decoder: Decoder,
        ticket: Ticket,
        (key, hash): (Vec<u8>, u64),
        persists: bool,
        response_bytes_max: usize,
    ) -> Pump {
        ticket.answered(&head);
        Pump { head, decoder, ticket, key, hash, persists, response_bytes_max, segments: Segments::default() }
    }

    /// Takes content; whoever reads along sees it at once.
    pub(in crate::proxy) fn take(&mut self, store: &Store, content: &[u8]) {
        self.outgrow(self.segments.bytes + content.len() > self.response_bytes_max);
        // Nothing goes before readers have had a turn: see `read`.
        let most = self.segments.most_apart(self.response_bytes_max);
        for piece in content.chunks(SEGMENT_BYTES_MAX) {
            self.let_go(most.saturating_sub(piece.len()));
            let kept = store.make(Segment::cost(piece.len()), |ledger| Segment::new(ledger, piece));
            let segment = kept.unwrap_or_else(|| {
                self.segments.passing = true;
                self.outgrow(true);
                Segment::passing(piece)
            });
            self.segments.bytes += piece.len();
            self.ticket.received(&segment);
            self.segments.list.push_back(segment);
        }
    }

    /// Where too much comes, or there is no room for it: from here on it only passes.
    fn outgrow(&mut self, is_too_much: bool) {
        if is_too_much && !std::mem::replace(&mut self.segments.outgrown, true) {
            self.ticket.outgrown(KeyRef { hash: self.hash, text: &self.key });
        }
    }

    /// Lets go of what lies further back than that.
    fn let_go(&mut self, most: usize) {
        let mut gone = 0;
        while self.segments.bytes > most
            && let Some(segment) = self.segments.list.pop_front()
        {
            self.segments.bytes -= segment.bytes().len();
            gone += 1;
        }
        if gone > 0 {
            self.ticket.let_go(gone);
        }
    }

    /// Stores what is complete.
    pub(in crate::proxy) fn finish(self, store: &Store) {
        let Pump { head, decoder, ticket, key, hash, segments, .. } = self;
        if segments.outgrown {
            return ticket.ended_unkept();
        }
        let trailers = if decoder.trailers().is_some() { decoder.end(Encoder::Chunked) } else { b"" };
        let list = segments.together(store);
        let bytes = list.len() * size_of::<Arc<Segment>>() + trailers.len();
        match store.make(bytes, |ledger| Body::new(ledger, list.clone(), trailers)) {
            Some(body) => ticket.keep(KeyRef { hash, text: &key }, Stored { head, body }),
            None => ticket.ended_unkept(),
        }
    }

    /// Reads the rest of the content, and stores it.
    pub(in crate::proxy) async fn run(
        mut self: Box<Self>,
        core: Rc<Core>,
        mut connection: Connection,
        mut window: Buffer,
        idle: Ticks,
    ) {
        let Some(store) = &core.store else { return };
        let overrun = match self.read(&core, store, (&mut connection, idle), &mut window).await {
            Ok(overrun) => overrun,
            Err(reason) => {
                connection.close();
                return self.ticket.failed(reason);
            }
        };
        if self.persists && !overrun {
            connection.give_back(core.deadlines.now(), &core.clock);
        } else {
            connection.close();
        }
        self.finish(store);
    }

    /// Whether nobody reads along, and it has taken too long for nobody.
    fn is_abandoned(&self, core: &Core, began: u32) -> bool {
        let is_read = self.ticket.fill().is_some_and(|fill| fill.is_read());
        !is_read && core.deadlines.now() > Ticks::of(UNREAD_MAX).after(began)
    }

    /// Reads to the end. Says whether the upstream sent more than its response.
    async fn read(
        &mut self,
        core: &Core,
        store: &Store,
        (connection, idle): (&mut Connection, Ticks),
        window: &mut Buffer,
    ) -> Result<bool, Reason> {
        let Connection { socket, watch, .. } = connection;
        let mut upstream = Reader { source: &mut socket.source, watch, limit: Some(idle) };
        let mut last = window.len();
        let mut overrun = false;
        let mut turn = 0;
        let began = core.deadlines.now();
        while !self.decoder.is_done() {
            if self.is_abandoned(core, began) {
                return Err(Reason::ClientClosed);
            }
            if turn > TURN_BYTES {
                monoio::time::sleep(TURN).await;
                turn = 0;
            }
            let used = std::mem::replace(window, core.buffers.take(Class::Small));
            let empty = next_window(&core.buffers, used, last, self.decoder.remaining());
            let (result, back) = upstream.read(empty).await;
            *window = back;
            match result {
                Ok(count) => {
                    last = count;
                    turn += count;
                    let step = self.decoder.step(window.bytes_mut()).map_err(bad_body)?;
                    overrun |= step.consumed < window.len();
                    self.outgrow(self.segments.bytes + step.data.len() > self.response_bytes_max);
                    if self.segments.outgrown
                        && let Some(fill) = self.ticket.fill().cloned()
                        && !fill.caught_up().await
                    {
                        // It is not kept, and nobody reads it any more.
                        return Err(Reason::ClientClosed);
                    }
                    self.take(store, &window.bytes()[step.data]);
                }
                Err(Broken::Closed) if self.decoder.may_end_here() => break,
                Err(Broken::TimedOut) => return Err(Reason::UpstreamReadTimeout),
                Err(_) => return Err(Reason::UpstreamTruncated),
            }
        }
        Ok(overrun)
    }
}

/// What malformed content is called.
pub(in crate::proxy) fn bad_body(fault: BadBody) -> Reason {
    match fault {
        BadBody::Chunk => Reason::UpstreamBadChunk,
        BadBody::Trailer => Reason::UpstreamBadTrailer,
    }
}
