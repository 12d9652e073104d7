//! Tests of endpoints that outlive configurations, over sockets of this process, on each driver.

use std::future::Future;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use super::*;
use crate::config::{EndpointSettings, Settings};
use crate::error::Reason;
use crate::net::Deadlines;
use crate::upstream::shared::{EndpointShared, Spares};
use crate::upstream::slot::NotConnected;
use crate::upstream::{Address, BreakerState, Connection, Member, Standing};

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
    let endpoint = |text: &&str| EndpointSettings::new(text.parse().unwrap());
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
    open_within(node, Duration::from_secs(20)).await
}

async fn open_within(node: &Rc<Node>, limit: Duration) -> Result<Connection, Reason> {
    let slot = Slot::enter(node, false).expect("nobody limits it");
    slot.connect(&Rc::new(Deadlines::default()), limit, &Dial::default()).await.map_err(|failure| {
        match failure {
            NotConnected::Failed(reason) => {
                node.failed(Some(reason), 0);
                reason
            }
            NotConnected::Full => panic!("it has room"),
        }
    })
}

/// A connection that waits in the node.
fn take(node: &Rc<Node>) -> Option<Connection> {
    let slot = Slot::enter(node, false)?;
    let reused = slot.reuse(&Rc::new(Deadlines::default()), &Clock::default(), None);
    reused.ok().map(|reused| reused.connection)
}

/// The endpoints of a core that may keep as many connections as they like, and has no others beside it.
fn nodes() -> Nodes {
    let nodes = Nodes::default();
    nodes.set_idle(usize::MAX, 1);
    nodes
}

/// What a configuration makes of a core's endpoints, as nobody else knows more.
fn adopt(nodes: &Nodes, upstreams: &[UpstreamSettings]) -> Vec<Rc<Upstream>> {
    let known = nodes.upstreams.borrow().clone();
    let roster = |settings: &UpstreamSettings| {
        let known = known.get(&*settings.name).map(|upstream| upstream.roster());
        let version = known.as_ref().map_or(1, |roster| roster.version + 1);
        let shared = known.as_ref().map(|roster| roster.shared.clone()).unwrap_or_default();
        let mut roster = Roster::of_literals(settings, version, shared);
        for member in &mut roster.members {
            let same =
                known.iter().flat_map(|known| &known.members).find(|known| known.address == member.address);
            member.shared = same.map(|same| same.shared.clone()).unwrap_or_default();
        }
        Arc::new(roster)
    };
    let rosters: Vec<_> = upstreams.iter().map(roster).collect();
    nodes.adopt(upstreams, &rosters, 0)
}

/// A roster of an upstream with one endpoint, at the first of these addresses or else at the others.
fn roster(
    upstream: &str,
    version: u64,
    addresses: &[&str],
    shared: &Arc<UpstreamShared>,
    endpoint: &Arc<EndpointShared>,
) -> Arc<Roster> {
    let address = |text: &&str| Address::Ip(text.parse().unwrap());
    let settings = EndpointSettings::new("app.test:80".parse().unwrap());
    let member = Member {
        fallbacks: addresses[1..].iter().map(address).collect(),
        shared: endpoint.clone(),
        ..Member::new(address(&addresses[0]), 0, &settings)
    };
    Arc::new(Roster {
        upstream: upstream.into(),
        version,
        members: Box::new([member]),
        unresolved: false,
        breaker: BreakerState::Closed,
        ring: None,
        shared: shared.clone(),
    })
}

