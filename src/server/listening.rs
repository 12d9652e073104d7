//! What one core listens on, and the connections that come in there.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};

use super::Event;
use crate::net::listener::Listener;
use crate::proxy;
use crate::proxy::Core;
use crate::proxy::Inlet;
use crate::proxy::Snapshot;
use crate::proxy::Visit;
use crate::proxy::guard::{guarded, message};

/// How long accept is left alone after it failed, mostly for want of descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long those who are connecting when a socket goes have to get through.
const HANDSHAKE_TIME: Duration = Duration::from_millis(50);

/// The most batches of connections that a socket which stops takes first: more than its backlog has room for.
const BATCHES_MAX: usize = 128;

/// A number for an address to listen on, the same for as long as its sockets are open.
pub(super) type SocketId = u64;

/// The listeners of one core.
pub(super) struct Listening {
    core: Rc<Core>,
    /// Shared on this core only: a clone for each connection must not touch memory of other cores.
    events: Rc<flume::Sender<Event>>,
    nonblocking: bool,
    sockets: Vec<Rc<Accepting>>,
    /// Those that are wanted no more.
    leaving: Vec<Rc<Accepting>>,
    /// Of sockets that are gone, for as long as their connections live on by the name of their listener.
    left: Vec<Rc<Inlet>>,
}

/// A socket that connections are accepted from.
struct Accepting {
    id: SocketId,
    listener: Listener,
    inlet: Rc<Inlet>,
    /// The task that takes connections.
    task: AbortHandle,
}

impl Listening {
    /// On nothing yet.
    pub(super) fn new(core: Rc<Core>, events: flume::Sender<Event>, nonblocking: bool) -> Listening {
        Listening {
            core,
            events: Rc::new(events),
            nonblocking,
            sockets: Vec::new(),
            leaving: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Brings parked connections back to life, for as long as it is polled.
    pub(super) fn attend_parked(&self) -> impl Future<Output = ()> + 'static {
        let (core, events) = (self.core.clone(), self.events.clone());
        async move {
            let resume =
                |parked: crate::net::parking::Parked<_>| serve(&core, parked.fd, parked.known, &events);
            if let Err(error) = core.lot.attend(resume).await {
                let note = format!("idle connections can no longer be watched: {error}");
                let _ = events.send(Event::Note(note));
            }
        }
    }

    /// Listens as a configuration wants it: on the sockets with these numbers, each for the listener of that name.
    /// `new` has those that are not here yet. What is wanted no more goes with [`Listening::leave`].
    ///
    /// Connections stay where their socket does, whatever its listener is called now. Where the socket goes, they
    /// stay with the listener, if that is still there, and otherwise end with their next response.
    ///
    /// # Errors
    /// The driver could not take a socket.
    pub(super) fn follow(
        &mut self,
        snapshot: &Rc<Snapshot>,
        wanted: &[(SocketId, String)],
        new: Vec<(SocketId, OwnedFd)>,
    ) -> io::Result<()> {
        let listener_of = |id| wanted.iter().find(|(wanted, _)| *wanted == id).map(|(_, name)| name.as_str());
        let (leaving, left) = (&mut self.leaving, &mut self.left);
        self.sockets.retain(|socket| {
            let stays = listener_of(socket.id).is_some_and(|name| socket.inlet.follow(snapshot, name));
            if !stays {
                socket.listener.turn_away();
                leaving.push(socket.clone());
                left.push(socket.inlet.clone());
            }
            stays
        });
        // One that nobody else has has no connection.
        left.retain(|inlet| inlet.follow_name(snapshot) && Rc::strong_count(inlet) > 1);
        for (id, fd) in new {
            let Some(place) = listener_of(id).and_then(|name| snapshot.listener(name)) else { continue };
            let (task, registration) = AbortHandle::new_pair();
            let socket = Rc::new(Accepting {
                id,
                listener: Listener::new(fd, self.nonblocking)?,
                inlet: Rc::new(Inlet::new(snapshot.clone(), place)),
                task,
            });
            let accepting = accept(self.core.clone(), socket.clone(), self.events.clone());
            monoio::spawn(Abortable::new(accepting, registration).map(drop));
            self.sockets.push(socket);
        }
        Ok(())
    }

    /// Leaves the sockets that are wanted no more, when those who were connecting are here.
    pub(super) async fn leave(&mut self) {
        if !self.leaving.is_empty() {
            monoio::time::sleep(HANDSHAKE_TIME).await;
        }
        for socket in self.leaving.drain(..) {
            socket.stop(&self.core, &self.events);
        }
    }

    /// Stops listening.
    pub(super) fn stop(&mut self) {
        for socket in self.sockets.drain(..) {
            socket.stop(&self.core, &self.events);
        }
    }
}

impl Accepting {
    /// Accepts what is there, and nothing after it.
    fn stop(&self, core: &Rc<Core>, events: &Rc<flume::Sender<Event>>) {
        // Those who are in the backlog have been told that they are connected.
        let mut batches = 0..BATCHES_MAX;
        while batches.next().is_some() && matches!(self.accept_batch(core, events), Ok(true)) {}
        // It waits for more; on a socket that cores share nothing else would wake it.
        self.task.abort();
        self.listener.stop();
    }

