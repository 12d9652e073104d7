use std::fs::File;
use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::server::watched::{MESSAGE_CHARS_MAX, SETTLED};

/// A folder that goes away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("ringway-follow-{}-{:x}", std::process::id(), fastrand::u64(..));
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.0.join(name), text).unwrap();
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn endpoints(addresses: &[&str]) -> Vec<EndpointSettings> {
    addresses.iter().map(|text| EndpointSettings::new(text.parse().unwrap())).collect()
}

/// Lets a file look as if nobody had touched it for a while.
fn settle(path: &Path) {
    let then = Clock::default().wall() - 10 * SETTLED;
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

const ADDRESSES: [&str; 4] = ["10.0.0.1:9001", "unix:/run/a.sock", "app.internal:80", "[::1]:81"];

#[test]
fn both_forms_of_file_say_the_same() {
    let full = EndpointSettings {
        weight: 3,
        backup: true,
        connections_max: Some(10),
        requests_max: Some(20),
        ..EndpointSettings::new("10.0.0.2:80".parse().unwrap())
    };
    let mut want = endpoints(&ADDRESSES);
    want.push(full);
    let list = r#"["10.0.0.1:9001", "unix:/run/a.sock", "app.internal:80", {"address": "[::1]:81"},
        {"address": "10.0.0.2:80", "weight": 3, "backup": true, "max-connections": 10, "max-requests": 20}]"#;
    assert_eq!(of_json(list), Ok(want.clone()));
    assert_eq!(of_json(&format!("{{\"endpoints\": {list}}}")), Ok(want.clone()));
    let inline = list.replace("\": ", "\" = ");
    assert_eq!(of_toml(&format!("endpoints = {inline}")), Ok(want.clone()));
    let tables = "[[endpoints]]\naddress = '10.0.0.2:80'\nweight = 3\nbackup = true\nmax-connections = 10\n\
                  max-requests = 20\n[[endpoints]]\naddress = '[::1]:81'\n";
    assert_eq!(of_toml(tables), Ok(vec![want[4].clone(), want[3].clone()]));
    for empty in [of_json("[]"), of_json("{\"endpoints\": []}"), of_toml("endpoints = []")] {
        assert_eq!(empty, Ok(Vec::new()));
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, want) in [
        ("", "line 1: EOF"),
        ("[", "line 1: EOF"),
        ("null", "line 1: invalid type: null, expected a list of endpoints, or a table with `endpoints`"),
        ("{}", "line 1: missing field `endpoints`"),
        ("[] []", "line 1: trailing characters"),
        ("{\"endpoints\": [],\n\"endpoints\": []}", "line 2: duplicate field `endpoints`"),
        ("{\"endpoints\": [], \"more\": 1}", "line 1: unknown field `more`"),
        ("{\"endpoints\": {}}", "line 1: invalid type: map, expected a list of endpoints"),
        ("[\n7]", "line 2: invalid type: integer `7`, expected an address such as"),
        ("[null]", "line 1: invalid type: null"),
        ("[[]]", "line 1: invalid type: sequence"),
        ("[\"a:1\",\n\n\"b\"]", "line 3: \"b\" has no host and port"),
        ("[\"a:0\"]", "line 1: \"a:0\" has no port from 1"),
        ("[\"unix:\"]", "line 1: \"unix:\" has no path"),
        ("[\"file:/a.json\"]", "line 1: \"file:/a.json\" cannot stand in a list"),
        ("[\"srv:_http._tcp.a\"]", "line 1: \"srv:_http._tcp.a\" cannot stand in a list"),
        ("[\"a:1\",\n\"b:1\",\n{\"address\": \"a:1\"}]", "line 3: a:1 is there twice"),
        ("[{}]", "line 1: missing field `address`"),
        (
            "[{\"address\": \"a:1\", \"wieght\": 2}]",
            "line 1: unknown field `wieght`, expected one of `address`",
        ),
        ("[{\"address\": \"a:1\", \"address\": \"b:1\"}]", "line 1: duplicate field `address`"),
        ("[{\"address\": 1}]", "line 1: invalid type: integer `1`, expected an address"),
        ("[{\"address\": \"a:1\", \"weight\": 0}]", "line 1: weight is 0, and must be from 1 to 1000"),
        ("[{\"address\": \"a:1\", \"weight\": 1001}]", "line 1: weight is 1001"),
        ("[{\"address\": \"a:1\", \"weight\": -1}]", "line 1: invalid value: integer `-1`"),
        ("[{\"address\": \"a:1\", \"weight\": 1.0}]", "line 1: invalid type: floating point"),
        ("[{\"address\": \"a:1\", \"weight\": null}]", "line 1: invalid type: null"),
        ("[{\"address\": \"a:1\", \"backup\": 1}]", "line 1: invalid type: integer `1`, expected a boolean"),
        ("[{\"address\": \"a:1\", \"max-connections\": 0}]", "line 1: invalid value: integer `0`"),
        ("[{\"address\": \"a:1\", \"max-requests\": null}]", "line 1: invalid type: null"),
    ] {
        let why = of_json(text).unwrap_err();
        assert!(why.starts_with(want), "{text}: {why}");
    }
    for (text, want) in [
        ("", "missing field `endpoints`"),
        ("endpoints = [", "line 1: "),
        ("more = 1\nendpoints = []", "line 1: unknown field `more`"),
        ("endpoints = []\nendpoints = []", "line 2: duplicate key"),
        ("endpoints = [\n'a:1',\n'b']", "line 3: \"b\" has no host and port"),
        ("endpoints = [\n'a:1',\n'a:1']", "a:1 is there twice"),
        ("[[endpoints]]\naddress = 'a:1'\nweight = '1'", "line 3: invalid type: string"),
        ("endpoints = 'a:1'", "line 1: invalid type: string"),
    ] {
        let why = of_toml(text).unwrap_err();
        assert!(why.contains(want), "{text}: {why}");
    }
}

