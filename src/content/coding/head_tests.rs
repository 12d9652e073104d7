use super::*;

fn rewritten(head: &str, form: Form, length: Length) -> String {
    let mut out = Vec::new();
    rewrite(&mut out, head.as_bytes(), form, length);
    String::from_utf8(out).unwrap()
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n\
    Content-MD5: x\r\nDigest: y\r\nRepr-Digest: z\r\nContent-Digest: z\r\nX-Digest: kept\r\nContent-Length: 9\r\n\
    \r\nETag: \"content\"\r\n";

#[test]
fn what_describes_the_bytes_goes_and_the_tag_is_weak() {
    assert_eq!(
        rewritten(HEAD, Form::Changed(Some(Coding::Gzip)), Length::Unknown),
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: W/\"a\"\r\nX-Digest: kept\r\n\
         Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n\r\nETag: \"content\"\r\n"
    );
    let coded = "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 9\r\nETag: W/\"a\"\r\n\r\n";
    assert_eq!(
        rewritten(coded, Form::Changed(None), Length::Holds),
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: W/\"a\"\r\nVary: Accept-Encoding\r\n\r\n"
    );
}

#[test]
fn what_only_varies_says_only_that() {
    let want = HEAD.replace("9\r\n\r\n", "9\r\nVary: Accept-Encoding\r\n\r\n");
    assert_eq!(rewritten(HEAD, Form::Varied, Length::Holds), want);
}

#[test]
fn vary_is_merged() {
    for (before, after) in [
        ("Vary: Origin\r\n", "Vary: Origin, Accept-Encoding\r\n"),
        ("vary: \r\n", "Vary: Accept-Encoding\r\n"),
        ("Vary: a\r\nVary: b\r\n", "Vary: a, Accept-Encoding\r\nVary: b\r\n"),
        ("Vary: Origin, accept-encoding\r\n", "Vary: Origin, accept-encoding\r\n"),
        ("Vary: a\r\nVary: Accept-Encoding\r\n", "Vary: a\r\nVary: Accept-Encoding\r\n"),
        ("Vary: *\r\n", "Vary: *\r\n"),
        ("", "Vary: Accept-Encoding\r\n"),
    ] {
        let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        assert_eq!(rewritten(&head(before), Form::Varied, Length::Holds), head(after));
    }
}

#[test]
fn a_head_without_its_end_is_written_as_well() {
    assert_eq!(
        rewritten("HTTP/1.1 200 OK\r\nA: b\r\n", Form::Varied, Length::Holds),
        "HTTP/1.1 200 OK\r\nA: b\r\nVary: Accept-Encoding\r\n"
    );
    assert_eq!(rewritten("", Form::Varied, Length::Holds), "Vary: Accept-Encoding\r\n");
}

#[test]
fn a_tag_that_is_none_is_left_alone() {
    for tag in ["W/\"a\"", "a", "\"a", "\"a\"b\"", "'a'"] {
        let head = format!("HTTP/1.1 200 OK\r\nETag: {tag}\r\nVary: *\r\n\r\n");
        assert_eq!(rewritten(&head, Form::Changed(None), Length::Holds), head);
    }
}

#[test]
fn a_validation_is_weak_where_the_client_asked_by_the_weak_tag() {
    let head = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n";
    for (asked, want) in [
        ("W/\"a\"", true),
        ("\"b\", W/\"a\"", true),
        ("\"a\"", false),
        ("W/\"ab\"", false),
        ("*", false),
        ("", false),
    ] {
        let mut out = Vec::new();
        let is_ours = rewrite_validated(&mut out, head.as_bytes(), std::iter::once(asked.as_bytes()));
        assert_eq!(is_ours, want, "{asked}");
        if is_ours {
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out, "HTTP/1.1 304 Not Modified\r\nETag: W/\"a\"\r\nVary: Accept-Encoding\r\n\r\n");
        }
    }
}
