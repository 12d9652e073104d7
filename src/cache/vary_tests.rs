use super::*;
use crate::http::fields::drop_connection_options;
use proptest::prelude::*;

fn with_fields<R>(lines: &[&str], ask: impl FnOnce(Fields<'_>) -> R) -> R {
    let head: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n");
    let mut lines = Vec::new();
    crate::h1::request::parse(head.as_bytes(), &crate::limits::HeadLimits::default(), &mut lines).unwrap();
    drop_connection_options(head.as_bytes(), &mut lines);
    ask(Fields::new(head.as_bytes(), &lines))
}

fn listed(lines: &[&str]) -> Result<String, Star> {
    let mut out = Vec::new();
    with_fields(lines, |response| names(response, &mut out))?;
    Ok(String::from_utf8(out).unwrap())
}

fn selected(names: &str, lines: &[&str]) -> String {
    let mut out = Vec::new();
    with_fields(lines, |request| select(names.as_bytes(), request, &mut out));
    String::from_utf8(out).unwrap()
}

#[test]
fn a_table_of_vary_fields() {
    for (lines, want) in [
        // RFC 9110, 12.5.5
        (&[][..], Ok("")),
        (&["Vary: accept-encoding, accept-language"], Ok("accept-encoding\naccept-language\n")),
        (&["Vary: Cookie,ACCEPT-Encoding", "vary: b , cookie"], Ok("accept-encoding\nb\ncookie\n")),
        (&["Vary:"], Ok("")),
        (&["Vary: , ,a,,"], Ok("a\n")),
        (&["Vary: X_Y.z~1"], Ok("x_y.z~1\n")),
        // RFC 9111, 4.1: a member `*` always fails to match.
        (&["Vary: *"], Err(Star)),
        (&["Vary: a, *"], Err(Star)),
        (&["Vary: a", "Vary: b,*,c"], Err(Star)),
        // What is no field name could mean anything.
        (&["Vary: Accept Encoding"], Err(Star)),
        (&["Vary: \"a\""], Err(Star)),
        (&["Vary: a;b"], Err(Star)),
        (&["Vary: a, \u{e9}"], Err(Star)),
        // A star within a name is a character.
        (&["Vary: a*"], Ok("a*\n")),
        // What the origin saw of these is what the proxy wrote.
        (&["Vary: X-Forwarded-For"], Err(Star)),
        (&["Vary: a, forwarded"], Err(Star)),
        (&["Vary: X-Request-Id"], Err(Star)),
    ] {
        assert_eq!(listed(lines).as_deref(), want.as_deref(), "{lines:?}");
    }
}

#[test]
fn a_list_of_more_names_than_anyone_needs_is_a_star() {
    let line = |count: usize| {
        let names: Vec<_> = (0..count).map(|index| format!("x{index}")).collect();
        format!("Vary: {}", names.join(","))
    };
    assert_eq!(listed(&[&line(NAMES_MAX)]).unwrap().lines().count(), NAMES_MAX);
    assert_eq!(listed(&[&line(NAMES_MAX + 1)]), Err(Star));
    assert_eq!(listed(&["Vary: A", &format!("Vary: {}", "a,".repeat(200))]).as_deref(), Ok("a\n"));
}

#[test]
fn what_was_there_before_stays() {
    let mut out = b"https\n".to_vec();
    assert_eq!(with_fields(&["Vary: a, *"], |response| names(response, &mut out)), Err(Star));
    with_fields(&["B: 2"], |request| select(b"a\nb\n", request, &mut out));
    assert_eq!(out, b"https\n012\n");
}

#[test]
fn a_table_of_selecting_values() {
    for (names, lines, want) in [
        ("", &["A: 1"][..], ""),
        ("a\nb\n", &["b: 1", "c: 2"], "011\n"),
        // Absent is not empty.
        ("a\n", &[], "0"),
        ("a\n", &["A:"], "1\n"),
        // RFC 9111, 4.1; RFC 9110, 5.2: lines of one field are combined.
        ("a\n", &["A: x", "B: z", "a: y"], "1x, y\n"),
        ("a\n", &["A: x, y"], "1x, y\n"),
        ("a\n", &["A: x", "A:"], "1x, \n"),
        // Nobody knows what a comma, a blank or a letter's case means in a field of any name.
        ("a\n", &["A: X,y , \"Z , z\""], "1X,y , \"Z , z\"\n"),
        ("cookie\n", &["Cookie: a=B;  c=D"], "1a=B;  c=D\n"),
        ("user-agent\n", &["User-Agent: M (a , b)"], "1M (a , b)\n"),
        ("authorization\n", &["Authorization: Basic QQ"], "1Basic QQ\n"),
        // RFC 9110, 7.6.1: the origin does not see it.
        ("a\nb\n", &["Connection: a", "A: 1", "B: 1"], "011\n"),
        ("accept-language\n", &["Connection: accept-language", "Accept-Language: de"], "0"),
        // 12.5.4 and 12.5.2: languages and charsets are compared without case; order stays.
        (
            "accept-language\n",
            &["Accept-Language: de-DE , EN ; q=0.5", "accept-language: fr"],
            "1de-de,en;q=0.5,fr\n",
        ),
        ("accept-language\n", &["Accept-Language: en, de"], "1en,de\n"),
        ("accept-charset\n", &["Accept-Charset: UTF-8;Q=1, ,*"], "1utf-8;q=1,*\n"),
        // 12.5.1, 8.3.1: types and names of parameters without case, values of parameters with it.
        ("accept\n", &["Accept: Text/HTML ; Level=A , */*;q=0.8"], "1text/html;level=A,*/*;q=0.8\n"),
        ("accept\n", &["Accept: a/b;c=\"D , ; E\\\" ,\" , X/Y"], "1a/b;c=\"D , ; E\\\" ,\",x/y\n"),
        ("accept\n", &["Accept:"], "1\n"),
        ("accept\n", &["Accept: , ,"], "1\n"),
        // 12.5.3: codings have neither order nor case, and a weight of 1 if none is given.
        ("accept-encoding\n", &["Accept-Encoding: gzip, deflate, br"], "1br,deflate,gzip\n"),
        (
            "accept-encoding\n",
            &["Accept-Encoding: BR;q=1.000,GZIP ;Q=1.", "accept-encoding: deflate"],
            "1br,deflate,gzip\n",
        ),
        (
            "accept-encoding\n",
            &["Accept-Encoding: gzip;q=0.50, br;q=0.5, *;q=0"],
            "1*;q=0.000,br;q=0.500,gzip;q=0.500\n",
        ),
        (
            "accept-encoding\n",
            &["Accept-Encoding: gzip;q=0.000, identity;q=0.001"],
            "1gzip;q=0.000,identity;q=0.001\n",
        ),
        ("accept-encoding\n", &["Accept-Encoding: gzip, GZIP,gzip;q=1"], "1gzip\n"),
        ("accept-encoding\n", &["Accept-Encoding:"], "1\n"),
        // What is malformed, or says two things, stays in its order.
        ("accept-encoding\n", &["Accept-Encoding: gzip, br;q=2"], "1gzip,br;q=2\n"),
        ("accept-encoding\n", &["Accept-Encoding: br;q=500, gzip"], "1br;q=500,gzip\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, br;q=0.\""], "1gzip,br;q=0.\"\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, br;q=1.001"], "1gzip,br;q=1.001\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, br;q=0.0001"], "1gzip,br;q=0.0001\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, br;q=0x"], "1gzip,br;q=0x\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, br;q=.5"], "1gzip,br;q=.5\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, br;q=-0"], "1gzip,br;q=-0\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, br;level=1"], "1gzip,br;level=1\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, br;q=1;q=0"], "1gzip,br;q=1;q=0\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, ;q=1"], "1gzip,;q=1\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip, b r"], "1gzip,b r\n"),
        ("accept-encoding\n", &["Accept-Encoding: gzip;q=0, br, gzip"], "1gzip;q=0,br,gzip\n"),
    ] {
        assert_eq!(selected(names, lines), want, "{names:?} {lines:?}");
    }
}

