//! A response that is taken from its upstream ahead of its client, up to a bound: once all of it is here, the upstream
//! is free, while the client still reads.
//!
//! ```text
//!   upstream ──read──▶ window ─▶ ┌─ waiting ─────────┐ ──write──▶ client
//!                                │ at most so much   │
//!                                └───────────────────┘
//!              └ the last window comes back with what waits: the upstream is let go, and both are written
//! ```
//!
//! What is there is sent at once: nothing waits for more to come. Content that changes its coding on its way is taken
//! ahead in its new one: there, what would be written waits instead.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::coding::{Came, Coder};
use crate::proxy::forward::{Broken, Writer};
use crate::proxy::holding::held::Charge;
use crate::proxy::response::delivery::Content;
use crate::proxy::response::respond::Respond;
use crate::proxy::response::responded::{After, Responded, ResponseFault, client_fault};
use crate::proxy::response::window::next_window;
use crate::proxy::snapshot::ResponseRules;
use crate::proxy::task;

/// After so many bytes that were read, or written, everything else gets a turn.
const AT_ONCE_BYTES: usize = 1 << 20;

/// Reading and writing take turns so often before everything else gets one.
const ROUNDS_AT_ONCE: usize = 16;

/// What waits for its client.
pub(in crate::proxy) struct Ahead {
    rules: ResponseRules,
    windows: RefCell<VecDeque<Waiting>>,
    /// Bytes of memory that they take.
    taken: Cell<usize>,
    charge: RefCell<Charge>,
    /// How often anything was put in or taken out.
    turns: Cell<u64>,
    /// Bytes whose turn it is, where the response may only go so fast.
    due: Cell<usize>,
    /// Set by whoever gives way, for reading and writing only go on together.
    gives_way: Cell<bool>,
}

/// A window that waits, with what was charged for it.
struct Waiting {
    window: Buffer,
    charged: u64,
}

impl Ahead {
    fn new(rules: &ResponseRules) -> Ahead {
        Ahead {
            rules: rules.clone(),
            windows: RefCell::default(),
            taken: Cell::new(0),
            charge: RefCell::new(Charge::new(rules.ledger.clone())),
            turns: Cell::new(0),
            due: Cell::new(0),
            gives_way: Cell::new(false),
        }
    }

    /// Whether there is room for a window of that length, which is taken then. One may always wait.
    fn takes(&self, length: usize) -> Option<u64> {
        let (settings, bytes) = (&self.rules.settings, length as u64);
        if self.windows.borrow().is_empty() {
            let charged = self.charge.borrow_mut().grow(bytes, settings.total_bytes_max);
            return Some(if charged { bytes } else { 0 });
        }
        let fits = self.taken.get() + length <= settings.memory_bytes_max;
        let fits = fits && self.charge.borrow_mut().grow(bytes, settings.total_bytes_max);
        fits.then_some(bytes)
    }

    /// Waits until there is room for a window of that length, which is taken then.
    async fn room(&self, length: usize) -> u64 {
        loop {
            match self.takes(length) {
                Some(charged) => return charged,
                None => self.turn().await,
            }
        }
    }

    /// Lets everything else on this core have a turn; see [`task::take_turns`].
    async fn give_way(&self, turn: u32) {
        self.gives_way.set(true);
        task::take_turns(turn).await;
    }

    /// Puts a window behind the others, with what was charged for it.
    fn push(&self, window: Buffer, charged: u64) {
        self.turns.set(self.turns.get() + 1);
        let mut windows = self.windows.borrow_mut();
        // Short pieces are put together, so that memory holds content rather than room for it.
        if let Some(last) = windows.back_mut()
            && last.window.append(window.bytes())
        {
            return self.charge.borrow_mut().shrink(charged);
        }
        self.taken.set(self.taken.get() + window.class().room());
        windows.push_back(Waiting { window, charged });
    }

    /// Takes written bytes off the first window.
    fn consume(&self, count: usize) {
        let mut windows = self.windows.borrow_mut();
        let Some(first) = windows.front_mut() else { return };
        first.window.consume(count);
        if first.window.is_empty()
            && let Some(Waiting { window, charged }) = windows.pop_front()
        {
            self.turns.set(self.turns.get() + 1);
            self.taken.set(self.taken.get() - window.class().room());
            self.charge.borrow_mut().shrink(charged);
        }
    }

    /// How much of the first window may be written, once it may. What has had its turn keeps it, should nobody wait for
    /// that any more.
    async fn next_piece(&self, client: &Writer<'_>) -> usize {
        let whole = self.windows.borrow().front().map_or(0, |first| first.window.len());
        let Some(pace) = client.pace else { return whole };
        if self.due.get() == 0 {
            self.due.set(pace.turn(whole).await);
        }
        self.due.get().min(whole)
    }

    fn is_empty(&self) -> bool {
        self.windows.borrow().is_empty()
    }

