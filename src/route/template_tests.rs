use super::*;
use crate::http::Name;
use crate::route::fuzz::{self, Sample};
use proptest::prelude::*;

const BYTES_MAX: usize = 1000;

fn sample() -> Sample {
    Sample {
        path: b"/users/a%20b".to_vec(),
        query: Some(b"q=1%262&next=//evil&q=3&line=%0D%0A&up=..&slash=a/b%2f%25".to_vec()),
        capture: Some(b"a%20b".to_vec()),
        ..Sample::new(&[
            ("X-A", "va/lue?#&%<\"'"),
            ("x-a", "second"),
            ("Tab", "a\tb"),
            ("Beyond", "\u{e9}"),
            ("Cookie", "sid=1; x=\"quoted\""),
            ("Cookie", "late=2"),
        ])
    }
}

fn render_for(sample: &Sample, template: &str, place: Place) -> Result<String, BadValue> {
    let template = Template::for_content(template).unwrap();
    let mut out = b"before".to_vec();
    let judged = sample.with(|values| render(&template, values, place, BYTES_MAX, &mut out));
    assert!(judged.is_ok() || out == b"before", "something was left of what failed");
    judged.map(|()| String::from_utf8(out[6..].to_vec()).unwrap())
}

fn rendered(template: &str, place: Place) -> Result<String, BadValue> {
    render_for(&sample(), template, place)
}

#[track_caller]
fn assert_renders(place: Place, cases: &[(&str, &str)]) {
    for (template, want) in cases {
        assert_eq!(rendered(template, place).as_deref(), Ok(*want), "{template}");
    }
}

#[test]
fn every_variable_stands_for_something() {
    assert_renders(
        Place::Field,
        &[
            ("{client_ip}", "2001:db8::1"),
            ("{scheme}://{host}", "http://example.com"),
            ("{port}", "8080"),
            ("{method} {path}", "GET /users/a%20b"),
            ("{request_id}", "01-ab"),
            ("{listener}/{route}", "web/api"),
            ("{header.X-A}", "va/lue?#&%<\"'"),
            ("{header.Tab}{header.Beyond}", "a\tb\u{e9}"),
            ("{cookie.sid}{cookie.x}{cookie.late}", "1quoted2"),
            ("{query.q}", "1&2"),
            ("{id}", "a%20b"),
            ("{{{id}}}", "{a%20b}"),
            ("[{header.none}{cookie.none}{query.none}{none}]", "[]"),
        ],
    );
    assert_eq!(rendered("{query}", Place::Field).unwrap().as_bytes(), sample().query.unwrap());
}

#[test]
fn a_host_is_told_apart_from_its_port() {
    for (host, name, port) in [
        ("A.Example", "a.example", ""),
        ("a:80", "a", "80"),
        ("a:", "a", ""),
        ("[::1]", "[::1]", ""),
        ("[2001:DB8::1]:443", "[2001:db8::1]", "443"),
        ("", "", ""),
    ] {
        let sample = Sample { host: host.into(), ..Sample::bare() };
        assert_eq!(render_for(&sample, "{host}", Place::Field).unwrap(), name, "{host}");
        assert_eq!(render_for(&sample, "{port}", Place::Field).unwrap(), port, "{host}");
    }
}

#[test]
fn a_field_that_connection_named_is_not_there() {
    let head = b"X-A1";
    let line = |known| crate::http::FieldLine {
        name: crate::http::Span::new(0, 3),
        value: crate::http::Span::new(3, 4),
        known,
    };
    assert_eq!(field(Fields::new(head, &[line(Name::Other)]), b"x-a"), Some(&b"1"[..]));
    assert_eq!(field(Fields::new(head, &[line(Name::Dropped)]), b"x-a"), None);
}

