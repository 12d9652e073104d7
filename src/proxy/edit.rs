//! What a route changes in the fields of a head that has been written.

use super::core::Core;
use crate::http::Name;
use crate::route::fields::Edits;

/// Which kind of message a head begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

impl Side {
    /// Whether the proxy itself writes the field there: what a rule such as `X-*` takes away is what others wrote.
    fn is_ours(self, name: &[u8]) -> bool {
        match (self, Name::recognise(name)) {
            (
                _,
                Name::Connection | Name::ContentLength | Name::TransferEncoding | Name::Upgrade | Name::Via,
            ) => true,
            (Side::Request, name) => matches!(
                name,
                Name::Expect
                    | Name::MaxForwards
                    | Name::Te
                    | Name::XForwardedFor
                    | Name::XForwardedHost
                    | Name::XForwardedProto
                    | Name::XRequestId
            ),
            (Side::Response, name) => matches!(name, Name::CacheStatus | Name::XCache),
        }
    }
}

/// Takes the fields that go out of the head at the front of `text`, and puts `lines` into it. What follows the
/// head stays.
pub(super) fn head(core: &Core, side: Side, text: &mut Vec<u8>, edits: &Edits, lines: &[u8]) {
    let mut edited = core.take_text();
    write(&mut edited, side, text, edits, lines);
    std::mem::swap(text, &mut edited);
    core.give_back_text(edited);
}

fn write(out: &mut Vec<u8>, side: Side, text: &[u8], edits: &Edits, lines: &[u8]) {
    let mut rest = text;
    let mut is_first = true;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at(end + 1);
        if line == b"\r\n" {
            out.extend_from_slice(lines);
            break;
        }
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if is_first || side.is_ours(name) || !edits.removes(name) {
            out.extend_from_slice(line);
        }
        is_first = false;
        rest = behind;
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::route::FieldEdits;

    fn edited(side: Side, remove: &[&str], text: &str, lines: &str) -> String {
        let remove = remove.iter().map(|&name| name.to_owned()).collect();
        let edits = Edits::new(&FieldEdits { remove, ..FieldEdits::default() });
        let mut out = Vec::new();
        write(&mut out, side, text.as_bytes(), &edits, lines.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_go_and_come_and_content_stays() {
        let text = "HTTP/1.1 200 OK\r\nServer: a\r\nX-B: c\r\nx-d: e\r\n\r\nServer: b\r\n\r\n";
        assert_eq!(
            edited(Side::Response, &["server", "X-*"], text, "F: g\r\n"),
            "HTTP/1.1 200 OK\r\nF: g\r\n\r\nServer: b\r\n\r\n"
        );
    }

    #[test]
    fn what_the_proxy_says_itself_stays() {
        let text =
            "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\nX-Forwarded-For: c\r\nX-Request-Id: d\r\nVia: e\r\n\r\n";
        assert_eq!(edited(Side::Request, &["X-*", "V*"], text, ""), text.replace("X-A: b\r\n", ""));
        let text = "HTTP/1.1 200 OK\r\nX-Request-Id: a\r\nX-Cache: HIT\r\n\r\n";
        assert_eq!(edited(Side::Response, &["X-*"], text, ""), "HTTP/1.1 200 OK\r\nX-Cache: HIT\r\n\r\n");
    }
}
