//! Opening the listening sockets, before any worker starts, so that what is wrong is said at once.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use super::RunError;
use crate::config::Host;
use crate::net::listener;

/// The sockets of all workers on one address.
pub(super) struct Group {
    pub(super) address: SocketAddr,
    pub(super) sockets: Vec<TcpListener>,
}

/// Opens a socket for each worker on each address that the host stands for.
pub(super) fn bind_all(host: &Host, port: u16, workers: usize) -> Result<Vec<Group>, RunError> {
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
    let mut groups: Vec<Group> = Vec::with_capacity(addresses.len());
    for mut address in addresses {
        if port == 0
            && let Some(first) = groups.first()
        {
            address.set_port(first.address.port());
        }
        groups.push(bind_group(address, workers).map_err(|error| refusal(address, &error))?);
    }
    Ok(groups)
}

fn bind_group(mut address: SocketAddr, workers: usize) -> io::Result<Group> {
    listener::probe(address)?;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = listener::bind(address)?;
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(Group { address, sockets })
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

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind_all(&Host::parse("127.0.0.1"), port, 1).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("is in use"), "{error}");
    }

    #[test]
    fn another_proxy_on_the_port_is_not_joined() {
        let first = bind_all(&Host::parse("127.0.0.1"), 0, 2).unwrap();
        let port = first[0].address.port();
        assert!(bind_all(&Host::parse("127.0.0.1"), port, 2).is_err());
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
        let error = bind_all(&Host::parse("192.0.2.1"), 0, 1).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("no address of this machine"), "{error}");
    }
}