#[test]
fn a_list_has_bounds() {
    let most: Vec<String> =
        (0..ENDPOINTS_MAX).map(|n| format!("\"10.0.{}.{}:80\"", n >> 8, n & 255)).collect();
    assert_eq!(of_json(&format!("[{}]", most.join(","))).unwrap().len(), ENDPOINTS_MAX);
    let why = of_json(&format!("[{},\"b:1\"]", most.join(","))).unwrap_err();
    assert_eq!(why, "line 1: there are more than 4096 endpoints");
    let why = of_json(&format!("[\"{}:1\"]", "a".repeat(ADDRESS_BYTES_MAX))).unwrap_err();
    assert_eq!(why, "line 1: an address is too long");
    assert!(of_json(&"[".repeat(100_000)).is_err());
    assert!(of_toml(&format!("endpoints = {}", "[".repeat(100_000))).is_err());
    let folder = Folder::new();
    let path = folder.write("a.json", [b"[]", &vec![b' '; FILE_BYTES_MAX - 2][..]].concat());
    assert_eq!(Follower::new(path.clone()).look(), Some(Ok(Vec::new())));
    folder.write("a.json", [b"[]", &vec![b' '; FILE_BYTES_MAX - 1][..]].concat());
    let why = Follower::new(path).look().unwrap().unwrap_err();
    assert!(why.ends_with("/a.json: is larger than 1024 KiB"), "{why}");
    let path = folder.write("b.json", format!("{{\"{}\": 1}}", "x\u{7}".repeat(1000)));
    let why = Follower::new(path).look().unwrap().unwrap_err();
    assert!(why.chars().count() <= MESSAGE_CHARS_MAX && !why.contains(char::is_control), "{why}");
}

