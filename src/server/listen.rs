//! Opening listening sockets, before any worker hears of them, so that what is wrong is said at once: at the
//! start, and for each address that a new configuration adds.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::RunError;
use super::socket::{self, SocketFile};
use crate::config::{Host, ListenAddress};
use crate::net::listener;

/// The sockets of all workers on one address of a listener. The file of a Unix socket goes away with
/// this value, so it is kept for as long as anybody listens.
#[derive(Debug)]
pub(super) struct Opened {
    /// Where they listen: one address for each that a name stands for, with the port that was free where
    /// any would do.
    pub(super) bound: Vec<ListenAddress>,
    /// A list for each worker.
    sockets: Vec<Vec<OwnedFd>>,
    _file: Option<SocketFile>,
}

impl Opened {
    /// Lets clients connect to the sockets that no worker has taken yet. That comes last: whoever connects waits
    /// until the workers have them.
    ///
    /// # Errors
    /// One line that names the cause and the cure.
    pub(super) fn listen(&self) -> Result<(), RunError> {
        for of_one in &self.sockets {
            // Their order is that of the addresses; Unix sockets listen already.
            for (socket, address) in of_one.iter().zip(&self.bound) {
                if let Some(address) = address.address() {
                    listener::listen(socket.as_fd()).map_err(|error| refusal(address, &error))?;
                }
            }
        }
        Ok(())
    }

    /// The sockets of one of the workers, each of which is to take its own.
    pub(super) fn take_for_one(&mut self) -> Vec<OwnedFd> {
        self.sockets.pop().unwrap_or_default()
    }
}

/// Opens sockets for so many workers on an address. Over TCP each has its own on each address that the
/// host stands for, and the kernel deals connections out; on a Unix socket they share one, and whoever
/// comes first takes a connection.
///
/// Over TCP nobody can connect before [`Opened::listen`].
///
/// # Errors
/// One line that names the cause and the cure. Nothing is open then.
///
/// `ours` are addresses that this process listens on already: a new one may take part of what is theirs, as
/// when `0.0.0.0:80` becomes `127.0.0.1:80`.
pub(super) fn open(address: &ListenAddress, workers: usize, ours: &[SocketAddr]) -> Result<Opened, RunError> {
    match address {
        ListenAddress::Tcp(host, port) => open_tcp(host, *port, workers, ours),
        ListenAddress::Unix(path) => open_unix(path, workers).map_err(RunError::Failed),
    }
}

fn open_tcp(host: &Host, port: u16, workers: usize, ours: &[SocketAddr]) -> Result<Opened, RunError> {
    let addresses = match host {
        Host::Address(address) => vec![SocketAddr::new(*address, port)],
        Host::Name(name) => (name.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| {
                RunError::Failed(format!(
                    "cannot look up the host {name}: {error}; use an address of this machine"
                ))
            })?
            .collect(),
    };
    let mut bound: Vec<ListenAddress> = Vec::with_capacity(addresses.len());
    let mut sockets: Vec<Vec<OwnedFd>> = std::iter::repeat_with(Vec::new).take(workers).collect();
    for mut address in addresses {
        if port == 0
            && let Some(ListenAddress::Tcp(_, port)) = bound.first()
        {
            address.set_port(*port);
        }
        let address = bind_each(address, &mut sockets, ours).map_err(|error| refusal(address, &error))?;
        bound.push(ListenAddress::Tcp(Host::Address(address.ip()), address.port()));
    }
    Ok(Opened { bound, sockets, _file: None })
}

/// Gives each worker a socket on the address, and returns the address with its port.
fn bind_each(
    mut address: SocketAddr,
    sockets: &mut [Vec<OwnedFd>],
    ours: &[SocketAddr],
) -> io::Result<SocketAddr> {
    if !ours.iter().any(|&ours| overlap(ours, address)) {
        listener::probe(address)?;
    }
    for of_one in sockets {
        let socket = listener::bind(address)?;
        address = socket.local_addr()?;
        of_one.push(socket.into());
    }
    Ok(address)
}

