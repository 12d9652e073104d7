//! A client's connection: one request after another, until it closes or has been quiet for a while.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::error::Reason;
use crate::h1::Malformed;
use crate::limits::DISCARD_BYTES_MAX;
use crate::net::buffer::Class;
use crate::net::{Buffer, Socket, Ticks, Watch};
use crate::proxy::client::inlet::Inlet;
use crate::proxy::client::introduction::{self, Introduction};
use crate::proxy::client::visit::{self, Visit};
use crate::proxy::core::Core;
use crate::proxy::exchange::{self, Outcome, Then};
use crate::proxy::forward::Writer;
use crate::proxy::head::{self, HeadFault};
use crate::proxy::record::{Received, Record};
use crate::proxy::request::terms::Terms;
use crate::proxy::snapshot::ListenerRules;

/// How long a quiet connection keeps its task before it is parked. Parking and coming back costs half
/// a request, so it must not happen between the requests of a busy client.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client may go on sending after its exchange was answered and its connection is to close.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Content of so many bytes may still be on its way to the client when it has been written.
const LARGE: u64 = 64 * 1024;

/// Empty lines that are let pass in front of a request (RFC 9112, section 2.2).
const EMPTY_LINES_MAX: usize = 2;

/// A client on its connection.
pub(in crate::proxy) struct Client {
    pub(in crate::proxy) socket: Socket,
    pub(in crate::proxy) watch: Watch,
    pub(in crate::proxy) peer: Peer,
    /// Where it came in.
    pub(in crate::proxy) inlet: Rc<Inlet>,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Peer {
    ip: Option<IpAddr>,
    port: u16,
    /// Whether what it says about others is believed.
    pub(in crate::proxy) trusted: bool,
    address: AddressText,
}

impl Peer {
    /// A peer that nobody trusts yet; without an address if it came by a Unix socket.
    pub(in crate::proxy) fn new(ip: Option<IpAddr>) -> Peer {
        Peer { ip, port: 0, trusted: false, address: AddressText::new(ip) }
    }

    /// The same, with a port. An IPv4 address that came over an IPv6 socket counts as IPv4.
    fn at(socket: Option<SocketAddr>) -> Peer {
        let port = socket.map_or(0, |socket| socket.port());
        Peer { port, ..Peer::new(socket.map(|socket| socket.ip().to_canonical())) }
    }

    /// The same, as the listener's rules see it.
    pub(in crate::proxy) fn under(self, rules: &ListenerRules) -> Peer {
        Peer { trusted: rules.trusted.contains(self.ip), ..self }
    }

    /// The address; none for one who came by a Unix socket.
    pub(in crate::proxy) fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The address with its port; none for one who came by a Unix socket.
    pub(in crate::proxy) fn socket(&self) -> Option<SocketAddr> {
        self.ip.map(|ip| SocketAddr::new(ip, self.port))
    }

    /// The address as text; `unix` for one who came by a Unix socket.
    pub(in crate::proxy) fn address(&self) -> &[u8] {
        self.address.bytes().unwrap_or(b"unix")
    }

    /// How it is told to upstreams who asks; where there is no address, in the word of RFC 7239, section
    /// 6.2.
    pub(in crate::proxy) fn forwarded(&self) -> &[u8] {
        self.address.bytes().unwrap_or(b"unknown")
    }
}

/// An address as text, without an allocation. Nothing stands for one who has none.
#[derive(Clone, Copy)]
struct AddressText {
    bytes: [u8; ADDRESS_BYTES_MAX],
    length: usize,
}

/// The longest text of an address: an IPv6 one with an IPv4 tail.
const ADDRESS_BYTES_MAX: usize = 46;

impl AddressText {
    fn new(ip: Option<IpAddr>) -> AddressText {
        use std::io::Write as _;
        let mut bytes = [0; ADDRESS_BYTES_MAX];
        let mut room = &mut bytes[..];
        if let Some(ip) = ip {
            // Every address fits.
            let _ = write!(room, "{ip}");
        }
        let length = ADDRESS_BYTES_MAX - room.len();
        AddressText { bytes, length }
    }

    fn bytes(&self) -> Option<&[u8]> {
        Some(&self.bytes[..self.length]).filter(|bytes| !bytes.is_empty())
    }
}

/// What happens after an exchange.
enum Next {
    /// Bytes of another request are there.
    Request(Buffer),
    /// It waits for some.
    Wait,
    /// It was quiet; the socket waits elsewhere from here on.
    Park,
    /// It is over.
    Close,
}

/// Counts a connection for as long as it lives, whatever ends it.
struct Open<'a> {
    core: &'a Core,
    visit: Visit,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.core.connection_closed();
    }
}

