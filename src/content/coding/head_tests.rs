use super::*;

fn rewritten(head: &str, form: Form) -> String {
    let mut out = Vec::new();
    rewrite(&mut out, head.as_bytes(), form);
    String::from_utf8(out).unwrap()
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n\
    Content-MD5: x\r\nDigest: y\r\nRepr-Digest: z\r\nContent-Digest: z\r\nX-Digest: kept\r\nContent-Length: 9\r\n\
    \r\nETag: \"content\"\r\n";

#[test]
fn what_describes_the_bytes_goes_and_the_tag_is_weak() {
    assert_eq!(
        rewritten(HEAD, Form::Changed(Some(Coding::Gzip))),
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: W/\"a\"\r\nX-Digest: kept\r\n\
         Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n\r\nETag: \"content\"\r\n"
    );
    let coded = "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 9\r\nETag: W/\"a\"\r\n\r\n";
    assert_eq!(
        rewritten(coded, Form::Changed(None)),
        "HTTP/1.1 200 OK\r\nETag: W/\"a\"\r\nVary: Accept-Encoding\r\n\r\n"
    );
}

#[test]
fn what_only_varies_says_only_that() {
    let want = HEAD.replace("9\r\n\r\n", "9\r\nVary: Accept-Encoding\r\n\r\n");
    assert_eq!(rewritten(HEAD, Form::Varied), want);
}

#[test]
fn vary_is_merged() {
    for (before, after) in [
        ("Vary: Origin\r\n", "Vary: Origin, Accept-Encoding\r\n"),
        ("vary: \r\n", "vary: \r\nVary: Accept-Encoding\r\n"),
        ("vary:a \t\r\n", "vary:a, Accept-Encoding \t\r\n"),
        ("Vary: a\r\nVary: b\r\n", "Vary: a, Accept-Encoding\r\nVary: b\r\n"),
        ("Vary: Origin, accept-encoding\r\n", "Vary: Origin, accept-encoding\r\n"),
        ("Vary: a\r\nVary: Accept-Encoding\r\n", "Vary: a\r\nVary: Accept-Encoding\r\n"),
        ("Vary: *\r\n", "Vary: *\r\n"),
        ("", "Vary: Accept-Encoding\r\n"),
    ] {
        let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        assert_eq!(rewritten(&head(before), Form::Varied), head(after));
    }
}

#[test]
fn a_head_without_its_end_is_written_as_well() {
    assert_eq!(
        rewritten("HTTP/1.1 200 OK\r\nA: b\r\n", Form::Varied),
        "HTTP/1.1 200 OK\r\nA: b\r\nVary: Accept-Encoding\r\n"
    );
    assert_eq!(rewritten("", Form::Varied), "Vary: Accept-Encoding\r\n");
}

#[test]
fn a_tag_that_is_none_is_left_alone() {
    for tag in ["W/\"a\"", "a", "\"a", "\"a\"b\"", "'a'"] {
        let head = format!("HTTP/1.1 200 OK\r\nETag: {tag}\r\nVary: *\r\n\r\n");
        assert_eq!(rewritten(&head, Form::Changed(None)), head);
    }
}

#[test]
fn a_validation_is_weak_where_the_client_asked_by_the_weak_tag() {
    let form =
        |way, status, asked: &str| Form::of(way, status, Some(b"\"a\""), std::iter::once(asked.as_bytes()));
    for (asked, want) in [
        ("W/\"a\"", true),
        ("\"b\", W/\"a\"", true),
        ("\"a\"", false),
        ("W/\"ab\"", false),
        ("*", false),
        ("", false),
    ] {
        let weak = Some(Form::Changed(None)).filter(|_| want);
        assert_eq!(form(Way::AsItCame, 304, asked), weak, "{asked}");
        assert_eq!(form(Way::Varied, 304, asked), weak.or(Some(Form::Varied)), "{asked}");
        assert_eq!(form(Way::AsItCame, 200, asked), None, "{asked}");
    }
}

#[test]
fn a_304_names_no_coding() {
    let none = std::iter::empty;
    assert_eq!(Form::of(Way::Encode(Coding::Brotli), 304, None, none()), Some(Form::Changed(None)));
    assert_eq!(
        Form::of(Way::Encode(Coding::Brotli), 200, None, none()),
        Some(Form::Changed(Some(Coding::Brotli)))
    );
    assert_eq!(Form::of(Way::Decode(Coding::Brotli), 200, None, none()), Some(Form::Changed(None)));
}