#[test]
fn no_value_ends_a_line() {
    for place in [Place::Field, Place::Location, Place::Path] {
        assert_eq!(rendered("a{query.line}", place), Err(BadValue::Control));
    }
    for control in (0..32).chain([127]).filter(|&byte| byte != b'\t') {
        let sample = Sample { host: vec![b'a', control], ..Sample::bare() };
        for place in [Place::Field, Place::Location, Place::Path] {
            assert_eq!(render_for(&sample, "{host}", place), Err(BadValue::Control), "{control}");
        }
    }
    // Nor does a text that was read for another place.
    assert_eq!(rendered("a\r\nb", Place::Field), Err(BadValue::Control));
}

#[test]
fn a_value_stays_within_its_segment() {
    assert_renders(
        Place::Path,
        &[
            ("/x/{header.X-A}/y", "/x/va%2Flue%3F%23&%25%3C%22'/y"),
            ("/{query.slash}", "/a%2Fb%2F%25"),
            ("/new{path}/{id}", "/new/users/a%20b/a%20b"),
            ("/{query.q};v=1", "/1&2;v=1"),
            ("/{client_ip}", "/2001:db8::1"),
            ("/{header.Beyond}", "/%C3%A9"),
            ("/{query.up}a", "/..a"),
            ("/{query}", "/q=1%25262&next=%2F%2Fevil&q=3&line=%250D%250A&up=..&slash=a%2Fb%252f%2525"),
            // The author's text means what it says, as far as a path can say it.
            ("/a b?c#d%e%20", "/a%20b%3Fc%23d%25e%20"),
        ],
    );
    assert_eq!(rendered("/{header.Tab}", Place::Path), Err(BadValue::Control));
}

#[test]
fn no_segment_comes_out_as_a_way_elsewhere() {
    for template in [
        "/{query.up}",
        "/{query.up}/x",
        "{query.up}",
        "/{query.dot}{query.dot}/",
        "/{query.dot}.",
        "/a/.{query.none}",
    ] {
        let sample = Sample { query: Some(b"up=..&dot=.".to_vec()), ..Sample::bare() };
        assert_eq!(render_for(&sample, template, Place::Path), Err(BadValue::DotSegment), "{template}");
    }
    for value in ["../../etc", "..%2f", "..\\x", "..;a=b", ".;", "a/..", "%2e%2e", "a/.", "a\\.."] {
        let sample = Sample { capture: Some(value.into()), ..Sample::new(&[("X", value)]) };
        let captured = render_for(&sample, "/{id}", Place::Path);
        assert_eq!(captured, Err(BadValue::DotSegment), "{value}");
        let brought = render_for(&sample, "/{header.X}", Place::Path);
        // Its escapes are escaped, and so are none when it is read.
        let is_none = value.starts_with('%') || value.contains("%2f");
        assert_eq!(brought.is_ok(), is_none, "{value}: {brought:?}");
    }
}

#[test]
fn a_value_stays_within_its_parameter() {
    assert_renders(
        Place::QueryValue,
        &[
            ("{query.q}", "1%262"),
            ("a={header.X-A}&b", "a=va/lue%3F%23%26%25%3C%22%27&b"),
            ("{id}", "a%20b"),
            ("{path}", "/users/a%20b"),
            ("{query.line}", "%0D%0A"),
            ("a b#c&d=%20", "a%20b%23c&d=%20"),
        ],
    );
    let sample = Sample {
        capture: Some(b"a=b&c;d+e%zz".to_vec()),
        query: Some(b"a&b==%20+".to_vec()),
        ..Sample::bare()
    };
    assert_eq!(render_for(&sample, "{id}", Place::QueryValue).unwrap(), "a%3Db%26c%3Bd%2Be%25zz");
    assert_eq!(render_for(&sample, "{query}", Place::QueryValue).unwrap(), "a&b==%20+");
}

