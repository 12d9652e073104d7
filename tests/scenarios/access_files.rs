//! Lists of networks in files: read with the configuration, and again when they change.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::live::{Folder, Live};
use crate::support::{Driver, Proxy, Setup, eventually, get, get_with, on_each_driver};

/// Writes a file as one should: as a whole.
fn replace(folder: &Folder, name: &str, text: impl AsRef<[u8]>) {
    folder.write("next", text);
    fs::rename(folder.at("next"), folder.at(name)).unwrap();
}

fn as_(proxy: &Proxy, address: &str) -> u16 {
    proxy.ask(get_with("/", &format!("X-Forwarded-For: {address}\r\n"))).status()
}

/// A proxy whose list lies beside its file.
fn start(driver: Driver, cores: usize, list: &str, access: &str) -> (Live, Folder) {
    let folder = Folder::new();
    folder.write("list.txt", list);
    let path = folder.path("list.txt");
    let text = format!(
        "trusted-proxy = '127.0.0.0/8'\n[[route]]\nrespond = 'in'\naccess = {{ {} }}\n",
        access.replace("LIST", &format!("file:{path}"))
    );
    (Live::start(driver, cores, &text), folder)
}

#[test]
fn a_list_takes_effect_when_it_changes_on_every_core() {
    on_each_driver(|driver| {
        let (proxy, folder) = start(driver, 2, "# ours\n10.0.0.0/8\n", "allow = 'LIST'");
        assert_eq!((as_(&proxy, "10.0.0.1"), as_(&proxy, "11.0.0.1")), (200, 403));
        replace(&folder, "list.txt", "11.0.0.0/8 # theirs\r\n\n");
        eventually("the new list holds", || as_(&proxy, "11.0.0.1") == 200);
        for _ in 0..8 {
            assert_eq!((as_(&proxy, "10.0.0.1"), as_(&proxy, "11.0.0.1")), (403, 200));
        }
        eventually("it is said", || proxy.stderr().contains("has changed, and was read again"));
        // Written in place, and by another link.
        fs::write(folder.at("list.txt"), "10.0.0.0/8\n11.0.0.0/8\n").unwrap();
        eventually("the longer list holds", || as_(&proxy, "10.0.0.1") == 200);
        folder.write("other", "12.0.0.0/8\n");
        std::os::unix::fs::symlink(folder.at("other"), folder.at("link")).unwrap();
        fs::rename(folder.at("link"), folder.at("list.txt")).unwrap();
        eventually("the other list holds", || as_(&proxy, "12.0.0.1") == 200);
        // An empty list lets nobody in, if it says that it is to be empty.
        replace(&folder, "list.txt", "# nobody\n");
        eventually("nobody is let in", || as_(&proxy, "12.0.0.1") == 403);
        eventually("how many there are is said", || {
            proxy.stderr().contains("was read again: 0 networks, 1 before")
        });
    });
}

#[test]
fn a_list_that_is_emptied_opens_no_door() {
    on_each_driver(|driver| {
        let (proxy, folder) = start(driver, 1, "10.0.0.0/8\n11.0.0.0/8\n", "deny = 'LIST'");
        let said = |part: &str| proxy.stderr().matches(part).count();
        // What `curl ... > list.txt` leaves of it when it fails.
        fs::write(folder.at("list.txt"), "").unwrap();
        eventually("it is said", || said("list.txt: has no networks any more") == 1);
        assert_eq!((as_(&proxy, "10.0.0.1"), as_(&proxy, "12.0.0.1")), (403, 200));
        replace(&folder, "list.txt", "# lifted\n");
        eventually("the empty list holds", || as_(&proxy, "10.0.0.1") == 200);
        eventually("it is said", || said("was read again: 0 networks, 2 before") == 1);
    });
}