    /// Waits until something was put in or taken out.
    async fn turn(&self) {
        let before = self.turns.get();
        // Whoever waits here is asked again after each turn, by `Ahead::beside`.
        poll_fn(|_| if self.turns.get() == before { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    /// Writes what waits, until there is nothing left. It can be dropped at any time, and nothing is lost.
    async fn write_some(&self, client: &mut Writer<'_>) -> Result<(), Broken> {
        let (mut at_once, mut turn) = (0, 0);
        while !self.is_empty() {
            let count = self.next_piece(client).await;
            let written = match self.windows.borrow().front() {
                Some(first) => client.sink.write_now(&first.window.bytes()[..count]),
                None => return Ok(()),
            };
            match written {
                Ok(count) => {
                    client.watch.wrote(count);
                    self.due.set(self.due.get().saturating_sub(count));
                    self.consume(count);
                    at_once += count;
                    if at_once >= AT_ONCE_BYTES {
                        (at_once, turn) = (0, turn + 1);
                        self.give_way(turn).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    client.watch.begin_write(client.limit);
                    let ready = client.sink.ready().await;
                    client.watch.end_write();
                    if ready.is_err() {
                        return Err(client.broken());
                    }
                }
                Err(_) => return Err(client.broken()),
            }
        }
        Ok(())
    }

    /// Writes whatever waits, and whatever comes.
    async fn write(&self, client: &mut Writer<'_>) -> Result<Infallible, Broken> {
        loop {
            self.write_some(client).await?;
            self.turn().await;
        }
    }

    /// Has a response read while what it puts here is written. Whatever ends reading, what waits is written then, unless
    /// that is what failed.
    async fn beside<T>(
        &self,
        reading: impl Future<Output = Result<T, ResponseFault>>,
        client: &mut Writer<'_>,
    ) -> Result<T, ResponseFault> {
        let result = {
            let mut reading = pin!(reading);
            let mut writing = pin!(self.write(client));
            let mut turn = 0;
            loop {
                let polled = poll_fn(|cx| {
                    // Each may have made room, or work, for the other.
                    for _ in 0..ROUNDS_AT_ONCE {
                        let before = self.turns.get();
                        if let Poll::Ready(Err(broken)) = writing.as_mut().poll(cx) {
                            return Poll::Ready(Some(Err(broken)));
                        }
                        if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                            return Poll::Ready(Some(Ok(read)));
                        }
                        // Who gives way is woken again; asked again at once, it would not have given way.
                        if self.gives_way.take() || self.turns.get() == before {
                            return Poll::Pending;
                        }
                    }
                    Poll::Ready(None)
                });
                match polled.await {
                    Some(result) => break result,
                    None => {
                        turn += 1;
                        task::take_turns(turn).await;
                    }
                }
            }
        };
        client.watch.end_write();
        match result {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(fault)) => {
                // The client gets what had come, as it would if nothing waited; that it is not whole, it sees then.
                let _ = self.write_some(client).await;
                Err(fault)
            }
            Err(broken) => Err(unfinished(broken)),
        }
    }

    /// Writes all that still waits, once no more comes.
    pub(in crate::proxy) async fn finish(
        self: Rc<Self>,
        mut client: Writer<'_>,
    ) -> Result<(), ResponseFault> {
        self.write_some(&mut client).await.map_err(unfinished)
    }
}

/// What is missing must not look whole, however it is framed.
fn unfinished(broken: Broken) -> ResponseFault {
    ResponseFault { reason: client_fault(broken), unanswered: false, ends_with_close: true }
}

impl Respond<'_> {
    /// Passes content on, reading ahead of the client. The last window comes back unwritten, with what waits in front of
    /// it, if anything does.
    pub(in crate::proxy) async fn stream_ahead(
        &mut self,
        first: Buffer,
        content: &mut Content,
        rules: &ResponseRules,
    ) -> Result<(Buffer, Option<Rc<Ahead>>), ResponseFault> {
        let Some(mut client) = self.client.take() else {
            return Ok((self.stream(first, content).await?, None));
        };
        self.progress.responding.set(true);
        let ahead = Rc::new(Ahead::new(rules));
        let read = first.len();
        let charged = ahead.takes(first.class().room()).unwrap_or_default();
        ahead.push(first, charged);
        let last = ahead.beside(self.read_ahead(content, &ahead, read), &mut client).await?;
        Ok((last, Some(ahead).filter(|ahead| !ahead.is_empty())))
    }

    /// The same of content that changes its coding, if it is to be taken ahead: what would be written waits, and is
    /// written beside.
    pub(in crate::proxy) async fn recode_ahead(
        mut self,
        coder: Coder,
        came: Came,
    ) -> Result<Responded, ResponseFault> {
        let Some(rules) = self.terms.hold_response() else { return self.recode(coder, came).await };
        let Some(mut client) = self.client.take() else { return self.recode(coder, came).await };
        let ahead = Rc::new(Ahead::new(rules));
        self.ahead = Some(ahead.clone());
        let Responded { last, after } = ahead.beside(self.recode(coder, came), &mut client).await?;
        let waits = Some(ahead).filter(|ahead| !ahead.is_empty());
        let after = match after {
            After::Complete { reusable, keep_alive, ahead: _ } => {
                After::Complete { reusable, keep_alive, ahead: waits }
            }
            after => after,
        };
        Ok(Responded { last, after })
    }

    /// Has a window wait for its turn to be written; another one comes back, empty.
    pub(in crate::proxy) async fn put_ahead(&self, ahead: &Ahead, window: Buffer) -> Buffer {
        let charged = ahead.room(window.class().room()).await;
        ahead.push(window, charged);
        self.core.buffers.take(Class::Small)
    }

    /// Gives way between the turns of long work on content, counted from 1.
    pub(in crate::proxy) async fn take_turns(&self, turn: u32) {
        match &self.ahead {
            Some(ahead) => ahead.give_way(turn).await,
            None => task::take_turns(turn).await,
        }
    }

    /// Reads the content to its end, as far as there is room for it. The last window comes back.
    async fn read_ahead(
        &mut self,
        content: &mut Content,
        ahead: &Ahead,
        mut last: usize,
    ) -> Result<Buffer, ResponseFault> {
        let (mut at_once, mut turn) = (0, 0);
        let mut spare = self.core.buffers.take(Class::Small);
        loop {
            let window = next_window(&self.core.buffers, spare, last, content.decoder.remaining());
            let charged = ahead.room(window.class().room()).await;
            let (count, window) = self.read_window(window, content).await?;
            last = count;
            if content.done && !content.end_apart {
                return Ok(window);
            }
            ahead.push(window, charged);
            spare = self.core.buffers.take(Class::Small);
            if content.done {
                let fits = spare.append(content.end());
                debug_assert!(fits, "an empty window has room for a trailer section");
                return Ok(spare);
            }
            at_once += last;
            if at_once >= AT_ONCE_BYTES {
                (at_once, turn) = (0, turn + 1);
                ahead.give_way(turn).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::task::{Context, Waker};

    use monoio::{LegacyDriver, RuntimeBuilder};

    use super::*;
    use crate::config::holding::HoldResponse;
    use crate::error::Reason;
    use crate::net::{BufferPool, Deadlines, Socket, Ticks};
    use crate::proxy::holding::held::Ledger;

    fn ahead() -> Ahead {
        let settings = HoldResponse { memory_bytes_max: 1 << 20, total_bytes_max: 1 << 20 };
        Ahead::new(&ResponseRules { settings, ledger: std::sync::Arc::new(Ledger::default()) })
    }

    /// Runs a test with a client to write to, and the other end of its connection.
    fn with_client(test: impl AsyncFnOnce(&mut Writer<'_>, TcpStream)) {
        let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let accepted = listener.accept().unwrap().0;
            accepted.set_nonblocking(true).unwrap();
            let mut socket = Socket::from_fd(accepted.into()).unwrap();
            let watch = Rc::new(Deadlines::default()).watch(socket.fd());
            let limit = Ticks::of(std::time::Duration::from_secs(5));
            let mut client = Writer { sink: &mut socket.sink, watch: &watch, limit, pace: None };
            test(&mut client, peer).await;
        });
    }

    fn window(pool: &BufferPool) -> Buffer {
        let mut window = pool.take(Class::Small);
        assert!(window.append(b"some"));
        window
    }

    #[test]
    fn reading_that_gives_way_is_left_alone_until_its_task_has_another_turn() {
        with_client(async |client, _peer| {
            let (ahead, pool, steps) = (ahead(), BufferPool::new(), Cell::new(0));
            let reading = async {
                for turn in 1..=5 {
                    steps.set(turn);
                    let charged = ahead.room(4).await;
                    ahead.push(window(&pool), charged);
                    ahead.give_way(turn).await;
                }
                Ok(())
            };
            let mut both = pin!(ahead.beside(reading, client));
            let context = &mut Context::from_waker(Waker::noop());
            for turn in 1..=5 {
                assert!(both.as_mut().poll(context).is_pending());
                assert_eq!(steps.get(), turn);
            }
            assert!(both.as_mut().poll(context).is_ready());
        });
    }

    #[test]
    fn what_waits_is_written_before_reading_fails() {
        with_client(async |client, peer| {
            let (ahead, pool) = (ahead(), BufferPool::new());
            let reading = async {
                for _ in 0..3 {
                    let charged = ahead.room(4).await;
                    ahead.push(window(&pool), charged);
                }
                Err::<(), _>(ResponseFault::from(Reason::UpstreamTruncated))
            };
            let fault = ahead.beside(reading, client).await.unwrap_err();
            assert_eq!(fault.reason, Reason::UpstreamTruncated);
            let mut came = [0; 100];
            let count = std::io::Read::read(&mut &peer, &mut came).unwrap();
            assert_eq!(&came[..count], b"somesomesome");
            assert!(ahead.is_empty() && ahead.taken.get() == 0);
        });
    }
}