    fn accept_batch(&self, core: &Rc<Core>, events: &Rc<flume::Sender<Event>>) -> io::Result<bool> {
        self.listener.accept_batch(|fd, peer| begin(core, fd, (peer, &self.inlet), events))
    }
}

/// Takes connections until it is stopped.
async fn accept(core: Rc<Core>, socket: Rc<Accepting>, events: Rc<flume::Sender<Event>>) {
    let mut failing = false;
    loop {
        let ready = socket.listener.readable().await;
        match ready.and_then(|()| socket.accept_batch(&core, &events)) {
            Ok(_) => failing = false,
            Err(error) => {
                core.counters.accept_errors.increment();
                if is_short_of_descriptors(&error) && core.descriptors_ran_out() {
                    continue;
                }
                if !std::mem::replace(&mut failing, true) {
                    let _ = events.send(Event::Note(format!("cannot accept connections for now: {error}")));
                }
                monoio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

fn is_short_of_descriptors(error: &io::Error) -> bool {
    [libc::EMFILE, libc::ENFILE].map(Some).contains(&error.raw_os_error())
}

/// Where a connection comes from, where it came in, and what it counts for.
type Known = (Option<SocketAddr>, Rc<Inlet>, Visit);

/// Counts a new connection and gives it a task, if it is let in.
fn begin(
    core: &Rc<Core>,
    fd: OwnedFd,
    (peer, inlet): (Option<SocketAddr>, &Rc<Inlet>),
    events: &Rc<flume::Sender<Event>>,
) {
    core.counters.accepted.increment();
    let address = peer.map(|peer| peer.ip());
    let introduces = inlet.introduces(address);
    let Some((fd, visit)) = proxy::let_in(core, fd, address, inlet, introduces) else { return };
    let known = (peer, inlet.clone(), visit);
    if introduces {
        let exchanges = proxy::serve_introduced(core.clone(), fd, known);
        return spawn_guarded(core, peer, events, exchanges);
    }
    serve(core, fd, known, events);
}

fn serve(core: &Rc<Core>, fd: OwnedFd, known: Known, events: &Rc<flume::Sender<Event>>) {
    spawn_guarded(core, known.0, events, proxy::serve(core.clone(), fd, known));
}

/// Gives a connection's future a task. A panic in it is counted and told, and hurts no other.
fn spawn_guarded(
    core: &Rc<Core>,
    peer: Option<SocketAddr>,
    events: &Rc<flume::Sender<Event>>,
    exchanges: impl Future<Output = ()> + 'static,
) {
    let (core, events) = (core.clone(), events.clone());
    monoio::spawn(guarded(exchanges).map(move |ended| {
        if let Err(panic) = ended {
            core.counters.panics.increment();
            let peer = peer.map_or("a Unix socket".to_owned(), |peer| peer.to_string());
            let _ =
                events.send(Event::Note(format!("a connection from {peer} panicked: {}", message(&*panic))));
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    use super::*;
    use crate::config::{DriverChoice, Settings};
    use crate::proxy::Blueprint;
    use crate::server::driver;

    /// What a connection that waits for a request has in memory, with a little around it. What makes it larger belongs
    /// into the exchange, or into a box.
    const TASK_BYTES_MAX: usize = 1152;

    #[test]
    fn a_panic_in_one_connection_is_counted_and_told_and_hurts_no_other() {
        for choice in [DriverChoice::Auto, DriverChoice::Epoll] {
            let (mut runtime, _) = driver::build(choice).unwrap();
            let (sender, notes) = flume::unbounded();
            let settings = Settings::for_tests();
            let panics = runtime.block_on(async {
                let blueprint = Arc::new(Blueprint::new(&settings));
                let core = Rc::new(
                    Core::new((0, 1), blueprint, &[], settings.access_log, None, Box::new(drop)).unwrap(),
                );
                let events = Rc::new(sender);
                let peer = Some(SocketAddr::from(([192, 0, 2, 1], 7)));
                let (done, waits) = flume::bounded(1);
                spawn_guarded(&core, peer, &events, async { panic!("one of them") });
                spawn_guarded(&core, peer, &events, async move {
                    monoio::time::sleep(Duration::from_millis(20)).await;
                    done.send(()).unwrap();
                });
                waits.recv_async().await.unwrap();
                core.counters.panics.get()
            });
            assert_eq!(panics, 1);
            let Ok(Event::Note(note)) = notes.recv() else { panic!("nothing was told") };
            assert_eq!(note, "a connection from 192.0.2.1:7 panicked: one of them");
        }
    }

    #[test]
    fn the_task_of_a_connection_is_small() {
        let (mut runtime, _) = driver::build(DriverChoice::Epoll).unwrap();
        let settings = Settings::for_tests();
        let size = runtime.block_on(async {
            let blueprint = Arc::new(Blueprint::new(&settings));
            let core = Core::new((0, 1), blueprint, &[], settings.access_log, None, Box::new(drop)).unwrap();
            let core = Rc::new(core);
            let inlet = Rc::new(Inlet::new(core.snapshot(), 0));
            let fd = TcpListener::bind("127.0.0.1:0").unwrap().into();
            size_of_val(&proxy::serve(core, fd, (None, inlet, Visit::default())))
        });
        assert!(size <= TASK_BYTES_MAX, "{size} bytes");
    }

    #[test]
    fn whoever_waits_to_be_accepted_when_a_socket_goes_is_taken() {
        const WAITING: usize = 200;
        for choice in [DriverChoice::Auto, DriverChoice::Epoll] {
            let (mut runtime, _) = driver::build(choice).unwrap();
            let nonblocking = runtime.is_epoll();
            let settings = Settings::for_tests();
            let (events, _notes) = flume::unbounded();
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            rustix::net::listen(&socket, 1024).unwrap();
            let address = socket.local_addr().unwrap();
            let clients: Vec<TcpStream> =
                (0..WAITING).map(|_| TcpStream::connect(address).unwrap()).collect();
            runtime.block_on(async {
                let blueprint = Arc::new(Blueprint::new(&settings));
                let core = Rc::new(
                    Core::new((0, 1), blueprint, &[], settings.access_log, None, Box::new(drop)).unwrap(),
                );
                let mut listening = Listening::new(core.clone(), events, nonblocking);
                let wanted = [(7, settings.listeners[0].name.clone())];
                listening.follow(&core.snapshot(), &wanted, vec![(7, socket.into())]).unwrap();
                // Nothing has been accepted before it goes.
                listening.follow(&core.snapshot(), &[], Vec::new()).unwrap();
                listening.leaving.drain(..).for_each(|socket| socket.stop(&core, &listening.events));
                assert_eq!(core.counters.accepted.get(), WAITING as u64);
                assert_eq!(core.connections(), WAITING);
            });
            drop(clients);
        }
    }
}
