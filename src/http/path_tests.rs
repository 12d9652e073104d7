//! Spellings of paths, from the harmless to the hostile.

use proptest::prelude::*;

use super::*;

fn normal(path: &str) -> Result<String, BadPath> {
    let mut out = b"before".to_vec();
    let result = normalise(path.as_bytes(), &mut out);
    let written = String::from_utf8(out.split_off(6)).unwrap();
    assert_eq!(out, b"before");
    assert!(result.is_ok() || written.is_empty(), "{path} left {written}");
    result.map(|()| written)
}

fn has_readings(path: &str) -> bool {
    readings(path.as_bytes()).next().is_some()
}

fn unhidden(path: &str) -> String {
    let mut out = Vec::new();
    read(path.as_bytes(), Reading::SLASHES, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn each_spelling_has_its_normal_form() {
    for (path, want) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("//", "/"),
        ("///a", "/a"),
        ("/a//b", "/a/b"),
        ("/a//", "/a/"),
        ("/.", "/"),
        ("/./", "/"),
        ("/a/.", "/a/"),
        ("/a/./b", "/a/b"),
        ("/..", "/"),
        ("/../..", "/"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/a/b/../c", "/a/c"),
        ("/a/b/../../c", "/c"),
        ("/a/b/../../../c", "/c"),
        // An empty segment is none, so that it is none to go up from either.
        ("/a//../b", "/b"),
        ("/a/b//..//c", "/a/c"),
        ("/...", "/..."),
        ("/.a/..b/c./d..", "/.a/..b/c./d.."),
        ("/.;x/..;x/a", "/.;x/..;x/a"),
        ("/%2e", "/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2E./b", "/b"),
        ("/a/%2e%2e", "/"),
        ("/%2e%2e%2fb", "/..%2Fb"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2F..%2fb", "/a%2F..%2Fb"),
        ("/a%5cb\\c", "/a%5Cb\\c"),
        ("/%61%62%7e%2D%5f%30", "/ab~-_0"),
        ("/%41dmin", "/Admin"),
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/%25%32%65", "/%252e"),
        ("/a%20b%3fc%23d%3bx", "/a%20b%3Fc%23d%3Bx"),
        ("/%c3%a4", "/%C3%A4"),
        ("/%7f%ff%01", "/%7F%FF%01"),
        ("/a;b=c,d:e@f!$&'()*+", "/a;b=c,d:e@f!$&'()*+"),
        ("/\u{e4}{|}\"", "/\u{e4}{|}\""),
    ] {
        assert_eq!(normal(path).as_deref(), Ok(want), "{path}");
        assert_eq!(is_normal(path.as_bytes()), path == want, "{path}");
    }
}

#[test]
fn what_is_no_path_is_refused() {
    for path in [
        "",
        "a",
        "*",
        "%2Fa",
        "\\a",
        "/%",
        "/a%",
        "/%2",
        "/%2/",
        "/%zz",
        "/%g0",
        "/%0g",
        "/%2%65",
        "/%+1",
        "/%00",
        "/a/%00/..",
        "/\0",
        "/%u0041",
        "/%%41",
    ] {
        assert_eq!(normal(path), Err(BadPath), "{path:?}");
        assert!(!is_normal(path.as_bytes()), "{path:?}");
        assert_eq!(read(path.as_bytes(), Reading::SLASHES, &mut Vec::new()), Err(BadPath), "{path:?}");
    }
}

#[test]
fn hidden_slashes_are_found_and_read_as_slashes() {
    for (path, want) in [
        ("/a%2Fb", "/a/b"),
        ("/a%2fb", "/a/b"),
        ("/a%5Cb", "/a/b"),
        ("/a%5cb", "/a/b"),
        ("/a\\b", "/a/b"),
        ("/a%2F", "/a/"),
        ("/a/%2F/b", "/a/b"),
        ("/%2F%2F", "/"),
        ("/a/..%2Fb", "/b"),
        ("/a%2F..%5C..\\b", "/b"),
        ("/a%2F%2e%2e/b", "/b"),
        ("/a%2F.", "/a/"),
    ] {
        assert!(has_readings(path), "{path}");
        assert_eq!(unhidden(path), want, "{path}");
    }
    for path in ["/a/b", "/", "/%252F", "/%20", "/a%2", "/%2", "/%"] {
        assert!(!has_readings(path), "{path}");
    }
}

#[test]
fn a_path_is_read_in_every_way_that_somebody_may_read_it() {
    let all = |path: &str| {
        let mut read_as: Vec<_> = readings(path.as_bytes())
            .map(|reading| {
                let mut out = Vec::new();
                read(path.as_bytes(), reading, &mut out).unwrap();
                String::from_utf8(out).unwrap()
            })
            .collect();
        read_as.sort();
        read_as.dedup();
        read_as
    };
    for path in ["/", "/a/b", "/a%20b", "/%252F", "*"] {
        assert!(readings(path.as_bytes()).next().is_none(), "{path}");
    }
    assert_eq!(all("/a%2Fb"), ["/a/b"]);
    assert_eq!(all("/a\\b%5Cc"), ["/a/b%5Cc", "/a/b/c", "/a\\b/c"]);
    assert_eq!(all("/a%2F..%5Cb"), ["/a%2F../b", "/a/..%5Cb", "/a/../b", "/b"]);
    assert_eq!(all("/a/..;x/b"), ["/a/../b", "/b"]);
    assert_eq!(all("/a/%2e%2E;/b"), ["/a/../b", "/b"]);
    assert_eq!(all("/a/.;/b"), ["/a/./b", "/a/b"]);
    assert_eq!(all("/a;b=c"), ["/a"]);
    assert_eq!(all("/a/;x"), ["/a/"]);
    assert_eq!(all("/%3B"), ["/", "/;"]);
    assert_eq!(all("/a%3Ab"), ["/a:b"]);
    assert_eq!(all("/a%3Fb/c"), ["/a"]);
    assert_eq!(all("/a%23"), ["/a"]);
}

#[test]
fn going_up_takes_a_hidden_slash_away_from_the_normal_form() {
    // So that whoever passes the original on has to ask about the original.
    let path = "/x/y%2Fz/../../b";
    assert_eq!(normal(path).as_deref(), Ok("/b"));
    assert_eq!(unhidden(path), "/x/b");
}

fn spelling() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "/", ".", "..", "a", "b", "%2e", "%2E", "%2f", "%2F", "%5c", "\\", "%41", "%c3", "%25",
        "%", "%00", "2", "e", "~", "{", "é", ";",
    ]);
    prop::collection::vec(piece, 0..16).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn a_normal_form_is_its_own_and_the_only_one(path in spelling()) {
        prop_assert_eq!(is_normal(path.as_bytes()), normal(&path).as_ref() == Ok(&path));
        if let Ok(once) = normal(&path) {
            prop_assert!(is_normal(once.as_bytes()));
            prop_assert_eq!(normal(&once), Ok(once.clone()));
            prop_assert!(once.len() <= path.len());
            let parted = unhidden(&path);
            prop_assert!(is_normal(parted.as_bytes()));
            prop_assert!(has_readings(&path) || parted == once);
            for reading in readings(path.as_bytes()) {
                let mut out = Vec::new();
                prop_assert_eq!(super::read(path.as_bytes(), reading, &mut out), Ok(()));
                prop_assert!(out.starts_with(b"/") && out.len() <= path.len());
            }
        }
    }

    #[test]
    fn escaping_what_needs_none_changes_nothing(path in "/[a-c./~_]{0,20}", escaped in any::<u32>(), lower in any::<bool>()) {
        let spelled: String = path.chars().enumerate().map(|(at, c)| match (c, lower) {
            ('/', _) => c.to_string(),
            _ if escaped >> (at % 32) & 1 == 0 => c.to_string(),
            (_, true) => format!("%{:02x}", u32::from(c)),
            (_, false) => format!("%{:02X}", u32::from(c)),
        }).collect();
        prop_assert_eq!(normal(&spelled), normal(&path));
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut out = Vec::new();
        let normal = normalise(&bytes, &mut out);
        prop_assert_eq!(is_normal(&bytes), normal.is_ok() && out == bytes);
        prop_assert!(normal.is_err() || is_normal(&out));
        let _ = (readings(&bytes).count(), read(&bytes, Reading::SLASHES, &mut out));
    }
}