#[test]
fn a_location_is_a_url() {
    assert_renders(
        Place::Location,
        &[
            ("https://{host}{path}", "https://example.com/users/a%20b"),
            ("https://{host}/é<>\"{{", "https://example.com/%C3%A9%3C%3E%22%7B"),
            ("/{header.Beyond}{header.Tab}", "/%C3%A9a%09b"),
            // In the query, values are those of parameters.
            ("/login?back={path}&x={header.X-A}", "/login?back=/users/a%20b&x=va/lue%3F%23%26%25%3C%22%27"),
            ("/login#{query.q}", "/login#1%262"),
            ("/a?\"<#b", "/a?%22%3C#b"),
            ("{header.X-A}", "va/lue?#&%%3C%22'"),
        ],
    );
    let sample = Sample { query: Some(b"a=\"<&b=%22".to_vec()), ..sample() };
    assert_eq!(render_for(&sample, "/a?{query}", Place::Location).unwrap(), "/a?a=%22%3C&b=%22");
    let sample = Sample { query: None, ..sample };
    assert_eq!(
        render_for(&sample, "https://a{path}?{query}", Place::Location).unwrap(),
        "https://a/users/a%20b"
    );
}

#[test]
fn a_location_that_is_a_path_names_no_other_host() {
    for template in ["/{query.next}", "/{path}", "/{capture}{query.next}"] {
        assert_eq!(rendered(template, Place::Location), Err(BadValue::OtherHost), "{template}");
    }
    let sample = Sample { path: b"//evil".to_vec(), ..Sample::bare() };
    assert_eq!(render_for(&sample, "{path}", Place::Location), Err(BadValue::OtherHost));
    for template in ["{header.No}", "{query.no}", "{header.No}?{query.no}"] {
        assert_eq!(rendered(template, Place::Location), Err(BadValue::Nowhere), "{template}");
        assert!(rendered(template, Place::Field).is_ok(), "{template}");
    }
    assert_eq!(rendered("//{host}/", Place::Location).unwrap(), "//example.com/");
    // A backslash, which browsers take for a slash, is none.
    let sample = Sample { query: Some(b"next=\\evil".to_vec()), ..Sample::bare() };
    assert_eq!(render_for(&sample, "/{query.next}", Place::Location).unwrap(), "/%5Cevil");
}

#[test]
fn content_is_escaped_for_its_type() {
    let all = "<b>{header.X-A}</b>\n";
    for (content_type, want) in [
        ("text/plain; charset=utf-8", "<b>va/lue?#&%<\"'</b>\n"),
        ("text/html", "<b>va/lue?#&amp;%&lt;&quot;&#39;</b>\n"),
        ("Text/HTML; charset=utf-8", "<b>va/lue?#&amp;%&lt;&quot;&#39;</b>\n"),
        ("image/svg+xml", "<b>va/lue?#&amp;%&lt;&quot;&#39;</b>\n"),
        ("", "<b>va/lue?#&amp;%&lt;&quot;&#39;</b>\n"),
        ("application/json", "<b>va\\u002Flue?#\\u0026%\\u003C\\u0022\\u0027</b>\n"),
        ("application/problem+json", "<b>va\\u002Flue?#\\u0026%\\u003C\\u0022\\u0027</b>\n"),
        ("text/javascript", "<b>va\\u002Flue?#\\u0026%\\u003C\\u0022\\u0027</b>\n"),
    ] {
        let place = Place::Content(Escape::of(content_type));
        assert_eq!(rendered(all, place).unwrap(), want, "{content_type}");
    }
    assert_eq!(rendered("{query.line}", Place::Content(Escape::Nothing)).unwrap(), "\r\n");
    assert_eq!(rendered("{query.line}", Place::Content(Escape::Strings)).unwrap(), "\\u000D\\u000A");
}

#[test]
fn every_character_in_a_string_of_json_is_that_character() {
    for byte in 0..=127 {
        let sample = Sample { query: Some(format!("q=%{byte:02x}").into()), ..Sample::bare() };
        let text = render_for(&sample, "\"{query.q}\"", Place::Content(Escape::Strings)).unwrap();
        let read = serde_json::from_str::<String>(&text).unwrap();
        assert_eq!(read.as_bytes(), [byte], "{text}");
    }
}

