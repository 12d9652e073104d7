//! Lists of endpoints in files: what changes in them takes effect, and what is wrong with them does no harm.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::support::endpoints::{Endpoint, Load, addresses, answers, app, file, start, told, until, who};
use crate::support::live::{Folder, Live};
use crate::support::{Driver, Proxy, Setup, eventually, get, ms, on_each_driver};

/// Writes a file as one should: as a whole.
fn replace(folder: &Folder, name: &str, text: impl AsRef<[u8]>) {
    folder.write("next", text);
    fs::rename(folder.at("next"), folder.at(name)).unwrap();
}

/// A proxy that follows a list, which lies in a folder of its own.
fn following(driver: Driver, name: &str, text: &str) -> (Live, Folder) {
    let folder = Folder::new();
    folder.write(name, text);
    let proxy = start(driver, &file(&format!("'file:{}'", folder.path(name)), ""));
    (proxy, folder)
}

fn json(endpoints: &[&Endpoint]) -> String {
    let all: Vec<String> = endpoints.iter().map(|endpoint| endpoint.at()).collect();
    format!("{all:?}")
}

fn toml(endpoints: &[&Endpoint]) -> String {
    format!("endpoints = {}\n", json(endpoints))
}

/// Waits until these are the endpoints that there are.
#[track_caller]
fn until_there(proxy: &Proxy, endpoints: &[&Endpoint]) {
    let mut all: Vec<String> = endpoints.iter().map(|endpoint| endpoint.at()).collect();
    all.sort();
    eventually(&format!("the endpoints are {all:?}"), || addresses(proxy) == all);
}

#[test]
fn what_a_list_gains_and_loses_takes_effect_under_load() {
    on_each_driver(|driver| {
        let forms: [(&str, fn(&[&Endpoint]) -> String); 2] = [("list.json", json), ("list.toml", toml)];
        for (name, form) in forms {
            let (one, two, three) =
                (Endpoint::start("one"), Endpoint::start("two"), Endpoint::start("three"));
            let (proxy, folder) = following(driver, name, &form(&[&one, &two]));
            assert_eq!(who(&proxy, 16), ["one", "two"]);
            let load = Load::start(&proxy, 2);
            load.more(20);
            replace(&folder, name, form(&[&one, &two, &three]));
            until_there(&proxy, &[&one, &two, &three]);
            eventually("the new one gets requests", || three.served() > 10);
            replace(&folder, name, form(&[&three, &two]));
            until_there(&proxy, &[&two, &three]);
            load.more(60);
            let before = one.served();
            load.more(100);
            assert_eq!(one.served(), before);
            eventually("all connections to it are closed", || one.origin.open() == 0);
            // Many changes, one after another.
            for round in 0..8 {
                let some = [&one, &two, &three];
                replace(&folder, name, form(&[some[round % 3], some[(round + 1) % 3]]));
                load.more(20);
            }
            replace(&folder, name, form(&[&one]));
            until_there(&proxy, &[&one]);
            assert_eq!(who(&proxy, 16), ["one"]);
            load.end();
        }
    });
}