#[test]
fn only_regular_files_with_a_known_ending_are_read() {
    let folder = Folder::new();
    let pipe = folder.0.join("pipe.json");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::create_dir(folder.0.join("folder.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.0.join("device.toml")).unwrap();
    std::os::unix::fs::symlink("loop.toml", folder.0.join("loop.toml")).unwrap();
    folder.write("list.yaml", "[]");
    folder.write("latin.json", b"[\n\"\xe4:1\"]");
    for (name, want) in [
        ("pipe.json", "is no regular file"),
        ("folder.json", "is no regular file"),
        ("device.toml", "is no regular file"),
        ("loop.toml", "cannot be read: "),
        ("missing.json", "cannot be read: No such file"),
        ("list.yaml", "the name of a list of endpoints ends with .json or .toml"),
        ("latin.json", "line 2: is no UTF-8"),
    ] {
        let path = folder.0.join(name);
        let mut follower = Follower::new(path.clone());
        let why = follower.look().unwrap().unwrap_err();
        assert!(why.starts_with(&format!("{}: {want}", path.display())), "{why}");
        assert_eq!(follower.look(), None);
    }
}

#[test]
fn a_file_is_told_once_until_it_changes() {
    let folder = Folder::new();
    let path = folder.write("a.json", "[\"a:1\"]");
    let mut follower = Follower::new(path.clone());
    assert_eq!(follower.look(), Some(Ok(endpoints(&["a:1"]))));
    assert_eq!(follower.look(), None);
    // Of the same size, and in the same moment.
    folder.write("a.json", "[\"b:1\"]");
    assert_eq!(follower.look(), Some(Ok(endpoints(&["b:1"]))));
    // Only how it is written has changed.
    folder.write("a.json", "[ \"b:1\" ]");
    assert_eq!(follower.look(), None);
    settle(&path);
    assert_eq!(follower.look(), None);
    assert!(!follower.file.may_have_changed());
    assert_eq!(follower.look(), None);
    folder.write("a.json", "[\"c:1\"]");
    assert_eq!(follower.look(), Some(Ok(endpoints(&["c:1"]))));
    // Somebody sets the time back to what it was.
    settle(&path);
    assert_eq!(follower.look(), None);
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    folder.write("a.json", "[\"d:1\"]");
    File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    assert_eq!(follower.look(), Some(Ok(endpoints(&["d:1"]))));
}

#[test]
fn renamed_and_linked_files_are_noticed() {
    let folder = Folder::new();
    let path = folder.write("list.toml", "endpoints = ['a:1']");
    settle(&path);
    let mut follower = Follower::new(path.clone());
    assert_eq!(follower.look(), Some(Ok(endpoints(&["a:1"]))));
    let other = folder.write("other", "endpoints = ['b:1']");
    settle(&other);
    std::fs::rename(other, &path).unwrap();
    assert_eq!(follower.look(), Some(Ok(endpoints(&["b:1"]))));
    // As it is done for the files of a config map: the folder behind the link is another one.
    for name in ["one", "two"] {
        std::fs::create_dir(folder.0.join(name)).unwrap();
        let path = folder.write(&format!("{name}/list.json"), format!("[\"{name}:1\"]"));
        settle(&path);
    }
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, folder.0.join("new")).unwrap();
        std::fs::rename(folder.0.join("new"), folder.0.join("data")).unwrap();
    };
    link("one");
    std::os::unix::fs::symlink("data/list.json", folder.0.join("list.json")).unwrap();
    let mut follower = Follower::new(folder.0.join("list.json"));
    assert_eq!(follower.look(), Some(Ok(endpoints(&["one:1"]))));
    assert_eq!(follower.look(), None);
    link("two");
    assert_eq!(follower.look(), Some(Ok(endpoints(&["two:1"]))));
    link("one");
    assert_eq!(follower.look(), Some(Ok(endpoints(&["one:1"]))));
}

#[test]
fn a_half_written_file_and_one_that_goes_are_errors_until_it_is_back() {
    let folder = Folder::new();
    let path = folder.write("a.json", "[\"a:1\"]");
    let mut follower = Follower::new(path.clone());
    assert_eq!(follower.look(), Some(Ok(endpoints(&["a:1"]))));
    for half in ["", "[\"a:1\",", "[\"a:1\", \"b:"] {
        folder.write("a.json", half);
        let first = follower.look();
        // The same error is told once.
        assert!(!matches!(first, Some(Ok(_))), "{first:?}");
        assert_eq!(follower.look(), None);
    }
    folder.write("a.json", "[\"a:1\", \"b:1\"]");
    assert_eq!(follower.look(), Some(Ok(endpoints(&["a:1", "b:1"]))));
    std::fs::remove_file(&path).unwrap();
    assert!(follower.look().unwrap().unwrap_err().contains("No such file"));
    assert_eq!(follower.look(), None);
    folder.write("a.json", "[\"a:1\", \"b:1\"]");
    assert_eq!(follower.look(), Some(Ok(endpoints(&["a:1", "b:1"]))));
    folder.write("a.json", "[]");
    assert_eq!(follower.look(), Some(Ok(Vec::new())));
}
