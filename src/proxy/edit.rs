//! What a listener and a route change in the fields of a head that has been written.

use super::core::Core;
use crate::http::{Name, list};
use crate::route::fields::{Edits, Missing, Present};

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

/// What changes in the fields of a message.
#[derive(Clone, Copy)]
pub(super) struct Changes<'a> {
    /// What a route changes.
    pub(super) edits: &'a Edits,
    /// What is hidden beside that; of a response alone.
    pub(super) hidden: [Option<&'a Edits>; 2],
    /// Lines that come on top.
    pub(super) lines: &'a [u8],
    /// Lines that come where there are none of that name: some always, and some that only a client gets that came by
    /// https.
    pub(super) missing: Option<(&'a Missing, Option<&'a Missing>)>,
    /// What Vary has to name.
    pub(super) vary: Option<&'a [u8]>,
}

impl<'a> From<&'a Edits> for Changes<'a> {
    fn from(edits: &'a Edits) -> Changes<'a> {
        Changes { edits, hidden: [None; 2], lines: b"", missing: None, vary: None }
    }
}

impl<'a> Changes<'a> {
    /// What of it is for an interim response too, which is no answer yet: what is hidden stays so.
    pub(super) fn of_interim(self) -> Option<Changes<'a>> {
        let [hidden, cors] = self.hidden;
        Some(Changes { hidden: [cors, None], ..hidden?.into() })
    }

    /// Whether a field that the message brought goes.
    pub(super) fn removes(&self, name: &[u8]) -> bool {
        self.edits.removes(name) || self.hidden.iter().flatten().any(|hidden| hidden.removes(name))
    }
}

/// Takes the fields that go out of the head at the front of `text`, and puts `lines` into it, and what else changes.
/// What follows the head stays.
pub(super) fn head<'a>(
    core: &Core,
    side: Side,
    text: &mut Vec<u8>,
    changes: impl Into<Changes<'a>>,
    lines: &[u8],
) {
    let mut edited = core.edited.borrow_mut();
    edited.clear();
    write(&mut edited, side, text, &changes.into(), lines);
    std::mem::swap(text, &mut edited);
}

fn write(out: &mut Vec<u8>, side: Side, text: &[u8], changes: &Changes<'_>, lines: &[u8]) {
    let mut seen = Seen::default();
    let mut rest = text;
    let mut is_first = true;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at(end + 1);
        if line == b"\r\n" {
            break;
        }
        let name = name_of(line);
        if is_first {
            out.extend_from_slice(line);
        } else if side.is_ours(name) || !changes.removes(name) {
            out.extend_from_slice(line);
            seen.see(changes, line, out.len());
        }
        is_first = false;
        rest = behind;
    }
    for lines in [lines, changes.lines] {
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            out.extend_from_slice(line);
            seen.see(changes, line, out.len());
        }
    }
    if let Some((always, by_https)) = changes.missing {
        always.write(seen.always, out);
        by_https.iter().for_each(|lines| lines.write(seen.by_https, out));
    }
    if let Some(vary) = changes.vary.filter(|_| !seen.varies) {
        match seen.vary {
            Some(end) => drop(out.splice(end..end, b", ".iter().chain(vary).copied())),
            None => [b"Vary: ", vary, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part)),
        }
    }
    out.extend_from_slice(rest);
}

/// What a message has of the fields that it may get.
#[derive(Default)]
struct Seen {
    always: Present,
    by_https: Present,
    /// Where the value of the first Vary ends that is not empty.
    vary: Option<usize>,
    /// Whether one names what it has to, or everything.
    varies: bool,
}

impl Seen {
    /// Takes note of a line that was just written up to `end`.
    fn see(&mut self, changes: &Changes<'_>, line: &[u8], end: usize) {
        let name = name_of(line);
        if let Some((always, by_https)) = changes.missing {
            always.see(name, &mut self.always);
            by_https.iter().for_each(|lines| lines.see(name, &mut self.by_https));
        }
        if let Some(vary) = changes.vary.filter(|_| name.eq_ignore_ascii_case(b"vary")) {
            let value = line.get(name.len() + 1..).unwrap_or_default();
            self.varies |=
                list::has_token(value.trim_ascii(), vary) || list::has_token(value.trim_ascii(), b"*");
            let behind = value.len() - value.trim_ascii_end().len();
            if behind < value.len() {
                self.vary.get_or_insert(end - behind);
            }
        }
    }
}