#[test]
fn weights_backups_and_all_kinds_of_addresses_stand_in_a_list() {
    on_each_driver(|driver| {
        let path = crate::support::place("sock");
        let (one, two, unix) =
            (Endpoint::start("one"), Endpoint::start("two"), Endpoint::start_unix(&path, "unix"));
        let port = one.origin.address().port();
        let of = |weight: u32, rest: &str| {
            format!(
                "{{\"endpoints\": [{{\"address\": \"{}\", \"weight\": {weight}}}, \"localhost:{port}\"{rest}]}}",
                two.at()
            )
        };
        let (proxy, folder) = following(driver, "list.json", &of(3, ""));
        eventually("the name is found", || addresses(&proxy).len() == 2);
        let shares = answers(&proxy, 160);
        assert!((2..=4).contains(&(shares["two"] / shares["one"])), "{shares:?}");
        replace(&folder, "list.json", of(1, ""));
        eventually("the weight is another", || told(&proxy, &two.at())["weight"] == 1);
        let shares = answers(&proxy, 160);
        assert!(shares["one"] >= 60 && shares["two"] >= 60, "{shares:?}");
        replace(&folder, "list.json", of(1, &format!(", \"{}\"", unix.at())));
        until(&proxy, &unix.at(), "up");
        assert_eq!(who(&proxy, 24), ["one", "two", "unix"]);
        replace(
            &folder,
            "list.json",
            of(1, &format!(", {{\"address\": \"{}\", \"backup\": true}}", unix.at())),
        );
        eventually("it is a backup", || told(&proxy, &unix.at())["backup"] == true);
        assert_eq!(who(&proxy, 24), ["one", "two"]);
        assert_eq!(told(&proxy, &unix.at())["from"], format!("file:{}", folder.path("list.json")));
    });
}

/// Lists that are none, each with what is said about it.
const BROKEN: [(&[u8], &str); 17] = [
    (b"", "EOF"),
    (b"[\"127.0.0.1:1\"", "EOF"),
    (b"[\"127.0.0.1:1\"] x", "trailing"),
    (b"[7]", "an address such as"),
    (b"[null]", "an address such as"),
    (b"{\"endpoint\": []}", "unknown field"),
    (b"[\"127.0.0.1\"]", "no host and port"),
    (b"[\"127.0.0.1:0\"]", "no port"),
    (b"[\"127.0.0.1:65536\"]", "no port"),
    (b"[\"file:other.json\"]", "cannot stand in a list"),
    (b"[\"srv:_a._b.c\"]", "cannot stand in a list"),
    (b"[\"127.0.0.1:1\", \"127.0.0.1:1\"]", "there twice"),
    (b"[{\"address\": \"127.0.0.1:1\", \"weight\": 0}]", "weight is 0"),
    (b"[{\"address\": \"127.0.0.1:1\", \"wieght\": 2}]", "unknown field"),
    (b"[\"127.0.0.1:1\\u001b[2J\\nringway: all is well\"]", "cannot be used"),
    (b"[\"\xff\xfe\"]", "UTF-8"),
    (b"\0\0\0\0", "expected value"),
];

#[test]
fn a_broken_list_changes_nothing_and_is_told_once() {
    on_each_driver(|driver| {
        let one = Endpoint::start("one");
        let (proxy, folder) = following(driver, "list.json", &json(&[&one]));
        for (count, (bytes, part)) in BROKEN.into_iter().enumerate() {
            replace(&folder, "list.json", bytes);
            let told = || proxy.stderr().matches("its last good content stays in use").count();
            eventually(&format!("it is told that {part}"), || told() == count + 1);
            let stderr = proxy.stderr();
            let line = stderr.lines().rfind(|line| line.contains("its last good content")).unwrap();
            assert!(line.contains(part) && line.contains("list.json"), "{part}: {line}");
            assert!(!line.contains('\u{1b}') && line.starts_with("ringway: "), "{line}");
            assert_eq!(proxy.get("/").text(), "one", "{part}");
        }
        // It is looked at again and again, and told no more.
        std::thread::sleep(ms(2500));
        assert_eq!(proxy.stderr().matches("its last good content").count(), BROKEN.len());
        assert!(!proxy.stderr().contains("\nringway: all is well"));
        assert_eq!(addresses(&proxy), [one.at()]);
        let two = Endpoint::start("two");
        replace(&folder, "list.json", json(&[&two]));
        until_there(&proxy, &[&two]);
        assert_eq!(who(&proxy, 8), ["two"]);
        eventually("that is told", || proxy.stderr().matches("can be used again").count() == 1);
    });
}

