use super::*;
use crate::filter::rules::fuzz_texts::form as fuzz;
use proptest::prelude::*;

const ALL: Subjects = Subjects { form: true, json: true };
const FORM: Subjects = Subjects { form: true, json: false };
const JSON: Subjects = Subjects { form: false, json: true };

fn of_type(text: &str) -> Result<Option<Kind<'_>>, BadForm> {
    kind(std::iter::once(text.as_bytes()), ALL, b"POST")
}

#[test]
fn forms_are_known_by_their_type_and_by_nothing_that_could_be_two() {
    let parts = |boundary: &'static str| Ok(Some(Kind::Parts(Cow::Borrowed(boundary.as_bytes()))));
    for (text, want) in [
        ("application/x-www-form-urlencoded", Ok(Some(Kind::Encoded))),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", Ok(Some(Kind::Encoded))),
        ("application/x-www-form-urlencoded;", Ok(Some(Kind::Encoded))),
        ("application/x-www-form-urlencoded; a.b=c; d", Ok(Some(Kind::Encoded))),
        ("application/x-www-form-urlencoded; charset*=utf-8''utf-7", Err(BadForm::Type)),
        ("application/x-www-form-urlencoded; x=\"; charset=utf-7", Err(BadForm::Type)),
        ("application/x-www-form-urlencoded; charset=ibm037", Err(BadForm::Type)),
        ("application/x-www-form-urlencoded, text/plain", Err(BadForm::Type)),
        ("text/plain, application/x-www-form-urlencoded", Err(BadForm::Type)),
        ("text/plain; x=application/x-www-form-urlencoded", Err(BadForm::Type)),
        ("application/x-www-form-urlencoded x", Err(BadForm::Type)),
        ("multipart/form-data; boundary=abc", parts("abc")),
        ("multipart/form-data; boundary=\"a b\"; charset=utf-8", parts("a b")),
        ("multipart/form-data", Err(BadForm::Type)),
        ("multipart/form-data; boundary=a; boundary=b", Err(BadForm::Type)),
        ("multipart/form-data; boundary=a; BOUNDARY=b", Err(BadForm::Type)),
        ("multipart/form-data; boundary=", Err(BadForm::Type)),
        ("multipart/form-data; boundary=\"a", Err(BadForm::Type)),
        ("multipart/form-data; boundary=a b", Err(BadForm::Type)),
        ("multipart/form-data x; boundary=a", Err(BadForm::Type)),
        ("multipart/form-data, x; boundary=a", Err(BadForm::Type)),
        ("multipart/form-data\tx; boundary=a", Err(BadForm::Type)),
        ("multipart/form-data,; boundary=a", Err(BadForm::Type)),
        ("multipart/form-data; boundary=a,b", Err(BadForm::Type)),
        ("multipart/form-data; boundary=\"a,b\"", Err(BadForm::Type)),
        ("multipart/form-data; boundary=a; x.y=z", Err(BadForm::Type)),
        ("multipart/form-data; boundary='a'", Err(BadForm::Type)),
        ("multipart/form-data; boundary=\"a\\\\\"", Err(BadForm::Type)),
        ("multipart/form-data; xboundary=b; boundary=a", Err(BadForm::Type)),
        ("multipart/form-data; boundary=a; x=boundary=b", Err(BadForm::Type)),
        ("multipart / form-data; boundary=a", Err(BadForm::Type)),
        ("application/json x", Err(BadForm::Type)),
        ("application/json,text/plain", Err(BadForm::Type)),
        ("multipart/mixed; boundary=a", Ok(Some(Kind::Mixed(b"a")))),
        ("Multipart/Related;type=\"text/xml\"; start=<a@b>; boundary=\"u:1\"", Ok(Some(Kind::Mixed(b"u:1")))),
        ("multipart/related; xboundary=a", Err(BadForm::Type)),
        ("multipart/related; boundary=a; x=\"; boundary=b\"", Err(BadForm::Type)),
        ("multipart/related; boundary = a", Err(BadForm::Type)),
        ("multipart/related; boundary=\"a", Err(BadForm::Type)),
        ("multipart/related; boundary=a,b", Err(BadForm::Type)),
        ("multipart/mixed", Err(BadForm::Type)),
        ("multipart/alternative; boundary=a", Ok(None)),
        ("application/json", Ok(Some(Kind::Json))),
        ("application/problem+json; charset=utf-8", Ok(Some(Kind::Json))),
        ("application/json; charset=utf-16", Err(BadForm::Type)),
        ("application/json;odata.metadata=minimal", Ok(Some(Kind::Json))),
        ("application/ld+json; profile=https://www.w3.org/ns/activitystreams", Ok(Some(Kind::Json))),
        ("text/json", Ok(Some(Kind::Json))),
        ("application/x-ndjson", Ok(None)),
        ("text/plain", Ok(None)),
        ("application/octet-stream", Ok(None)),
        ("", Ok(Some(Kind::Untyped))),
        (";charset=utf-8", Ok(Some(Kind::Untyped))),
    ] {
        assert_eq!(of_type(text), want, "{text}");
    }
    assert_eq!(kind([&b"text/plain"[..], b"text/html"].into_iter(), ALL, b"POST"), Err(BadForm::Type));
}