#[test]
fn more_codings_than_there_are_keep_their_order() {
    let line = |count: usize| {
        let codings: Vec<_> = (0..count).rev().map(|index| format!("c{index:02}")).collect();
        format!("Accept-Encoding: {}", codings.join(", "))
    };
    assert!(selected("accept-encoding\n", &[&line(CODINGS_MAX)]).starts_with("1c00,c01,"));
    assert!(selected("accept-encoding\n", &[&line(CODINGS_MAX + 1)]).starts_with("1c16,c15,"));
}

/// A request by its selecting values, read plainly: for each of two names of no known meaning, its lines.
fn plain(lines: &[(bool, String)]) -> [Option<String>; 2] {
    [false, true].map(|which| {
        let values: Vec<_> = lines.iter().filter(|line| line.0 == which).map(|line| line.1.trim()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    })
}

fn request() -> impl Strategy<Value = Vec<(bool, String)>> {
    proptest::collection::vec((any::<bool>(), "[01, ]{0,3}"), 0..4)
}

proptest! {
    #[test]
    fn the_same_bytes_are_written_if_and_only_if_requests_match(one in request(), other in request()) {
        let write = |lines: &[(bool, String)]| {
            let lines: Vec<_> = lines.iter().map(|(b, value)| format!("{}: {value}", if *b { "B" } else { "A" })).collect();
            selected("a\nb\n", &lines.iter().map(String::as_str).collect::<Vec<_>>())
        };
        prop_assert_eq!(write(&one) == write(&other), plain(&one) == plain(&other));
    }

    #[test]
    fn codings_match_in_any_order_and_case(
        codings in proptest::collection::btree_map("[a-f]{1,3}", 0_u16..=1000, 0..6)
            .prop_map(|codings| codings.into_iter().collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let shuffled: Vec<_> = codings.iter().map(|(name, weight)| {
            format!("{} ; Q={}.{:03}", name.to_uppercase(), weight / 1000, weight % 1000)
        }).collect();
        let mut sorted = codings.clone();
        sorted.sort();
        let sorted: Vec<_> = sorted.iter().map(|(name, weight)| match weight {
            1000 => name.clone(),
            0 => format!("{name};q=0"),
            weight => format!("{name};q=0.{weight:03}"),
        }).collect();
        let write = |codings: &[String]| {
            selected("accept-encoding\n", &[&format!("Accept-Encoding: {}", codings.join(","))])
        };
        prop_assert_eq!(write(&shuffled), write(&sorted));
    }

    #[test]
    fn a_form_is_its_own_form(value in r#"([a-cA-C]{0,2}(;[ ]?[qQ]=[01]\.?[05]{0,4})?[ ,;="\\]{0,2}){0,4}"#) {
        for name in ["accept", "accept-charset", "accept-encoding", "accept-language"] {
            let once = selected(&format!("{name}\n"), &[&format!("{name}: {value}")]);
            let again = selected(&format!("{name}\n"), &[&format!("{name}: {}", once[1..].trim_end_matches('\n'))]);
            prop_assert_eq!(once, again);
        }
    }

    #[test]
    fn no_value_makes_it_panic_or_adds_a_line(value in "[ -~\t]{0,30}") {
        for name in ["accept", "accept-charset", "accept-encoding", "accept-language", "a"] {
            let text = selected(&format!("{name}\n"), &[&format!("{name}: {value}")]);
            prop_assert_eq!(text.matches('\n').count(), 1);
        }
    }
}