#[test]
fn what_is_no_file_in_its_place_changes_nothing_and_holds_nothing_up() {
    on_each_driver(|driver| {
        let (one, two) = (Endpoint::start("one"), Endpoint::start("two"));
        let (proxy, folder) = following(driver, "list.json", &json(&[&one]));
        let place = folder.at("list.json");
        let told = |count: usize, part: &str| {
            eventually(&format!("it is told that it {part}"), || {
                proxy.stderr().matches("its last good content stays in use").count() == count
            });
            assert!(proxy.stderr().contains(part), "{part}: {}", proxy.stderr());
            assert_eq!(who(&proxy, 8), ["one"]);
            assert_eq!(proxy.order(&["upstream", "list"]).code, Some(0), "somebody still answers");
        };
        fs::remove_file(&place).unwrap();
        told(1, "No such file");
        fs::create_dir(&place).unwrap();
        told(2, "is no regular file");
        fs::remove_dir(&place).unwrap();
        fs::write(folder.at("much"), vec![b' '; 2 << 20]).unwrap();
        fs::rename(folder.at("much"), &place).unwrap();
        told(3, "is larger than");
        fs::remove_file(&place).unwrap();
        // Whoever opens it waits for somebody to write to it.
        assert!(Command::new("mkfifo").arg(&place).status().unwrap().success());
        told(4, "is no regular file");
        fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink("list.json", &place).unwrap();
        told(5, "cannot be read");
        fs::remove_file(&place).unwrap();
        // A link to another file is as good as a file, and changing it is a change.
        folder.write("real-1.json", json(&[&one, &two]));
        folder.write("real-2.json", json(&[&two]));
        std::os::unix::fs::symlink("real-1.json", &place).unwrap();
        until_there(&proxy, &[&one, &two]);
        std::os::unix::fs::symlink("real-2.json", folder.at("next")).unwrap();
        fs::rename(folder.at("next"), &place).unwrap();
        until_there(&proxy, &[&two]);
    });
}

#[test]
fn an_empty_list_means_nobody_and_a_file_that_is_not_there_yet_is_waited_for() {
    on_each_driver(|driver| {
        let one = Endpoint::start("one");
        let (proxy, folder) = following(driver, "list.json", "[]");
        assert_eq!(proxy.get("/nobody").status(), 503);
        proxy.logged(&["/nobody ", "no_endpoint"]);
        replace(&folder, "list.json", json(&[&one]));
        until_there(&proxy, &[&one]);
        assert_eq!(proxy.get("/").text(), "one");
        replace(&folder, "list.json", "{\"endpoints\": []}");
        until_there(&proxy, &[]);
        assert_eq!(who(&proxy, 8), ["503"]);

        let path = folder.path("later.toml");
        let proxy = start(driver, &file(&format!("['file:{path}', '{}']", one.at()), ""));
        assert_eq!(who(&proxy, 8), ["one"], "others are there");
        eventually("it is told", || proxy.stderr().contains("a list of endpoints cannot be used yet: "));
        let two = Endpoint::start("two");
        replace(&folder, "later.toml", toml(&[&two]));
        until_there(&proxy, &[&one, &two]);
        assert_eq!(who(&proxy, 16), ["one", "two"]);
        assert_eq!(proxy.stderr().matches("cannot be used yet").count(), 1);
    });
}

#[test]
fn a_list_is_found_beside_the_file_that_names_it_wherever_the_proxy_was_started() {
    on_each_driver(|driver| {
        let one = Endpoint::start("one");
        let folder = Folder::new();
        fs::create_dir(folder.at("conf.d")).unwrap();
        folder.write("conf.d/list.json", json(&[&one]));
        folder.write("conf.d/app.toml", file("'file:list.json'", ""));
        folder.write("ringway.toml", "include = 'conf.d/*.toml'\n");
        let path = folder.path("ringway.toml");
        let proxy = Setup::new(driver).admin().args(&["--config", &path]).start();
        assert_eq!(proxy.get("/").text(), "one");
        let two = Endpoint::start("two");
        replace(&folder, "conf.d/list.json", json(&[&two]));
        until_there(&proxy, &[&two]);
        assert_eq!(proxy.get("/").text(), "two");
    });
}