#[test]
fn what_has_no_type_may_be_a_form_where_it_comes_by_post() {
    let of = |wanted, method: &[u8]| kind(std::iter::empty(), wanted, method);
    assert_eq!(of(ALL, b"POST"), Ok(Some(Kind::Untyped)));
    assert_eq!(of(JSON, b"POST"), Ok(None));
    assert_eq!(of(ALL, b"PUT"), Ok(None));
}

#[test]
fn of_what_is_not_wanted_the_type_need_not_be_clear() {
    for (text, wanted, want) in [
        ("application/json; charset=utf-16", FORM, Ok(None)),
        ("application/json x", FORM, Ok(None)),
        ("application/json;odata.metadata=minimal", FORM, Ok(None)),
        ("application/x-www-form-urlencoded x", FORM, Err(BadForm::Type)),
        ("multipart/form-data; boundary=b;x=y", JSON, Ok(None)),
        ("multipart/mixed", JSON, Ok(None)),
        ("multipart/form-data x", JSON, Ok(None)),
        ("application/x-www-form-urlencoded; charset=utf-7", JSON, Ok(None)),
        ("application/json x", JSON, Err(BadForm::Type)),
        ("text/plain,application/json", JSON, Err(BadForm::Type)),
        ("application/json x", Subjects::default(), Ok(None)),
    ] {
        assert_eq!(kind(std::iter::once(text.as_bytes()), wanted, b"POST"), want, "{text} {wanted:?}");
    }
}

fn texts(of: &str, content: &str) -> Option<Vec<String>> {
    let kind = of_type(of).unwrap().unwrap();
    let read = read(&kind, content.as_bytes()).ok()?;
    Some(read.texts.iter().map(|(text, _)| String::from_utf8(text.to_vec()).unwrap()).collect())
}

const ENCODED: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=B";

#[test]
fn fields_of_encoded_forms_are_found_and_malformed_ones_are_not_taken() {
    for (content, want) in [
        ("a=1&b=%20+", Some(&["a", "1", "b", "%20+"][..])),
        ("", Some(&[])),
        ("a", Some(&["a", ""])),
        ("a=%zz", Some(&["a", "%zz"])),
        ("text=100%", Some(&["text", "100%"])),
        ("a=%4&b=50%+off", Some(&["a", "%4", "b", "50%+off"])),
        ("a=\0", None),
    ] {
        let want = want.map(|want| want.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(texts(ENCODED, content), want, "{content:?}");
    }
    // Nobody has said that it is a form, so that nothing about it is malformed.
    assert_eq!(texts("", "a=%z\0&b").unwrap(), ["a", "%z\0", "b", ""]);
    assert!(texts(ENCODED, &"a&".repeat(FIELDS_MAX)).is_some());
    assert!(texts(ENCODED, &"a&".repeat(FIELDS_MAX + 1)).is_none());
}

#[test]
fn values_of_parts_are_found_but_not_what_is_in_files() {
    let field = |head: &str, value: &str| format!("--B\r\n{head}\r\n\r\n{value}\r\n");
    let named = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"");
    let end = "--B--\r\n";
    let whole =
        field(&named("a"), "1\r\n--C") + &field(&(named("f") + "; filename=\"x.png\""), "secret") + end;
    assert_eq!(texts(PARTS, &whole).unwrap(), ["a", "1\r\n--C", "f", "x.png"]);
    assert_eq!(texts(PARTS, &(field(&named("a\\\"b"), "") + end)).unwrap(), ["a\"b", ""]);
    // A file without a name is a field for some.
    let nameless = field(&(named("f") + "; filename=\"\""), "secret") + end;
    assert_eq!(texts(PARTS, &nameless).unwrap(), ["f", "", "secret"]);
    // Names in other letters beside that.
    let twice = "; filename=\"x.png\"; filename*=utf-8'en'%C3%A4.png";
    let whole = field(&(named("f") + twice), "secret") + end;
    assert_eq!(texts(PARTS, &whole).unwrap(), ["f", "x.png", "utf-8'en'%C3%A4.png"]);
    let bare = "Content-Disposition: form-data; name=f; filename=a.txt; filename*=utf-8''a.txt";
    assert_eq!(texts(PARTS, &(field(bare, "secret") + end)).unwrap(), ["f", "a.txt", "utf-8''a.txt"]);
    assert_eq!(texts(PARTS, &format!("\r\n{}{end}", field(&named("a"), "1"))).unwrap(), ["a", "1"]);
    let good = field(&named("a"), "1");
    for bad in [
        format!("\r\n\r\n{good}{end}"),
        format!("\n{good}{end}"),
        field(&(named("a") + "; filename=\"\"; filename*=utf-8''x"), "1") + end,
        field(&(named("a") + "; filename=x; filename*=utf-8''"), "1") + end,
        field(&(named("a") + "; filename=x; filename*=utf-8''%00"), "1") + end,
        field(&(named("a") + "; filename=x; filename*=utf-16''y"), "1") + end,
        field(&(named("a") + "; filename=x; filename*='y"), "1") + end,
        field(&(named("a") + "; filename=x; filename*=utf-8''y; filename*=utf-8''z"), "1") + end,
        field(&(named("a") + "; filename=x; name*=utf-8''y"), "1") + end,
        field(&named("a"), "1\n--B") + end,
        field(&named("a"), "1\n--Bx\r\n") + end,
        field(&named("a"), "--B\r\n\r\nx") + end,
        field(&(named("a") + "\r\n--B: x"), "1") + end,
        format!("--B\r\n{}\n\r\n1\r\n{end}", named("a")),
        format!("--B\r\nX: y\n{}\r\n\r\n1\r\n{end}", named("a")),
        field("Content-Disposition: form-data; name='a; filename=b'", "1") + end,
        field("Content-Disposition: form-data; name='a;filename=b'", "1") + end,
        field(&(named("a\\\\") + "; filename=\"b\""), "1") + end,
        field(&(named("a") + "; filename=\"\"; filename=\"b\""), "1") + end,
        good.clone(),
        good.clone() + "--B-",
        format!("preamble\r\n{good}{end}"),
        format!("{good}{end}epilogue"),
        good.replace("\r\n", "\n") + end,
        field("Content-Type: text/plain", "1") + end,
        field("Content-Disposition: form-data", "1") + end,
        field("Content-Disposition: attachment; name=\"a\"", "1") + end,
        field(&(named("a") + "; name=\"b\""), "1") + end,
        field(&(named("a") + "; filename*=utf-8''x"), "1") + end,
        field(&(named("a") + "\r\nContent-Transfer-Encoding: base64"), "MQ==") + end,
        field(&(named("a") + "\r\nContent-Type: text/plain; charset=utf-7"), "1") + end,
        field(&(named("a") + "\r\n goes on"), "1") + end,
        field(&(named("a") + "\r\n" + &named("b")), "1") + end,
        field("Content-Disposition : form-data; name=\"a\"", "1") + end,
        field(&format!("{}\r\nX: {}", named("a"), "x".repeat(5000)), "1") + end,
        format!("{}{end}", good.repeat(FIELDS_MAX + 1)),
    ] {
        assert_eq!(texts(PARTS, &bad), None, "{}", &bad[..bad.len().min(200)]);
    }
}