#[test]
fn what_is_no_text_is_not_written_into_text() {
    let sample = Sample { query: Some(b"a=%ff&b=%1b(J".to_vec()), ..Sample::bare() };
    for (template, escape, want) in [
        ("{query.a}", Escape::Markup, BadValue::NotText),
        ("{query.a}", Escape::Strings, BadValue::NotText),
        ("{query.b}", Escape::Markup, BadValue::Control),
    ] {
        assert_eq!(render_for(&sample, template, Place::Content(escape)), Err(want), "{template}");
    }
}

#[test]
fn a_result_has_a_greatest_length() {
    let at = |length: usize, place| {
        let sample = Sample { query: Some([&b"q="[..], &vec![b'/'; length]].concat()), ..Sample::bare() };
        render_for(&sample, "{query.q}", place).map(|text| text.len())
    };
    assert_eq!(at(BYTES_MAX, Place::Field), Ok(BYTES_MAX));
    assert_eq!(at(BYTES_MAX + 1, Place::Field), Err(BadValue::TooLong));
    assert_eq!(at(BYTES_MAX / 3, Place::Path), Ok(BYTES_MAX / 3 * 3));
    assert_eq!(at(BYTES_MAX / 3 + 1, Place::Path), Err(BadValue::TooLong));
}

#[test]
fn every_refusal_has_a_sentence_of_its_own() {
    let all = [
        BadValue::Control,
        BadValue::DotSegment,
        BadValue::OtherHost,
        BadValue::Nowhere,
        BadValue::NotText,
        BadValue::TooLong,
    ];
    let sentences: std::collections::BTreeSet<_> = all.iter().map(|why| why.sentence()).collect();
    assert_eq!(sentences.len(), all.len());
}

proptest! {
    #[test]
    fn whatever_is_rendered_is_harmless(
        template in "([a/?&=<\"']|[.]|%2e|\\{(client_ip|host|port|path|query|id|header.X|cookie.x|query.q|query.r)\\}|[{]{2}){0,8}",
        path in "[a./;?%2ef]{0,8}",
        query in "(q=|r=|&|=|%0[ad]|%2[ef]|%3b|[.]|/|;|\\\\|%|[+]|%22|%ff|a){0,12}",
        host in "[aB:.\\[\\]\\r\u{b}%/]{0,5}",
        field in "([.]|/|\\\\|;|%2e|%2f|\r|\u{b}|<|\"|\u{e9}|a){0,6}",
        cookie in "([.]|/|;|%2e|\r|\"|a){0,6}",
    ) {
        fuzz::template([template, path, query, host, field, cookie].join("\n").as_bytes());
    }
}

#[test]
fn a_value_does_not_end_the_host_that_the_template_began() {
    for value in [&b"evil.com/"[..], b"evil.com?", b"evil.com#", b"a@evil.com", b"evil.com\\", b"a%2f", b"/"]
    {
        let sample = Sample { capture: Some(value.to_vec()), ..Sample::bare() };
        for template in ["https://{id}.example.com/", "//{id}.example.com/", "https://a.{id}"] {
            let rendered = render_for(&sample, template, Place::Location);
            assert_eq!(rendered, Err(BadValue::OtherHost), "{template} {value:?}");
        }
    }
    let sample = Sample { capture: Some(b"shop".to_vec()), ..Sample::bare() };
    let rendered = render_for(&sample, "https://{id}.example.com/{id}", Place::Location);
    assert_eq!(rendered.unwrap(), "https://shop.example.com/shop");
    let nobody = Sample { capture: None, ..Sample::bare() };
    assert_eq!(render_for(&nobody, "https://{id}/a", Place::Location), Err(BadValue::OtherHost));
}
