use super::*;

fn sources(text: &str) -> Sources {
    let mut sources = Sources::default();
    sources.add("a.toml".into(), text.to_owned());
    sources
}

/// What is shown for an error at the first place of `meant`.
fn shown(text: &str, meant: &str) -> String {
    let start = text.find(meant).unwrap();
    let place = Place::new(0, start..start + meant.len());
    Problems::new(vec![Problem::error(place, "wrong")], sources(text)).to_string()
}

#[test]
fn the_caret_stands_under_what_is_meant() {
    for (text, meant, want) in [
        ("a = 1", "1", "a.toml:1:5: error: wrong\n    a = 1\n        ^\n1 error"),
        ("a = 1\nbc = 22\n", "bc", "a.toml:2:1: error: wrong\n    bc = 22\n    ^^\n1 error"),
        ("\ta\t= 'x'\r\n", "'x'", "a.toml:1:6: error: wrong\n      a  = 'x'\n           ^^^\n1 error"),
        ("a = '日本', b", "b", "a.toml:1:11: error: wrong\n    a = '日本', b\n                ^\n1 error"),
        ("a = '日本'", "日本", "a.toml:1:6: error: wrong\n    a = '日本'\n         ^^^^\n1 error"),
        ("e\u{301} = x", "x", "a.toml:1:6: error: wrong\n    e\u{301} = x\n        ^\n1 error"),
        ("a = [\n1,\n]", "[\n1,\n]", "a.toml:1:5: error: wrong\n    a = [\n        ^\n1 error"),
    ] {
        assert_eq!(shown(text, meant), want);
    }
}

#[test]
fn an_empty_place_has_a_caret_too() {
    let text = "port = \n";
    for (at, column, caret) in [(7, 8, "           ^"), (0, 1, "    ^"), (8, 1, "    ^"), (99, 1, "    ^")] {
        let problems = Problems::new(vec![Problem::error(Place::new(0, at..at), "wrong")], sources(text));
        let shown = problems.to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[0].contains(&format!(":{column}: ")), "{shown}");
        assert_eq!(lines[2], caret, "{shown}");
    }
}

#[test]
fn of_a_long_line_a_window_is_shown() {
    for (before, after) in [(0, 500), (30, 500), (200, 10), (5000, 5000), (100_000, 0)] {
        for filler in ["x", "日", "\t", "é"] {
            let text = format!("{}MEANT{}", filler.repeat(before), filler.repeat(after));
            let shown = shown(&text, "MEANT");
            let lines: Vec<_> = shown.lines().collect();
            let columns = |text: &str| -> usize { text.chars().map(|c| c.width().unwrap_or(0)).sum() };
            assert!(columns(lines[1]) <= WINDOW_COLUMNS + INDENT.len() + 2, "{shown}");
            let at = lines[1].find("MEANT").unwrap();
            assert_eq!(columns(&lines[1][..at]), lines[2].find('^').unwrap(), "{shown}");
            assert_eq!(lines[2].matches('^').count(), 5, "{shown}");
        }
    }
}

#[test]
fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
    let text = "a = '\u{1b}[31m\u{7}'";
    let place = Place::new(0, 4..text.len());
    let problem = Problem::error(place, "has \u{1b}[0m in it").with_help("\u{9b}x");
    let shown = Problems::new(vec![problem], sources(text)).to_string();
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
}

#[test]
fn a_token_is_not_shown() {
    for text in [
        "admin-token = 'hidden'",
        "\"admin-token\"='hidden' # hidden",
        "  admin-token\t= hidden",
        "sticky.secret = 'hidden'",
        "sticky = { cookie = 'a', secret = 'hidden', max-age = '1h' }",
        "sticky = { \"secret\"\t='hidden' }",
        "sticky = { cookie = 'a secret', Secret='hidden' }",
        "sticky = { sceret = 'hidden' }",
    ] {
        let shown = shown(text, "hidden");
        assert!(!shown.contains("hidden"), "{shown}");
        assert!(shown.contains("^^^^^^"), "{shown}");
    }
    assert!(shown("sticky = { secure = 'no' }", "'no'").contains("'no'"));
    assert!(shown("cookie = 'a secret'", "'a secret'").contains("'a secret'"));
}

#[test]
fn problems_are_in_the_order_of_the_files_and_counted() {
    let at = |start: usize| Place::new(0, start..start + 1);
    let list = vec![
        Problem::warning(at(4), "second"),
        Problem::error(at(0), "first"),
        Problem::error(at(0), "first"),
        Problem::nowhere("missing").with_help("look"),
    ];
    let problems = Problems::new(list, sources("a = 1"));
    assert!(problems.has_errors());
    assert_eq!(
        problems.to_string(),
        "error: missing\nhelp: look\na.toml:1:1: error: first\n    a = 1\n    ^\n\
         a.toml:1:5: warning: second\n    a = 1\n        ^\n2 errors, 1 warning"
    );
    let many = (0..250).map(|at| Problem::nowhere(format!("{at:03}"))).collect();
    let shown = Problems::new(many, Sources::default()).to_string();
    assert_eq!(shown.lines().count(), SHOWN_MAX + 1);
    assert!(shown.ends_with("250 errors, of which the first 100 are shown"), "{shown}");
}

#[test]
fn editors_get_ranges_in_characters() {
    let text = "a = 1\né = 'x'\n";
    let start = text.find("'x'").unwrap();
    let list = vec![
        Problem::error(Place::new(0, start..start + 3), "wrong").with_help("do"),
        Problem { severity: Severity::Warning, ..Problem::nowhere("missing") },
    ];
    let want = serde_json::json!([
        {"file": null, "line": null, "column": null, "end_line": null, "end_column": null,
         "severity": "warning", "message": "missing", "help": null},
        {"file": "a.toml", "line": 2, "column": 5, "end_line": 2, "end_column": 8,
         "severity": "error", "message": "wrong", "help": "do"},
    ]);
    assert_eq!(Problems::new(list, sources(text)).to_json(), want);
}
