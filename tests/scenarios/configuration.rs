//! The commands around the configuration file: whether it is right, what it says with all defaults, and what it may
//! say. Nothing is started by them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::proxy::run;
use crate::support::{Origin, Setup, on_each_driver};

/// A folder with files that goes away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let name = format!("ringway-configuration-{}-{:x}", std::process::id(), fastrand::u64(..));
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).unwrap();
        for (name, text) in files {
            std::fs::write(folder.0.join(name), text).unwrap();
        }
        folder
    }

    /// One file.
    fn of(text: &str) -> (Folder, String) {
        let folder = Folder::new(&[("ringway.toml", text)]);
        let path = folder.path("ringway.toml");
        (folder, path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const GOOD: &str = "[upstream.app]\nendpoints = 'a:1'\n[[route]]\nupstream = 'app'\n";

/// Two mistakes and something odd.
const BAD: &str = "prot = 1\nport = 'x'\n[upstream.app]\nendpoints = 'a:1'\n[[route]]\ndeny = true\n";

#[test]
fn a_good_configuration_is_told_with_what_there_is() {
    let (_folder, path) = Folder::of(GOOD);
    let by_variable = [("RINGWAY_CONFIG", path.as_str())];
    for (args, variables) in
        [(&["check", &path][..], &[][..]), (&["check", "--config", &path], &[]), (&["check"], &by_variable)]
    {
        let checked = run(args, variables);
        assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert_eq!(checked.stdout, format!("{path}: good: 1 listener, 1 upstream, 1 route\n"));
    }
    let checked = run(&["check", "--origin", "http://a"], &[]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert_eq!(checked.stdout, "the command line: good: 1 listener, 1 upstream, 1 route\n");
}

#[test]
fn the_file_that_is_named_is_the_one_that_is_checked() {
    let folder = Folder::new(&[("good.toml", GOOD), ("bad.toml", BAD)]);
    let (good, bad) = (folder.path("good.toml"), folder.path("bad.toml"));
    assert_eq!(run(&["check", &good], &[("RINGWAY_CONFIG", &bad)]).code, Some(0));
    assert_eq!(run(&["check", &bad], &[("RINGWAY_CONFIG", &good)]).code, Some(78));
    assert_eq!(run(&["check", &bad, "--config", &good], &[]).code, Some(78));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let (_folder, path) = Folder::of(BAD);
    let checked = run(&["check", &path], &[]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(78), ""), "{}", checked.stdout);
    for part in [
        format!("{path}:1:1: error: "),
        "    prot = 1\n    ^^^^\n".to_owned(),
        "help: did you mean `port`?".to_owned(),
        format!("{path}:2:8: error: "),
        "    port = 'x'\n           ^^^\n".to_owned(),
        "2 errors".to_owned(),
    ] {
        assert!(checked.stdout.contains(&part), "{part:?} in {}", checked.stdout);
    }
    assert!(!checked.stdout.contains("good"), "{}", checked.stdout);
}

#[test]
fn what_starts_a_proxy_tells_the_same_mistakes_and_starts_nothing() {
    let (_folder, path) = Folder::of(BAD);
    let checked = run(&["check", &path], &[]);
    for args in [&["run", "--config", &path][..], &["--config", &path], &["print-config", "--config", &path]]
    {
        let refused = run(args, &[]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(78), ""), "{args:?}");
        assert_eq!(refused.stderr, checked.stdout, "{args:?}");
    }
}

#[test]
fn editors_get_the_same_as_json() {
    let (_folder, path) = Folder::of(BAD);
    let checked = run(&["check", &path, "--format", "json"], &[]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(78), ""));
    let told: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((&told["file"], &told["valid"]), (&path.as_str().into(), &false.into()));
    let first = &told["problems"][0];
    for (key, want) in [
        ("file", serde_json::json!(path)),
        ("line", 1.into()),
        ("column", 1.into()),
        ("end_line", 1.into()),
        ("end_column", 5.into()),
        ("severity", "error".into()),
    ] {
        assert_eq!(first[key], want, "{key} of {first}");
    }
    let (_folder, path) = Folder::of(GOOD);
    let checked = run(&["check", &path, "--format", "json"], &[]);
    assert_eq!(checked.code, Some(0));
    let told: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(told, serde_json::json!({ "file": path, "valid": true, "problems": [] }));
}