#[test]
fn a_list_of_thousands_is_followed() {
    on_each_driver(|driver| {
        const COUNT: usize = 3000;
        // Every address of loopback leads to it.
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let all = Endpoint::start_on(listener, "all");
        let list = |from: usize, count: usize| {
            let each = |n: usize| format!("127.1.{}.{}:{port}", n / 250, n % 250 + 1);
            format!("{:?}", (from..from + count).map(each).collect::<Vec<_>>())
        };
        let (proxy, folder) = following(driver, "list.json", &list(0, COUNT));
        eventually("all are there", || addresses(&proxy).len() == COUNT);
        assert_eq!(who(&proxy, 64), ["all"]);
        replace(&folder, "list.json", list(1000, COUNT));
        let (first, last) = (format!("127.1.0.1:{port}"), format!("127.1.15.250:{port}"));
        eventually("others are there", || {
            let all = addresses(&proxy);
            all.len() == COUNT && !all.contains(&first) && all.contains(&last)
        });
        assert_eq!(who(&proxy, 64), ["all"]);
        let run = proxy.order(&["upstream", "list"]);
        assert_eq!((run.code, run.stdout.lines().count()), (Some(0), COUNT + 2), "{}", run.stderr);
        // It is told that much has changed, but not in thousands of lines.
        let stderr = proxy.stderr();
        for line in ["1000 endpoints have joined", "1000 endpoints have gone"] {
            assert_eq!(stderr.matches(line).count(), 1, "{stderr}");
        }
        assert!(stderr.lines().count() < 20, "{stderr}");
        // Too many are too many, and that is told.
        replace(&folder, "list.json", list(0, 5000));
        eventually("it is told", || proxy.stderr().contains("there are more than 4096 endpoints"));
        assert_eq!(addresses(&proxy).len(), COUNT, "the last list that was one");
        assert_eq!(who(&proxy, 64), ["all"]);
        replace(&folder, "list.json", list(7, 1));
        eventually("one is there", || addresses(&proxy).len() == 1);
        assert_eq!(who(&proxy, 8), ["all"]);
        drop(all);
    });
}

#[test]
fn a_reload_names_another_list_and_what_both_have_keeps_its_connections() {
    on_each_driver(|driver| {
        let (one, two, three) = (Endpoint::start("one"), Endpoint::start("two"), Endpoint::start("three"));
        let (proxy, folder) = following(driver, "old.json", &json(&[&one, &two]));
        folder.write("new.toml", toml(&[&two, &three]));
        let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
        for client in &mut clients {
            (0..4).for_each(|_| drop(client.ask(get("/"))));
        }
        let connections = two.origin.connections();
        proxy.apply(&file(&format!("'file:{}'", folder.path("new.toml")), ""));
        assert_eq!(addresses(&proxy).len(), 2, "it is read before it is in force");
        until_there(&proxy, &[&two, &three]);
        for client in &mut clients {
            for _ in 0..4 {
                assert_ne!(client.ask(get("/")).text(), "one");
            }
        }
        assert_eq!(two.origin.connections(), connections);
        eventually("what is in neither is closed", || one.origin.open() == 0);
        // Nobody follows the old list any more, and one that is broken stops no reload.
        replace(&folder, "old.json", json(&[&one]));
        folder.write("broken.json", "[");
        let text = format!("['file:{}', '{}']", folder.path("broken.json"), two.at());
        let run = proxy.apply(&file(&text, ""));
        assert!(run.stderr.contains("a list of endpoints cannot be used yet: "), "{}", run.stderr);
        assert_eq!(who(&proxy, 8), ["two"]);
        assert_eq!(app(&proxy)["unresolved"], true);
    });
}