#[test]
fn an_endpoint_that_stays_keeps_its_connections_and_one_that_goes_loses_them() {
    on_each_driver(|| async {
        let ((_stays, stays), (_goes, goes)) = (server(), server());
        let nodes = nodes();
        let before = adopt(&nodes, &[upstream("app", &[&stays, &goes])]);
        for node in &before[0].endpoints() {
            open(node).await.unwrap().give_back(0, &Clock::default());
            assert_eq!(node.idle(), 1);
        }
        let in_use = open(&before[0].endpoints()[1]).await.unwrap();
        let after = adopt(&nodes, &[upstream("app", &[&stays])]);
        assert!(Rc::ptr_eq(&before[0].endpoints()[0], &after[0].endpoints()[0]));
        let connection = take(&after[0].endpoints()[0]).unwrap();
        assert!(connection.reused);
        assert_eq!(&*connection.shown, stays);
        let gone = &before[0].endpoints()[1];
        assert_eq!(gone.idle(), 0);
        in_use.give_back(0, &Clock::default());
        assert_eq!(gone.idle(), 0);
        // An exchange that began before still gets where it was going.
        open(gone).await.unwrap().give_back(0, &Clock::default());
        assert_eq!(gone.idle(), 0);
    });
}

#[test]
fn an_address_in_two_upstreams_is_two_endpoints() {
    let nodes = nodes();
    let made = adopt(&nodes, &[upstream("a", &["127.0.0.1:1"]), upstream("b", &["127.0.0.1:1"])]);
    assert!(!Rc::ptr_eq(&made[0].endpoints()[0], &made[1].endpoints()[0]));
    assert_eq!((&*made[0].name, &*made[1].name), ("a", "b"));
}

#[test]
fn connections_to_addresses_that_are_over_are_not_kept() {
    on_each_driver(|| async {
        let ((_one, one), (_other, other)) = (server(), server());
        let nodes = nodes();
        let settings = upstream("app", &["app.test:80"]);
        let (shared, endpoint) = Default::default();
        let roster = |upstream: &str, version: u64, addresses: &[&str]| {
            roster(upstream, version, addresses, &shared, &endpoint)
        };
        let made = nodes.adopt(&[settings], &[roster("app", 2, &[&one])], 0);
        let node = &made[0].endpoints()[0];
        let (idle, in_use) = (open(node).await.unwrap(), open(node).await.unwrap());
        idle.give_back(0, &Clock::default());
        nodes.follow(&[roster("app", 3, &[&one])]);
        nodes.follow(&[roster("app", 1, &[&other])]);
        nodes.follow(&[roster("else", 4, &[&other])]);
        assert_eq!(node.idle(), 1, "nothing has changed");
        nodes.follow(&[roster("app", 5, &[&one, &other])]);
        assert_eq!(node.idle(), 1, "it leads where it did");
        in_use.give_back(0, &Clock::default());
        assert_eq!(node.idle(), 2);
        let in_use = take(node).unwrap();
        nodes.follow(&[roster("app", 6, &[&other])]);
        assert_eq!(node.idle(), 0, "nobody has the endpoint any more");
        in_use.give_back(0, &Clock::default());
        assert_eq!(node.idle(), 0);
        assert_eq!(&*made[0].endpoints()[0].addresses()[0], other);
    });
}

#[test]
fn no_more_connections_wait_than_may_and_none_too_long() {
    on_each_driver(|| async {
        let (_server, address) = server();
        let mut settings = upstream("app", &[&address]);
        settings.limits.pool_size = 2;
        settings.limits.pool_idle = Duration::from_secs(1);
        let nodes = nodes();
        let made = adopt(&nodes, std::slice::from_ref(&settings));
        let node = &made[0].endpoints()[0];
        let (one, two, three) =
            (open(node).await.unwrap(), open(node).await.unwrap(), open(node).await.unwrap());
        one.give_back(5, &Clock::default());
        two.give_back(6, &Clock::default());
        three.give_back(7, &Clock::default());
        assert_eq!(node.idle(), 2);
        nodes.expire(16, &Clock::default());
        assert_eq!(node.idle(), 1);
        nodes.expire(17, &Clock::default());
        assert_eq!(node.idle(), 0);
        open(node).await.unwrap().give_back(0, &Clock::default());
        settings.limits.pool_size = 0;
        adopt(&nodes, &[settings]);
        assert_eq!(node.idle(), 0, "a smaller bound holds at once");
    });
}