#[test]
fn other_parts_are_read_if_one_of_them_may_be_a_field() {
    let mixed = "multipart/mixed; boundary=B";
    let part = |head: &str| format!("--B\r\n{head}\r\n\r\nvalue\r\n");
    let usual = part("Content-Type: text/xml\r\nContent-ID: <root@example>")
        + &part("Content-Type: image/png; name=x.png\r\nContent-Disposition: attachment;\r\n filename=x.png");
    assert_eq!(texts(mixed, &(usual.clone() + "--B--")).unwrap(), [""; 0]);
    assert_eq!(texts(mixed, "whatever\0").unwrap(), [""; 0]);
    let named = "Content-Disposition: form-data; name=\"a\"";
    assert_eq!(texts(mixed, &(part(named) + "--B--")).unwrap(), ["a", "value"]);
    for odd in [
        usual.clone() + &part(named),
        part(named).replace("\r\n", "\n"),
        part("content-disposition: x; NAME=a"),
        part("Content-Disposition: x;\r\n name=a"),
        part("Content-Disposition: x\r\n;name=a"),
        part("Content-ID: a"),
        part("X: --B\r\nContent-Disposition: x--B; name=a"),
    ] {
        assert_eq!(texts(mixed, &(odd.clone() + "--B--")), None, "{odd}");
    }
}

#[test]
fn texts_of_json_are_found_unescaped() {
    let json = "application/json";
    assert_eq!(texts(json, "\u{feff}[\"a\"]").unwrap(), ["a"]);
    assert_eq!(
        texts(json, r#"{"a": ["b\n\"\u0027", 1.5e3, true, null], "": {"c": "\u003cx"}}"#).unwrap(),
        ["a", "b\n\"'", "", "c", "<x"]
    );
    let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
    for bad in [
        "[]\u{feff}",
        "\u{feff}\u{feff}[]",
        r#"{"a"#,
        r#"["\x"]"#,
        r#"["\u12"]"#,
        "[\"\n\"]",
        "]",
        "[",
        "{'a': 1}",
        &deep,
        r#"["\u+123"]"#,
    ] {
        assert_eq!(texts(json, bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn any_form_is_read_within_bounds(
        of in "(|application/x-www-form-urlencoded|multipart/(form-data|mixed); boundary=B|application/json)",
        content in "(--B|\r\n|Content-Disposition: form-data; |name=\"a\"|filename=\"b\"|a=1|&|%41|[{}\\[\\]\",:]|\\\\u0041){0,24}",
    ) {
        fuzz(format!("{of}\n{content}").as_bytes());
    }
}