/// Serves a connection until it closes, or parks it. A peer that came by a Unix socket has no address; for one that
/// was told by [`serve_introduced`] it is the told one.
pub(crate) async fn serve(
    core: Rc<Core>,
    fd: OwnedFd,
    (peer, inlet, visit): (Option<SocketAddr>, Rc<Inlet>, Visit),
) {
    let open = Open { core: &core, visit };
    let Ok(socket) = Socket::from_fd(fd) else { return };
    let mut client = Client::new(&core, socket, peer, inlet);
    let parks = client.run(&core, Next::Wait).await;
    client.leave(peer, parks, open);
}

/// The same for a new connection that has to begin with a header of the PROXY protocol, which says whom its peer
/// speaks for: from there on, that one is the peer.
pub(crate) async fn serve_introduced(
    core: Rc<Core>,
    fd: OwnedFd,
    (peer, inlet, visit): (Option<SocketAddr>, Rc<Inlet>, Visit),
) {
    let mut open = Open { core: &core, visit };
    let Ok(socket) = Socket::from_fd(fd) else { return };
    let mut client = Client::new(&core, socket, peer, inlet);
    let Some(Introduction { source, rest }) = introduction::receive(&core, &mut client).await else {
        return client.leave(peer, false, open);
    };
    match client.inlet.introduce(&core, source.map(|source| source.ip().to_canonical())) {
        Ok(visit) => open.visit.add(visit),
        Err(refused) => {
            refused.count(&core);
            // It is read by whoever made the connection, at once or not at all.
            let _ = client.socket.sink.write_now(visit::answer());
            return client.leave(peer, false, open);
        }
    }
    let peer = source.or(peer);
    client.peer = Peer::at(peer);
    let parks = client.run(&core, rest.map_or(Next::Wait, Next::Request)).await;
    client.leave(peer, parks, open);
}

impl Client {
    fn new(core: &Core, socket: Socket, peer: Option<SocketAddr>, inlet: Rc<Inlet>) -> Client {
        let watch = core.deadlines.watch(socket.fd());
        watch.is_of_client();
        Client { watch, socket, peer: Peer::at(peer), inlet }
    }

    /// Closes the connection, or parks it.
    fn leave(self, peer: Option<SocketAddr>, parks: bool, mut open: Open<'_>) {
        let Client { socket, watch, inlet, .. } = self;
        let core = open.core;
        drop(watch);
        if !parks {
            socket.close();
        } else if let Ok(fd) = socket.into_fd() {
            core.counters.parked.increment();
            let limit = inlet.keep_alive().saturating_sub(Ticks::of(LINGER));
            let visit = std::mem::take(&mut open.visit);
            if core.lot.park(fd, (peer, inlet, visit), core.deadlines.now(), limit) {
                // It stays counted; its visit went along.
                std::mem::forget(open);
            }
        }
    }

    /// Serves requests. Says whether the connection is to be parked rather than closed.
    async fn run(&mut self, core: &Rc<Core>, mut next: Next) -> bool {
        loop {
            next = match next {
                Next::Request(bytes) => self.serve_one(core, bytes).await,
                Next::Wait => self.next_bytes(core).await,
                Next::Park => return true,
                Next::Close => return false,
            };
        }
    }

    /// Waits for the bytes of a request.
    async fn next_bytes(&mut self, core: &Core) -> Next {
        let linger = self.inlet.keep_alive().min(Ticks::of(LINGER));
        let source = &mut self.socket.source;
        let read = source.read_when_ready(|| core.buffers.take(Class::Small));
        match self.watch.idle_within(linger, read).await {
            Some((Ok(count), buffer)) if count > 0 => Next::Request(buffer),
            None if !core.is_draining() => Next::Park,
            _ => Next::Close,
        }
    }

    /// Receives a head, serves the request, and goes on to what comes next.
    async fn serve_one(&mut self, core: &Rc<Core>, mut buffer: Buffer) -> Next {
        let (snapshot, listener) = self.inlet.now();
        let rules = &snapshot.listeners[listener];
        for _ in 0..=EMPTY_LINES_MAX {
            let mut armed = false;
            let watch = &self.watch;
            let (result, back) =
                head::receive(&mut self.socket.source, &core.buffers, &rules.head, Some(buffer), || {
                    if !std::mem::replace(&mut armed, true) {
                        watch.read_within(rules.head_time);
                    }
                })
                .await;
            self.watch.clear_read();
            buffer = back;
            match result {
                // Only an empty line is that short.
                Ok(2) => buffer.consume(2),
                // Between requests none of what it takes to serve one is needed.
                Ok(length) => return core.buffers.lend(|| self.exchange(core, buffer, length)).await,
                Err(fault) => return core.buffers.lend(|| self.no_head(core, buffer, fault)).await,
            }
        }
        let fault = HeadFault::Malformed(Malformed::FirstLine);
        core.buffers.lend(|| self.no_head(core, buffer, fault)).await
    }