#[test]
fn a_command_line_that_is_wrong_is_wrong_usage_for_every_command() {
    for command in ["check", "print-config"] {
        let refused = run(&[command, "--origin", "http://a", "--max-head", "1GiB"], &[]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{command}");
        assert!(refused.line().contains("max-head"), "{}", refused.stderr);
    }
    let refused = run(&["check", "--origin", "http://a", "--max-head", "1GiB", "--format", "json"], &[]);
    assert_eq!(refused.code, Some(2));
    let told: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((&told["file"], &told["valid"]), (&serde_json::Value::Null, &false.into()));
    assert!(told["problems"][0]["message"].as_str().unwrap().contains("max-head"), "{told}");
}

#[test]
fn what_is_odd_is_told_but_leaves_the_configuration_good() {
    let (_folder, path) = Folder::of(&format!("[upstream.spare]\nendpoints = 'b:1'\n{GOOD}"));
    let checked = run(&["check", &path], &[]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{}", checked.stdout);
    assert!(checked.stdout.contains(&format!("{path}:1:11: warning: ")), "{}", checked.stdout);
    assert!(checked.stdout.ends_with("good: 1 listener, 2 upstreams, 1 route\n"), "{}", checked.stdout);
    let printed = run(&["print-config", "--config", &path], &[]);
    assert_eq!(printed.code, Some(0));
    assert!(
        printed.stderr.contains("warning: ") && !printed.stdout.contains("warning"),
        "{}",
        printed.stderr
    );
}

#[test]
fn a_route_that_can_never_match_is_a_mistake_that_names_the_other() {
    let (_folder, path) =
        Folder::of(&format!("{GOOD}[[route]]\nname = 'late'\nmethod = 'GET'\ndeny = true\n"));
    let checked = run(&["check", &path], &[]);
    assert_eq!(checked.code, Some(78), "{}", checked.stdout);
    let want = format!(
        "{path}:6:8: error: route `late` can never match: route `route-1` ({path}:3) takes all that it would\n"
    );
    assert!(checked.stdout.starts_with(&want), "{}", checked.stdout);
    let folder = Folder::new(&[
        ("ringway.toml", &format!("include = 'late.toml'\n{GOOD}")),
        ("late.toml", "[[route]]\nname = 'late'\ndeny = true\n"),
    ]);
    let checked = run(&["check", &folder.path("ringway.toml")], &[]);
    assert_eq!(checked.code, Some(78), "{}", checked.stdout);
    let first = folder.path("ringway.toml");
    assert!(checked.stdout.contains(&format!("route `route-1` ({first}:4) takes")), "{}", checked.stdout);
}

#[test]
fn what_is_printed_is_whole_good_and_prints_alike() {
    let (_folder, path) = Folder::of(GOOD);
    let printed = run(&["print-config", "--config", &path, "--port", "81", "--cores", "3"], &[]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    for line in [
        "cores = 3",
        "[listener.default]",
        "address = \"127.0.0.1:81\"",
        "head-timeout = \"10s\"",
        "[upstream.app]",
        "endpoints = [\"a:1\"]",
        "[[route]]",
        "name = \"route-1\"",
    ] {
        assert!(printed.stdout.lines().any(|printed| printed == line), "{line} in {}", printed.stdout);
    }
    let (_folder, path) = Folder::of(&printed.stdout);
    assert_eq!(run(&["check", &path], &[]).code, Some(0));
    assert_eq!(run(&["print-config", "--config", &path], &[]).stdout, printed.stdout);
}

#[test]
fn a_token_is_not_printed() {
    let token = "0123456789abcdefghij";
    let (_folder, path) = Folder::of(&format!("admin = '127.0.0.1:1'\nadmin-token = '{token}'\n{GOOD}"));
    let printed = run(&["print-config", "--config", &path], &[]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    assert!(!printed.stdout.contains(token), "{}", printed.stdout);
    let (_folder, path) = Folder::of(&printed.stdout);
    assert_eq!(run(&["check", &path], &[]).code, Some(78));
    assert_eq!(run(&["check", &path], &[("RINGWAY_ADMIN_TOKEN", token)]).code, Some(0));
}

#[test]
fn the_example_is_good_as_it_is() {
    let example = run(&["print-config", "--example"], &[]);
    assert_eq!((example.code, example.stderr.as_str()), (Some(0), ""));
    let (_folder, path) = Folder::of(&example.stdout);
    let checked = run(&["check", &path], &[]);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    assert_eq!(checked.stdout, format!("{path}: good: 2 listeners, 5 upstreams, 15 routes\n"));
}

#[test]
fn the_schema_is_json() {
    let printed = run(&["print-schema"], &[]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    let schema: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn nobody_has_to_read_what_is_printed() {
    let (_folder, path) = Folder::of(GOOD);
    for args in [&["print-schema"][..], &["print-config", "--example"], &["check", &path]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let printed = Command::new(env!("CARGO_BIN_EXE_ringway"))
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!((printed.status.code(), printed.stderr.len()), (Some(0), 0), "{args:?}");
    }
}

#[test]
fn what_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .arg("print-schema")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(printed.status.code(), Some(1));
    assert!(String::from_utf8(printed.stderr).unwrap().starts_with("ringway: cannot write"));
}

#[test]
fn each_command_says_what_it_is_for() {
    for (command, named) in [
        ("check", &["FILE", "--format", "Exit codes", "--config", "--origin"][..]),
        ("print-config", &["--example", "--config", "--origin", "token"]),
        ("print-schema", &["JSON Schema"]),
    ] {
        let help = run(&[command, "--help"], &[]);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        for name in named {
            assert!(help.stdout.contains(name), "{name} in {}", help.stdout);
        }
    }
}

#[test]
fn a_proxy_runs_on_what_was_printed() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let url = format!("http://{}", origin.address());
        let printed = run(&["print-config", "--origin", &url, "--admin", "off"], &[]);
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        let (_folder, path) = Folder::of(&printed.stdout);
        let proxy = Setup::new(driver).args(&["--config", &path]).start();
        assert_eq!(proxy.get("/").text(), "/ ");
    });
}
