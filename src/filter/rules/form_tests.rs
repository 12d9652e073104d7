use super::*;
use crate::filter::rules::fuzz_texts::form as fuzz;
use proptest::prelude::*;

fn of_type(text: &str) -> Result<Option<Kind<'_>>, BadForm> {
    kind(std::iter::once(text.as_bytes()))
}

#[test]
fn forms_are_known_by_their_type_and_by_nothing_that_could_be_two() {
    let parts = |boundary: &'static str| Ok(Some(Kind::Parts(Cow::Borrowed(boundary.as_bytes()))));
    for (text, want) in [
        ("application/x-www-form-urlencoded", Ok(Some(Kind::Encoded))),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", Ok(Some(Kind::Encoded))),
        ("application/x-www-form-urlencoded;", Ok(Some(Kind::Encoded))),
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
        ("multipart/form-data; boundary='a'", Err(BadForm::Type)),
        ("multipart/form-data; boundary=\"a\\\\\"", Err(BadForm::Type)),
        ("multipart/form-data; xboundary=b; boundary=a", Err(BadForm::Type)),
        ("multipart/form-data; boundary=a; x=boundary=b", Err(BadForm::Type)),
        ("multipart / form-data; boundary=a", Err(BadForm::Type)),
        ("application/json x", Err(BadForm::Type)),
        ("application/json,text/plain", Err(BadForm::Type)),
        ("multipart/mixed; boundary=a", Ok(None)),
        ("application/json", Ok(Some(Kind::Json))),
        ("application/problem+json; charset=utf-8", Ok(Some(Kind::Json))),
        ("application/json; charset=utf-16", Err(BadForm::Type)),
        ("text/json", Ok(Some(Kind::Json))),
        ("application/x-ndjson", Ok(None)),
        ("text/plain", Ok(None)),
        ("application/octet-stream", Ok(None)),
        ("", Ok(None)),
    ] {
        assert_eq!(of_type(text), want, "{text}");
    }
    assert_eq!(kind(std::iter::empty()), Ok(None));
    assert_eq!(kind([&b"text/plain"[..], b"text/html"].into_iter()), Err(BadForm::Type));
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
        ("a=%zz", None),
        ("a=%", None),
        ("a=%4", None),
        ("a=\0", None),
    ] {
        let want = want.map(|want| want.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(texts(ENCODED, content), want, "{content:?}");
    }
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
    let good = field(&named("a"), "1");
    for bad in [
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
fn texts_of_json_are_found_unescaped() {
    let json = "application/json";
    assert_eq!(
        texts(json, r#"{"a": ["b\n\"\u0027", 1.5e3, true, null], "": {"c": "\u003cx"}}"#).unwrap(),
        ["a", "b\n\"'", "", "c", "<x"]
    );
    let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
    for bad in
        [r#"{"a"#, r#"["\x"]"#, r#"["\u12"]"#, "[\"\n\"]", "]", "[", "{'a': 1}", &deep, r#"["\u+123"]"#]
    {
        assert_eq!(texts(json, bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn any_form_is_read_within_bounds(
        of in "(application/x-www-form-urlencoded|multipart/form-data; boundary=B|application/json)",
        content in "(--B|\r\n|Content-Disposition: form-data; |name=\"a\"|filename=\"b\"|a=1|&|%41|[{}\\[\\]\",:]|\\\\u0041){0,24}",
    ) {
        fuzz(format!("{of}\n{content}").as_bytes());
    }
}