#[test]
fn an_endpoint_remembers_its_failure_until_it_answers() {
    on_each_driver(|| async {
        let (server, address) = server();
        drop(server);
        let nodes = nodes();
        let made = adopt(&nodes, &[upstream("app", &[&address, "app.test:80"])]);
        let [node] = &*made[0].endpoints() else { panic!("a name has no address yet") };
        assert_eq!(node.score.last_failure(), None);
        assert_eq!(open(node).await.err(), Some(Reason::UpstreamRefused));
        assert_eq!(node.score.last_failure(), Some((0, Reason::UpstreamRefused)));
        let _server = TcpListener::bind(&address).unwrap();
        open(node).await.unwrap();
        assert_eq!(node.score.last_failure(), None);
    });
}

#[test]
fn a_unix_socket_is_an_endpoint_like_any_other() {
    on_each_driver(|| async {
        let name = format!("ringway-{}-{:x}.sock", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        let shown = format!("unix:{}", path.display());
        let nodes = nodes();
        let made = adopt(&nodes, &[upstream("app", &[&shown])]);
        let node = &made[0].endpoints()[0];
        assert_eq!(&*node.authority(), "localhost");
        assert_eq!(open(node).await.err(), Some(Reason::UpstreamUnreachable));
        let server = UnixListener::bind(&path).unwrap();
        let connection = open(node).await.unwrap();
        assert_eq!(&*connection.shown, shown);
        let (peer, _) = server.accept().unwrap();
        connection.give_back(0, &Clock::default());
        assert!(take(node).is_some());
        open(node).await.unwrap().give_back(0, &Clock::default());
        // Its other end has closed.
        drop((peer, server.accept().unwrap()));
        assert!(take(node).is_none());
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
        let nodes = nodes();
        let made = adopt(&nodes, &[upstream("app", &[&format!("unix:{}", path.display())])]);
        let node = &made[0].endpoints()[0];
        let soon = Duration::from_millis(20);
        let mut waiting = Vec::new();
        while let Ok(connection) = open_within(node, soon).await {
            waiting.push(connection);
            assert!(waiting.len() < 100, "the backlog does not fill up");
        }
        assert_eq!(node.score.last_failure().map(|(_, why)| why), Some(Reason::UpstreamConnectTimeout));
        let accepting = std::thread::spawn(move || socket.accept().map(|_| socket));
        assert!(open(node).await.is_ok());
        drop(accepting.join().unwrap());
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn what_one_core_does_not_need_another_takes_over() {
    on_each_driver(|| async {
        let (_server, address) = server();
        let settings = [upstream("app", &[&address])];
        let spares = Arc::new(Spares::default());
        spares.set_max(1);
        let shared = Arc::new(UpstreamShared::new(spares.clone()));
        let rosters = [Arc::new(Roster::of_literals(&settings[0], 1, shared))];
        let (one, other) = (Nodes::default(), Nodes::default());
        [&one, &other].iter().for_each(|core| core.set_idle(1, 2));
        let made = [&one, &other].map(|core| core.adopt(&settings, &rosters, 0));
        let [here, there] = [0, 1].map(|core| made[core][0].endpoints()[0].clone());
        let clock = Clock::default();
        let (kept, given, closed) =
            (open(&here).await.unwrap(), open(&here).await.unwrap(), open(&here).await.unwrap());
        assert_eq!(here.shared.connections(), 3);
        for connection in [kept, given, closed] {
            connection.give_back(0, &clock);
        }
        assert_eq!((here.idle(), spares.count(), here.shared.connections()), (1, 1, 2));
        let connection = take(&there).unwrap();
        assert!(connection.reused && *connection.shown == address);
        assert_eq!((there.idle(), spares.count(), here.shared.connections()), (0, 0, 2));
        connection.give_back(0, &clock);
        assert_eq!(there.idle(), 1);
        // What rested for a whole round is for all.
        one.expire(1, &clock);
        one.expire(2, &clock);
        assert_eq!((here.idle(), spares.count()), (0, 1));
        // Nobody has the endpoint any more, so nobody will take it.
        for core in [&one, &other] {
            core.adopt(&[], &[], 0);
        }
        assert_eq!((there.idle(), spares.count(), here.shared.connections()), (0, 0, 0));
    });
}

#[test]
fn a_spared_connection_that_its_server_has_closed_is_not_taken() {
    on_each_driver(|| async {
        let (server, address) = server();
        let settings = [upstream("app", &[&address])];
        let spares = Arc::new(Spares::default());
        spares.set_max(10);
        let rosters =
            [Arc::new(Roster::of_literals(&settings[0], 1, Arc::new(UpstreamShared::new(spares.clone()))))];
        let core = Nodes::default();
        core.set_idle(0, 2);
        let node = core.adopt(&settings, &rosters, 0)[0].endpoints()[0].clone();
        let clock = Clock::default();
        for _ in 0..2 {
            open(&node).await.unwrap().give_back(0, &clock);
        }
        assert_eq!((node.idle(), spares.count()), (0, 2));
        drop(server.accept().unwrap());
        assert!(take(&node).is_some(), "the other one is still open");
        assert_eq!(spares.count(), 0);
    });
}

#[test]
fn a_connection_that_others_wait_for_goes_to_them() {
    on_each_driver(|| async {
        let (_server, address) = server();
        let mut settings = [upstream("app", &[&address])];
        settings[0].endpoints[0].connections_max = Some(1);
        let spares = Arc::new(Spares::default());
        spares.set_max(1);
        let shared = Arc::new(UpstreamShared::new(spares.clone()));
        let rosters = [Arc::new(Roster::of_literals(&settings[0], 1, shared.clone()))];
        let (one, other) = (Nodes::default(), Nodes::default());
        [&one, &other].iter().for_each(|core| core.set_idle(1, 2));
        let made = [&one, &other].map(|core| core.adopt(&settings, &rosters, 0)[0].clone());
        let clock = Clock::default();
        open(&made[0].endpoints()[0]).await.unwrap().give_back(0, &clock);
        assert_eq!(made[1].choose(0, None, &[]).err(), Some(Unavailable::Full));
        let waiting = made[1].wait().unwrap();
        assert!(made[1].has_queue());
        one.share(&clock);
        let slot = made[1].choose(0, None, &[]).unwrap();
        drop(waiting);
        let reused = slot.reuse(&Rc::new(Deadlines::default()), &clock, None);
        assert!(reused.is_ok_and(|reused| reused.taken_over));
    });
}

#[test]
fn an_endpoint_that_is_drained_keeps_no_connections() {
    on_each_driver(|| async {
        let (_server, address) = server();
        let settings = upstream("app", &[&address]);
        let nodes = nodes();
        let node = adopt(&nodes, std::slice::from_ref(&settings))[0].endpoints()[0].clone();
        let (idle, busy) = (open(&node).await.unwrap(), open(&node).await.unwrap());
        idle.give_back(0, &Clock::default());
        let known = nodes.upstreams.borrow()["app"].roster();
        let standing = |standing, version| {
            let mut roster = (*known).clone();
            roster.version = version;
            roster.members[0].standing = standing;
            nodes.follow(&[Arc::new(roster)]);
        };
        standing(Standing::Draining, 10);
        assert_eq!(node.idle(), 0);
        busy.give_back(0, &Clock::default());
        assert_eq!(node.idle(), 0);
        standing(Standing::Up, 11);
        open(&node).await.unwrap().give_back(0, &Clock::default());
        assert_eq!(node.idle(), 1);
    });
}