fn name_of(line: &[u8]) -> &[u8] {
    memchr::memchr(b':', line).map_or(line, |end| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::route::FieldEdits;

    fn edited(side: Side, remove: &[&str], text: &str, lines: &str) -> String {
        let remove = remove.iter().map(|&name| name.to_owned()).collect();
        let edits = Edits::new(&FieldEdits { remove, ..FieldEdits::default() });
        let mut out = Vec::new();
        write(&mut out, side, text.as_bytes(), &(&edits).into(), lines.as_bytes());
        String::from_utf8(out).unwrap()
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\n";

    fn varied(lines: &str, more: &str) -> String {
        let edits = Edits::default();
        let changes = Changes { vary: Some(b"Origin"), ..(&edits).into() };
        let mut out = Vec::new();
        let text = format!("{HEAD}{lines}\r\nVary: content\r\n\r\n");
        write(&mut out, Side::Response, text.as_bytes(), &changes, more.as_bytes());
        let out = String::from_utf8(out).unwrap();
        let lines = out.strip_prefix(HEAD).unwrap().strip_suffix("\r\nVary: content\r\n\r\n").unwrap();
        lines.to_owned()
    }

    #[test]
    fn vary_names_what_it_has_to_once() {
        for (lines, more, want) in [
            ("", "", "Vary: Origin\r\n"),
            ("A: b\r\n", "", "A: b\r\nVary: Origin\r\n"),
            ("Vary: Accept\r\nA: b\r\n", "C: d\r\n", "Vary: Accept, Origin\r\nA: b\r\nC: d\r\n"),
            ("Vary: Accept \r\n", "", "Vary: Accept, Origin \r\n"),
            ("vary: origin\r\n", "", "vary: origin\r\n"),
            ("Vary: a, ORIGIN ,b\r\n", "", "Vary: a, ORIGIN ,b\r\n"),
            ("Vary: *\r\n", "", "Vary: *\r\n"),
            ("Vary: Origin-Agent\r\n", "", "Vary: Origin-Agent, Origin\r\n"),
            ("Vary: a\r\nVary: origin\r\n", "", "Vary: a\r\nVary: origin\r\n"),
            ("Vary: a\r\nVary: b\r\n", "", "Vary: a, Origin\r\nVary: b\r\n"),
            ("Vary:\r\n", "", "Vary:\r\nVary: Origin\r\n"),
            ("", "Vary: a\r\n", "Vary: a, Origin\r\n"),
            ("Vary: a\r\n", "Vary: Origin\r\n", "Vary: a\r\nVary: Origin\r\n"),
        ] {
            assert_eq!(varied(lines, more), want, "{lines:?} {more:?}");
        }
    }

    #[test]
    fn what_is_missing_comes_and_what_is_hidden_goes() {
        let (edits, hidden) = (Edits::default(), |name: &str| {
            Edits::new(&FieldEdits { remove: vec![name.to_owned()], ..FieldEdits::default() })
        });
        let (server, cors) = (hidden("Server"), hidden("Access-Control-*"));
        let always = Missing::new([("X-A", "1"), ("X-B", "2"), ("Server", "none")]);
        let by_https = Missing::new([("S", "3")]);
        let changes = Changes {
            hidden: [Some(&server), Some(&cors)],
            lines: b"Access-Control-Allow-Origin: b\r\n",
            missing: Some((&always, Some(&by_https))),
            ..(&edits).into()
        };
        let mut out = Vec::new();
        let text = "HTTP/1.1 200 OK\r\nServer: x\r\naccess-control-max-age: 1\r\nx-a: own\r\n\r\nX-B: c";
        write(&mut out, Side::Response, text.as_bytes(), &changes, b"S: set\r\n");
        let want = "HTTP/1.1 200 OK\r\nx-a: own\r\nS: set\r\nAccess-Control-Allow-Origin: b\r\nX-B: 2\r\n\
                    Server: none\r\n\r\nX-B: c";
        assert_eq!(String::from_utf8(out).unwrap(), want);
        assert!(changes.removes(b"server") && !changes.removes(b"X-A"));
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