fn open_unix(path: &Path, workers: usize) -> Result<Opened, String> {
    let (listener, file) = socket::listen(path, &socket::CLIENTS)?;
    let listener = OwnedFd::from(listener);
    let each = (0..workers).map(|_| Ok(vec![listener.try_clone()?]));
    let sockets = each
        .collect::<io::Result<_>>()
        .map_err(|error| format!("cannot listen on unix:{}: {error}", path.display()))?;
    Ok(Opened { bound: vec![ListenAddress::Unix(path.to_owned())], sockets, _file: Some(file) })
}

/// Whether connections to one address could be meant for the other.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip(), other.ip());
    one.port() == other.port()
        && ip.is_ipv4() == other_ip.is_ipv4()
        && (ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified())
}

/// One line that names the cause and the cure.
fn refusal(address: SocketAddr, error: &io::Error) -> RunError {
    let port = address.port();
    RunError::Failed(match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "{address} is in use by another process; stop it (ss -ltnp shows which) or choose another --port"
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "no permission to listen on port {port}; choose a --port from 1024 on, or grant CAP_NET_BIND_SERVICE"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "{} is no address of this machine; choose another --host (ip addr shows them)",
                address.ip()
            )
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    fn on(text: &str, workers: usize) -> Result<Opened, RunError> {
        let opened = open(&text.parse().unwrap(), workers, &[])?;
        opened.listen()?;
        Ok(opened)
    }

    fn port_of(opened: &Opened) -> u16 {
        opened.bound[0].address().unwrap().port()
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = on(&format!("127.0.0.1:{port}"), 1).unwrap_err();
        assert!(error.to_string().contains("is in use"), "{error}");
    }

    #[test]
    fn another_proxy_on_the_port_is_not_joined() {
        let first = on("127.0.0.1:0", 2).unwrap();
        assert!(on(&format!("127.0.0.1:{}", port_of(&first)), 2).is_err());
    }

    #[test]
    fn every_worker_gets_a_socket_on_every_address() {
        let mut opened = on("localhost:0", 3).unwrap();
        let port = port_of(&opened);
        assert!(opened.bound.iter().all(|address| address.address().unwrap().port() == port));
        for _ in 0..3 {
            assert_eq!(opened.take_for_one().len(), opened.bound.len());
        }
        assert!(opened.take_for_one().is_empty());
    }

    #[test]
    fn nobody_can_connect_before_it_listens() {
        let opened = open(&"127.0.0.1:0".parse().unwrap(), 2, &[]).unwrap();
        let address = opened.bound[0].address().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
        opened.listen().unwrap();
        assert!(std::net::TcpStream::connect(address).is_ok());
    }

    #[test]
    fn a_missing_permission_is_named_with_its_cure() {
        let error = refusal("127.0.0.1:80".parse().unwrap(), &io::ErrorKind::PermissionDenied.into());
        let text = error.to_string();
        assert!(
            text.contains("port 80") && text.contains("CAP_NET_BIND_SERVICE") && !text.contains('\n'),
            "{text}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = on("192.0.2.1:0", 1).unwrap_err();
        assert!(error.to_string().contains("no address of this machine"), "{error}");
    }

    #[test]
    fn workers_share_a_unix_socket_whose_file_goes_with_the_last_word() {
        let name = format!("ringway-{}-{:x}.sock", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        let address = ListenAddress::Unix(path.clone());
        let mut opened = open(&address, 2, &[]).unwrap();
        assert_eq!(opened.bound, std::slice::from_ref(&address));
        let [one, other] = [0, 1].map(|_| opened.take_for_one().pop().unwrap());
        let refusal = open(&address, 1, &[]).unwrap_err().to_string();
        assert!(refusal.contains("another process answers") && !refusal.contains("--admin"), "{refusal}");
        // The question whether anybody answers is the first connection.
        UnixStream::connect(&path).unwrap();
        for socket in [one, other] {
            let socket = std::os::unix::net::UnixListener::from(socket);
            assert!(socket.accept().is_ok());
        }
        drop(opened);
        assert!(!path.exists());
    }
}