    /// Serves a request whose head is there.
    async fn exchange(&mut self, core: &Rc<Core>, bytes: Buffer, head_length: usize) -> Next {
        let outcome = exchange::run(core, self, bytes, head_length).await;
        self.finish(core, outcome).await
    }

    /// Ends a connection that did not bring a whole head.
    async fn no_head(&mut self, core: &Core, bytes: Buffer, fault: HeadFault) -> Next {
        let reason = match &fault {
            _ if self.watch.read_expired() => Reason::HeadTimeout,
            HeadFault::Malformed(fault) => {
                head::refusal(*fault, bytes.bytes(), &Terms::of(&self.inlet).listener().head)
            }
            HeadFault::Closed | HeadFault::Failed if bytes.is_empty() => return Next::Close,
            HeadFault::Closed | HeadFault::Failed => Reason::ClientClosed,
        };
        let received = Received {
            bytes,
            head_length: 0,
            head: None,
            lines: core.take_lines(),
            terms: Terms::of(&self.inlet),
        };
        let outcome = exchange::refuse(core, received, Record::begin(core), reason);
        self.finish(core, outcome).await
    }

    /// Writes what is left of the response, and sees to what the connection does next.
    async fn finish(&mut self, core: &Core, outcome: Outcome) -> Next {
        let Outcome { last, rest, then, received, mut record } = outcome;
        let written = match last {
            Some(last) => {
                let Client { socket, watch, .. } = self;
                let mut writer = Writer {
                    sink: &mut socket.sink,
                    watch,
                    limit: received.terms.times.write_idle,
                    pace: received.terms.pace(),
                };
                writer.write_all(last).await.map(drop)
            }
            None => Ok(()),
        };
        match written {
            Ok(()) => {}
            Err(broken) => record.reason = broken.of_response(),
        }
        record.finish(core, self.peer.address(), &received);
        let Received { bytes, lines, mut terms, .. } = received;
        terms.give_back(core);
        core.give_back_lines(lines);
        match (then, rest) {
            // What was accepted must not be taken for the whole, least of all where the close ends it.
            _ if written.is_err() => self.socket.sink.reset(),
            (Then::Persist, Some(rest)) => return Next::Request(rest),
            (Then::Persist, None) => {
                // The next read takes the buffer that was given back last, while it is warm.
                drop(bytes);
                return Next::Wait;
            }
            (Then::Reset, _) => self.socket.sink.reset(),
            (Then::Close, None) if record.bytes < LARGE && self.socket.sink.is_quiet() => {}
            (Then::Close | Then::CloseWhileSending, _) => Box::pin(self.discard(core)).await,
        }
        Next::Close
    }

    /// Says that no more comes, and throws away what the client still sends: closing with bytes
    /// unread would reset the connection, and the client might never see its answer.
    async fn discard(&mut self, core: &Core) {
        self.socket.sink.end();
        self.watch.read_within(Ticks::of(DISCARD_TIME));
        let mut left = DISCARD_BYTES_MAX;
        let mut buffer = core.buffers.take(Class::Small);
        while left > 0 {
            buffer.clear();
            let (result, back) = self.socket.source.read(buffer).await;
            buffer = back;
            match result {
                Ok(count) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    use monoio::{LegacyDriver, RuntimeBuilder};

    use super::*;
    use crate::config::Settings;
    use crate::proxy::snapshot::Blueprint;

    #[test]
    fn what_serves_a_request_fits_into_a_small_buffer() {
        let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().unwrap();
        let size = runtime.block_on(async {
            let settings = Settings::for_tests();
            let blueprint = Arc::new(Blueprint::new(&settings));
            let core = Core::new((0, 1), blueprint, &[], settings.access_log, None, Box::new(drop)).unwrap();
            let (core, listener) = (Rc::new(core), TcpListener::bind("127.0.0.1:0").unwrap());
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let inlet = Rc::new(Inlet::new(core.snapshot(), 0));
            let mut client = Client::new(&core, Socket::from_fd(stream.into()).unwrap(), None, inlet);
            let bytes = core.buffers.take(Class::Small);
            size_of_val(&client.exchange(&core, bytes, 0))
        });
        // Every request that is under way has one, a larger one from a mapping of its own.
        assert_eq!(Class::holding(size), Class::Small, "{size} bytes");
    }
}