#[test]
fn a_list_that_becomes_wrong_does_no_harm_and_is_said_once() {
    on_each_driver(|driver| {
        let (proxy, folder) = start(driver, 1, "10.0.0.0/8\n", "allow = 'LIST'");
        let said = |part: &str| proxy.stderr().matches(part).count();
        let holds = || assert_eq!((as_(&proxy, "10.0.0.1"), as_(&proxy, "11.0.0.1")), (200, 403));
        replace(&folder, "list.txt", "11.0.0.0/8\n300.0.0.0/8\n");
        eventually("it is said", || said("line 2: \"300.0.0.0/8\" is no network") == 1);
        holds();
        fs::remove_file(folder.at("list.txt")).unwrap();
        eventually("that it is gone is said", || said("No such file") == 1);
        holds();
        // A pipe would keep whoever opens it waiting.
        let pipe = std::process::Command::new("mkfifo").arg(folder.at("pipe")).status().unwrap();
        assert!(pipe.success());
        fs::rename(folder.at("pipe"), folder.at("list.txt")).unwrap();
        eventually("that it is a pipe is said", || said("is no regular file") == 1);
        std::thread::sleep(Duration::from_millis(2_500));
        holds();
        assert_eq!((said("is no network"), said("No such file"), said("no regular file")), (1, 1, 1));
        replace(&folder, "list.txt", "11.0.0.0/8\n");
        eventually("the new list holds", || as_(&proxy, "11.0.0.1") == 200);
        eventually("it is said", || said("was read again") == 1);
    });
}

#[test]
fn a_reload_follows_what_the_new_configuration_names() {
    on_each_driver(|driver| {
        let (proxy, folder) = start(driver, 1, "10.0.0.0/8\n", "allow = 'LIST'");
        folder.write("two.txt", "12.0.0.0/8\n");
        let text = format!(
            "trusted-proxy = '127.0.0.0/8'\n[[route]]\npath = '/'\nrespond = 'in'\naccess = {{ deny = 'file:{0}' }}\n\
             [[route]]\nrespond = 'in'\naccess = {{ deny = 'file:{0}' }}\n",
            folder.path("two.txt")
        );
        proxy.apply(&text);
        assert_eq!((as_(&proxy, "10.0.0.1"), as_(&proxy, "12.0.0.1")), (200, 403));
        replace(&folder, "two.txt", "13.0.0.0/8\n");
        eventually("the new list holds", || as_(&proxy, "13.0.0.1") == 403 && as_(&proxy, "12.0.0.1") == 200);
        // What is not used any more may be as it likes.
        replace(&folder, "list.txt", "nonsense\n");
        std::thread::sleep(Duration::from_millis(2_500));
        assert!(!proxy.stderr().contains("nonsense"), "{}", proxy.stderr());
        // A reload reads the file at once.
        replace(&folder, "two.txt", "14.0.0.0/8\n");
        proxy.apply(&text);
        assert_eq!((as_(&proxy, "14.0.0.1"), as_(&proxy, "13.0.0.1")), (403, 200));
        // A wrong one refuses the reload.
        replace(&folder, "two.txt", "14.0.0.0/8\n15/8\n");
        let run = proxy.reload();
        assert!(
            run.code == Some(78) && run.stderr.contains("two.txt: line 2: \"15/8\" is no network"),
            "{}",
            run.stderr
        );
        assert_eq!(as_(&proxy, "14.0.0.1"), 403);
        let _ = proxy.get("/other");
        assert_eq!(proxy.ask(get("/other")).status(), 200);
    });
}

#[test]
fn a_file_that_is_wrong_at_the_start_is_a_mistake() {
    on_each_driver(|driver| {
        let folder = Folder::new();
        for (content, want) in
            [(&b"10.0.0.0/8\nx y\n"[..], "line 2: \"x y\" is no network"), (b"\xff", "is no UTF-8")]
        {
            folder.write("list", content);
            let text =
                format!("[[route]]\nrespond = 'x'\naccess = {{ allow = 'file:{}' }}\n", folder.path("list"));
            let said = Setup::new(driver).file(&text).try_start().err().unwrap();
            assert!(said.contains(want), "{said}");
        }
    });
}

#[test]
fn hundreds_of_thousands_of_networks_are_taken_and_followed() {
    on_each_driver(|driver| {
        let list = |count: u32| -> String {
            let line = |n: u32| format!("{}/32\n", std::net::Ipv4Addr::from(0x2000_0000 + n * 7));
            (0..count).map(line).collect()
        };
        let (proxy, folder) = start(driver, 1, &list(200_000), "deny = 'LIST'");
        assert_eq!((as_(&proxy, "32.0.0.7"), as_(&proxy, "32.0.0.8")), (403, 200));
        replace(&folder, "list.txt", list(200_000) + "32.0.0.8\n");
        eventually("the new list holds", || as_(&proxy, "32.0.0.8") == 403);
        let started = Instant::now();
        (0..200).for_each(|_| assert_eq!(as_(&proxy, "32.0.0.9"), 200));
        assert!(started.elapsed() < Duration::from_secs(20));
    });
}
