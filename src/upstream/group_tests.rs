//! Tests of endpoints that outlive configurations, over sockets of this process, on each driver.

use std::future::Future;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use super::*;
use crate::config::{EndpointSettings, Settings};
use crate::error::Reason;
use crate::net::Deadlines;
use crate::upstream::{Connection, connect};

/// Runs a test on each driver that the kernel has.
fn on_each_driver<F: Future<Output = ()>>(test: impl Fn() -> F) {
    use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
    if let Ok(mut runtime) = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build() {
        runtime.block_on(test());
    }
    RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().unwrap().block_on(test());
}

/// An upstream of that name with those endpoints.
fn upstream(name: &str, addresses: &[&str]) -> UpstreamSettings {
    let endpoint = |text: &&str| EndpointSettings { address: text.parse().unwrap(), weight: 1 };
    let settings = Settings::for_tests().upstreams.swap_remove(0);
    UpstreamSettings {
        name: name.to_owned(),
        endpoints: addresses.iter().map(endpoint).collect(),
        ..settings
    }
}

fn server() -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    (server, address)
}

async fn open(node: &Rc<Node>) -> Result<Connection, Reason> {
    connect::connect(&Rc::new(Deadlines::default()), node, Duration::from_secs(20)).await
}

fn resolved(upstream: &str, name: &str, addresses: &[&str]) -> Endpoint {
    Endpoint {
        key: EndpointKey { upstream: upstream.into(), address: name.parse().unwrap() },
        addresses: addresses.iter().map(|text| Address::Ip(text.parse().unwrap())).collect(),
    }
}

#[test]
fn an_endpoint_that_stays_keeps_its_connections_and_one_that_goes_loses_them() {
    on_each_driver(|| async {
        let ((_stays, stays), (_goes, goes)) = (server(), server());
        let nodes = Nodes::default();
        let before = nodes.adopt(&[upstream("app", &[&stays, &goes])], &[], 0);
        for node in before[0].endpoints() {
            open(node).await.unwrap().give_back(0);
            assert_eq!(node.idle(), 1);
        }
        let in_use = open(&before[0].endpoints()[1]).await.unwrap();
        let after = nodes.adopt(&[upstream("app", &[&stays])], &[], 0);
        assert!(Rc::ptr_eq(&before[0].endpoints()[0], &after[0].endpoints()[0]));
        let connection = after[0].endpoints()[0].take().unwrap();
        assert!(connection.reused);
        assert_eq!(&*connection.shown, stays);
        let gone = &before[0].endpoints()[1];
        assert_eq!(gone.idle(), 0);
        in_use.give_back(0);
        assert_eq!(gone.idle(), 0);
        // An exchange that began before still gets where it was going.
        open(gone).await.unwrap().give_back(0);
        assert_eq!(gone.idle(), 0);
    });
}

#[test]
fn an_address_in_two_upstreams_is_two_endpoints() {
    let nodes = Nodes::default();
    let made = nodes.adopt(&[upstream("a", &["127.0.0.1:1"]), upstream("b", &["127.0.0.1:1"])], &[], 0);
    assert!(!Rc::ptr_eq(&made[0].endpoints()[0], &made[1].endpoints()[0]));
    assert_eq!((&*made[0].name, &*made[1].name), ("a", "b"));
}

#[test]
fn connections_to_addresses_that_are_over_are_not_kept() {
    on_each_driver(|| async {
        let ((_one, one), (_other, other)) = (server(), server());
        let nodes = Nodes::default();
        let known = |address: &String| [resolved("app", "app.test:80", &[address])];
        let made = nodes.adopt(&[upstream("app", &["app.test:80"])], &known(&one), 0);
        let node = &made[0].endpoints()[0];
        let (idle, in_use) = (open(node).await.unwrap(), open(node).await.unwrap());
        idle.give_back(0);
        nodes.set_addresses(&known(&one));
        nodes.set_addresses(&[resolved("app", "app.test:80", &[])]);
        nodes.set_addresses(&[resolved("else", "app.test:80", &[&other])]);
        assert_eq!(node.idle(), 1, "nothing has changed");
        nodes.set_addresses(&known(&other));
        assert_eq!(node.idle(), 0);
        in_use.give_back(0);
        assert_eq!(node.idle(), 0);
        let connection = open(node).await.unwrap();
        assert_eq!(&*connection.shown, other);
        connection.give_back(0);
        assert_eq!(node.idle(), 1);
    });
}

