//! Unix sockets in front and behind, and endpoints with weights: what only the file can say.

use std::path::Path;

use crate::support::{Client, File, Origin, Setup, get, ms, ok, on_each_driver, place};

fn named(path: &Path, name: &'static str) -> Origin {
    Origin::start_unix(path, move |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(name));
            if request.target() == "/last" {
                return;
            }
        }
    })
}

#[test]
fn an_origin_on_a_unix_socket_is_like_any_other() {
    on_each_driver(|driver| {
        let path = place("sock");
        let origin = named(&path, "here");
        let file = File::new(&format!(
            "[upstream.app]\nendpoints = ['{}']\nfirst-byte-timeout = '10s'\n[[route]]\nupstream = 'app'\n",
            origin.endpoint()
        ));
        let proxy = Setup::new(driver).args(&["--config", file.path(), "--access-log", "combined"]).start();
        for _ in 0..10 {
            assert_eq!(proxy.get("/").text(), "here");
        }
        assert_eq!(origin.connections(), 1);
        proxy.logged(&[&format!(" unix:{} ", path.display())]);
        assert_eq!(proxy.get("/last").text(), "here");
        drop(origin);
        assert_eq!(proxy.get("/").status(), 502);
        let _again = named(&path, "again");
        assert_eq!(proxy.get("/").text(), "again");
    });
}

#[test]
fn endpoints_get_requests_by_their_weight() {
    on_each_driver(|driver| {
        let origins = [Origin::answering(ok("heavy")), Origin::answering(ok("light"))];
        let [heavy, light] = origins.each_ref().map(Origin::endpoint);
        let file = File::new(&format!(
            "[upstream.app]\nendpoints = [{{ address = '{heavy}', weight = 3 }}, '{light}']\n\
             [[route]]\nupstream = 'app'\n"
        ));
        let proxy = Setup::new(driver).args(&["--config", file.path()]).start();
        let answers: Vec<_> = (0..12).map(|_| proxy.get("/").text()).collect();
        assert_eq!(answers.iter().filter(|answer| *answer == "heavy").count(), 9, "{answers:?}");
        assert!(answers.windows(4).all(|four| four.iter().any(|answer| answer == "light")), "{answers:?}");
    });
}

#[test]
fn clients_come_by_a_unix_socket_too() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let path = place("sock");
        let file = File::new(&format!(
            "origin = ['{}']\n[listener.web]\naddress = ['127.0.0.1:0', 'unix:{}']\n",
            origin.url(),
            path.display()
        ));
        let mut proxy = Setup::new(driver).listening_by(file.path()).start();
        assert_eq!(proxy.get("/a").text(), "/a ");
        let mut client = Client::connect_unix(&path);
        assert_eq!(client.ask(get("/b")).text(), "/b ");
        // It is parked meanwhile.
        std::thread::sleep(ms(1_500));
        assert_eq!(client.ask(get("/c")).text(), "/c ");
        assert_eq!(origin.requests().last().unwrap().field("X-Forwarded-For"), Some("unknown"));
        drop(client);
        proxy.signal(crate::support::Signal::TERM);
        assert!(proxy.wait(crate::support::PATIENCE).success());
        assert!(!path.exists());
    });
}
