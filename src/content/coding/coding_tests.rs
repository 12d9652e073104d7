use super::*;
use crate::http::Name;

const TYPES: [&str; 4] = ["text/*", "application/json", "*+xml", "image/bmp"];

fn way(lines: &[(Name, &str)], length: Option<u64>, status: u16, accept: &str) -> Way {
    let types = TYPES.map(str::to_owned);
    let wanted =
        Wanted { codings: &[Coding::Brotli, Coding::Gzip], types: &types, bytes_min: 100, decodes: true };
    let facts = Facts::of(status, length, lines.iter().map(|(name, value)| (*name, value.as_bytes())));
    decide(&wanted, &facts, &Accepts::of(std::iter::once(accept.as_bytes())))
}

#[test]
fn types_fit_patterns() {
    let types = TYPES.map(str::to_owned);
    for (value, fits) in [
        ("text/html", true),
        ("TEXT/Plain; charset=utf-8", true),
        ("application/json ;x", true),
        ("image/svg+XML", true),
        ("text/", false),
        ("+xml", false),
        ("application/jsonx", false),
        ("image/png", false),
        ("", false),
        (";text/html", false),
    ] {
        assert_eq!(is_listed(value.as_bytes(), &types), fits, "{value}");
    }
    assert!(type_fits(b"*/*", b"anything/at-all"));
}

#[test]
fn what_may_be_compressed_is() {
    let html = (Name::ContentType, "text/html");
    let gzip = Way::Encode(Coding::Gzip);
    for (lines, length, status, accept, want) in [
        (&[html][..], Some(100), 200, "gzip", gzip),
        (&[html], None, 200, "gzip", gzip),
        (&[html], None, 200, "gzip, br", Way::Encode(Coding::Brotli)),
        (&[html], None, 404, "gzip", gzip),
        (&[html], None, 503, "gzip", gzip),
        (&[html], None, 203, "gzip", gzip),
        (&[html], None, 200, "identity", Way::Varied),
        (&[html], Some(99), 200, "gzip", Way::AsItCame),
        (&[html], Some(0), 200, "gzip", Way::AsItCame),
        (&[html], Some(5), 206, "gzip", Way::Varied),
        (&[html, (Name::ContentRange, "bytes 0-1/2")], Some(2), 206, "gzip", Way::Varied),
        (&[html, (Name::ContentRange, "bytes 0-1/2")], Some(2), 206, "", Way::Varied),
        (&[html, (Name::CacheControl, "no-transform")], None, 206, "gzip", Way::AsItCame),
        (&[(Name::ContentType, "image/png")], None, 206, "gzip", Way::AsItCame),
        (&[html, (Name::ContentEncoding, "br")], None, 206, "gzip", Way::Varied),
        (&[], None, 304, "gzip", Way::AsItCame),
        (&[html], None, 204, "gzip", Way::AsItCame),
        (&[html], None, 304, "gzip", Way::Varied),
        (&[html], None, 302, "gzip", Way::AsItCame),
        (&[], None, 200, "gzip", Way::AsItCame),
        (&[(Name::ContentType, "image/png")], None, 200, "gzip", Way::AsItCame),
        (&[html, (Name::ContentType, "text/plain")], None, 200, "gzip", Way::AsItCame),
        (&[html, (Name::CacheControl, "private, No-Transform")], None, 200, "gzip", Way::AsItCame),
        (&[html, (Name::CacheControl, "x=\"no-transform\"")], None, 200, "gzip", gzip),
        (&[html, (Name::ContentRange, "bytes 0-1/2")], None, 200, "gzip", Way::AsItCame),
        (&[html, (Name::ContentEncoding, "identity")], None, 200, "gzip", gzip),
        (&[html, (Name::ContentEncoding, "")], None, 200, "gzip", gzip),
    ] {
        assert_eq!(way(lines, length, status, accept), want, "{lines:?} {length:?} {status} {accept}");
    }
}

#[test]
fn what_a_client_cannot_read_is_taken_apart() {
    let html = (Name::ContentType, "text/html");
    for (coding, accept, want) in [
        ("gzip", "gzip", Way::Varied),
        ("x-gzip", "identity", Way::Decode(Coding::Gzip)),
        ("gzip", "br", Way::Decode(Coding::Gzip)),
        ("BR", "gzip", Way::Decode(Coding::Brotli)),
        ("zstd", "", Way::Decode(Coding::Zstd)),
        ("deflate", "", Way::AsItCame),
        ("gzip, br", "", Way::AsItCame),
        ("aes128gcm", "", Way::AsItCame),
    ] {
        let lines = [html, (Name::ContentEncoding, coding)];
        assert_eq!(way(&lines, None, 200, accept), want, "{coding} for {accept:?}");
        let binary = [(Name::ContentType, "image/png"), (Name::ContentEncoding, coding)];
        assert_eq!(way(&binary, Some(3), 200, accept), want, "whatever type and length");
        let fixed = [html, (Name::ContentEncoding, coding), (Name::CacheControl, "no-transform")];
        assert_eq!(way(&fixed, None, 200, accept), Way::AsItCame);
    }
    let twice = [html, (Name::ContentEncoding, "gzip"), (Name::ContentEncoding, "gzip")];
    assert_eq!(way(&twice, None, 200, "identity"), Way::AsItCame);
}