#[test]
fn no_more_connections_wait_than_may_and_none_too_long() {
    on_each_driver(|| async {
        let (_server, address) = server();
        let mut settings = upstream("app", &[&address]);
        settings.limits.pool_size = 2;
        settings.limits.pool_idle = Duration::from_secs(1);
        let nodes = Nodes::default();
        let made = nodes.adopt(std::slice::from_ref(&settings), &[], 0);
        let node = &made[0].endpoints()[0];
        let (one, two, three) =
            (open(node).await.unwrap(), open(node).await.unwrap(), open(node).await.unwrap());
        one.give_back(5);
        two.give_back(6);
        three.give_back(7);
        assert_eq!(node.idle(), 2);
        nodes.expire(16);
        assert_eq!(node.idle(), 1);
        nodes.expire(17);
        assert_eq!(node.idle(), 0);
        open(node).await.unwrap().give_back(0);
        settings.limits.pool_size = 0;
        nodes.adopt(&[settings], &[], 0);
        assert_eq!(node.idle(), 0, "a smaller bound holds at once");
    });
}

#[test]
fn an_endpoint_remembers_its_failure_until_it_answers() {
    on_each_driver(|| async {
        let (server, address) = server();
        drop(server);
        let nodes = Nodes::default();
        let made = nodes.adopt(&[upstream("app", &[&address, "app.test:80"])], &[], 0);
        let [node, unresolved] = made[0].endpoints() else { panic!("two endpoints") };
        assert_eq!(node.last_failure(), None);
        assert_eq!(open(node).await.err(), Some(Reason::UpstreamRefused));
        assert_eq!(node.last_failure(), Some((0, Reason::UpstreamRefused)));
        let _server = TcpListener::bind(&address).unwrap();
        open(node).await.unwrap();
        assert_eq!(node.last_failure(), None);
        assert_eq!(open(unresolved).await.err(), Some(Reason::NameUnresolved));
    });
}

#[test]
fn a_unix_socket_is_an_endpoint_like_any_other() {
    on_each_driver(|| async {
        let name = format!("ringway-{}-{:x}.sock", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        let shown = format!("unix:{}", path.display());
        let nodes = Nodes::default();
        let made = nodes.adopt(&[upstream("app", &[&shown])], &[], 0);
        let node = &made[0].endpoints()[0];
        assert_eq!(node.authority(), "localhost");
        assert_eq!(open(node).await.err(), Some(Reason::UpstreamUnreachable));
        let server = UnixListener::bind(&path).unwrap();
        let connection = open(node).await.unwrap();
        assert_eq!(&*connection.shown, shown);
        let (peer, _) = server.accept().unwrap();
        connection.give_back(0);
        assert!(node.take().is_some());
        open(node).await.unwrap().give_back(0);
        // Its other end has closed.
        drop((peer, server.accept().unwrap()));
        assert!(node.take().is_none());
        drop(server);
        assert_eq!(open(node).await.err(), Some(Reason::UpstreamRefused));
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_unix_socket_with_no_room_left_is_waited_for() {
    on_each_driver(|| async {
        let name = format!("ringway-{}-{:x}.sock", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let nodes = Nodes::default();
        let made = nodes.adopt(&[upstream("app", &[&format!("unix:{}", path.display())])], &[], 0);
        let node = &made[0].endpoints()[0];
        let deadlines = Rc::new(Deadlines::default());
        let soon = Duration::from_millis(20);
        let mut waiting = Vec::new();
        while let Ok(connection) = connect::connect(&deadlines, node, soon).await {
            waiting.push(connection);
            assert!(waiting.len() < 100, "the backlog does not fill up");
        }
        assert_eq!(node.last_failure().map(|(_, why)| why), Some(Reason::UpstreamConnectTimeout));
        let accepting = std::thread::spawn(move || socket.accept().map(|_| socket));
        assert!(open(node).await.is_ok());
        drop(accepting.join().unwrap());
        std::fs::remove_file(&path).unwrap();
    });
}
