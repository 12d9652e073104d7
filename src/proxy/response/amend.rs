//! What a listener and a route change in the field lines of a head, while they are written.

use crate::content::coding::head::{self, Form, Line};
use crate::h1::amend::{Amend, write_line};
use crate::http::Name;
use crate::http::fields::{Written, written_lines};
use crate::http::vary::Varying;
use crate::proxy::core::Core;
use crate::route::fields::{Edits, Missing, Present};

/// Which kind of message a head begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Side {
    Request,
    Response,
}

impl Side {
    /// Whether the proxy itself writes the field there: what a rule such as `X-*` takes away is what others wrote.
    fn is_ours(self, name: Name) -> bool {
        match (self, name) {
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
pub(in crate::proxy) struct Changes<'a> {
    /// What a route changes.
    pub(in crate::proxy) edits: &'a Edits,
    /// What is hidden beside that; of a response alone.
    pub(in crate::proxy) hidden: [Option<&'a Edits>; 2],
    /// Lines that come on top.
    pub(in crate::proxy) lines: [&'a [u8]; 2],
    /// Lines that come where there are none of that name: some always, and some that only a client gets that came by
    /// https.
    pub(in crate::proxy) missing: Option<(&'a Missing, Option<&'a Missing>)>,
    /// What Vary has to name.
    pub(in crate::proxy) vary: Option<&'a [u8]>,
}

impl<'a> Changes<'a> {
    /// What a route changes, and the lines that come on top.
    pub(in crate::proxy) fn new(edits: &'a Edits, lines: &'a [u8]) -> Changes<'a> {
        Changes { edits, hidden: [None; 2], lines: [lines, b""], missing: None, vary: None }
    }

    /// What of it is for an interim response too, which is no answer yet: what is hidden stays so.
    pub(in crate::proxy) fn of_interim(self) -> Option<Changes<'a>> {
        let [hidden, cors] = self.hidden;
        Some(Changes { hidden: [cors, None], ..Changes::new(hidden?, b"") })
    }

    /// Whether a field that the message brought goes.
    pub(in crate::proxy) fn removes(&self, name: &[u8]) -> bool {
        self.edits.removes(name) || self.hidden.iter().flatten().any(|hidden| hidden.removes(name))
    }
}

/// All that changes in the field lines of a head, line by line.
pub(in crate::proxy) struct Amendments<'a> {
    side: Side,
    /// What the head has to say of its content.
    form: Option<Form>,
    changes: Option<Changes<'a>>,
    /// Which of the lines that may be missing are there.
    always: Present,
    by_https: Present,
    vary: Varying<'a>,
}

impl<'a> Amendments<'a> {
    /// None where nothing changes.
    pub(in crate::proxy) fn new(
        side: Side,
        form: Option<Form>,
        changes: Option<Changes<'a>>,
    ) -> Option<Amendments<'a>> {
        if form.is_none() && changes.is_none() {
            return None;
        }
        let vary = Varying::new([form.map(|_| head::VARY), changes.and_then(|changes| changes.vary)]);
        let (always, by_https) = (Present::default(), Present::default());
        Some(Amendments { side, form, changes, always, by_https, vary })
    }

    /// Takes note of a line that was just written.
    fn see(&mut self, known: Name, name: &[u8], value: &[u8], out: &[u8]) {
        if let Some((always, by_https)) = self.changes.and_then(|changes| changes.missing) {
            always.see(name, &mut self.always);
            by_https.iter().for_each(|lines| lines.see(name, &mut self.by_https));
        }
        if known == Name::Vary {
            self.vary.see(value, out.len() - b"\r\n".len());
        }
    }
}

impl Amend for Amendments<'_> {
    fn line(&mut self, out: &mut Vec<u8>, known: Name, name: &[u8], value: &[u8]) {
        let becomes = self.form.map_or(Line::Stays, |form| form.line(known, name, value));
        let goes = || self.changes.is_some_and(|changes| changes.removes(name));
        if becomes == Line::Goes || !self.side.is_ours(known) && goes() {
            return;
        }
        match becomes {
            Line::Weakens => {
                [b"ETag: W/", value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part))
            }
            _ => write_line(out, name, value),
        }
        self.see(known, name, value, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(coding) = self.form.and_then(Form::coding) {
            write_line(out, b"Content-Encoding", coding.name().as_bytes());
        }
        if let Some(changes) = self.changes {
            for Written { known, name, value, line } in changes.lines.into_iter().flat_map(written_lines) {
                out.extend_from_slice(line);
                self.see(known, name, value, out);
            }
            if let Some((always, by_https)) = changes.missing {
                always.write(self.always, out);
                by_https.iter().for_each(|lines| lines.write(self.by_https, out));
            }
        }
        self.vary.write(out);
    }
}

/// Writes the lines of a head that is kept as text, up to its end.
pub(in crate::proxy) fn copy(out: &mut Vec<u8>, text: &[u8], amend: Option<&mut Amendments<'_>>) {
    let Some(amend) = amend else { return out.extend_from_slice(text) };
    let first = memchr::memchr(b'\n', text).map_or(text.len(), |end| end + 1);
    out.extend_from_slice(&text[..first]);
    for Written { known, name, value, .. } in written_lines(&text[first..]) {
        amend.line(out, known, name, value);
    }
}

/// Changes the head at the front of an answer that the proxy wrote itself.
pub(in crate::proxy) fn answer(core: &Core, text: &mut Vec<u8>, changes: Option<Changes<'_>>) {
    let Some(mut amend) = Amendments::new(Side::Response, None, changes) else { return };
    let end = memchr::memmem::find(text, b"\r\n\r\n").map_or(text.len(), |end| end + b"\r\n".len());
    let mut edited = core.edited.borrow_mut();
    edited.clear();
    copy(&mut edited, &text[..end], Some(&mut amend));
    amend.end(&mut edited);
    edited.extend_from_slice(&text[end..]);
    std::mem::swap(text, &mut edited);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::route::FieldEdits;
    use crate::http::coding::Coding;

    fn amended(side: Side, form: Option<Form>, changes: Changes<'_>, text: &str) -> String {
        let mut amend = Amendments::new(side, form, Some(changes)).unwrap();
        let mut out = Vec::new();
        copy(&mut out, text.as_bytes(), Some(&mut amend));
        amend.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn removal(names: &[&str]) -> Edits {
        let remove = names.iter().map(|&name| name.to_owned()).collect();
        Edits::new(&FieldEdits { remove, ..FieldEdits::default() })
    }

    fn edited(side: Side, remove: &[&str], text: &str, lines: &str) -> String {
        amended(side, None, Changes::new(&removal(remove), lines.as_bytes()), text)
    }

    #[test]
    fn what_is_missing_comes_and_what_is_hidden_goes() {
        let (edits, hidden) = (Edits::default(), removal(&["Server"]));
        let (always, by_https) = (Missing::new([("X-A", "1"), ("X-B", "2")]), Missing::new([("X-S", "3")]));
        let changes = |is_https: bool| Changes {
            hidden: [Some(&hidden), None],
            missing: Some((&always, is_https.then_some(&by_https))),
            ..Changes::new(&edits, b"X-C: 4\r\n")
        };
        let text = "HTTP/1.1 200 OK\r\nServer: b\r\nx-a: own\r\n";
        let plain = amended(Side::Response, None, changes(false), text);
        assert_eq!(plain, "HTTP/1.1 200 OK\r\nx-a: own\r\nX-C: 4\r\nX-B: 2\r\n");
        assert_eq!(amended(Side::Response, None, changes(true), text), format!("{plain}X-S: 3\r\n"));
        let said = Changes { lines: [b"X-B: x\r\n", b""], ..changes(false) };
        let want = "HTTP/1.1 200 OK\r\nx-a: own\r\nX-B: x\r\n";
        assert_eq!(amended(Side::Response, None, said, text), want);
    }

    #[test]
    fn fields_go_and_come() {
        let text = "HTTP/1.1 200 OK\r\nServer: a\r\nX-A: b\r\nE: f\r\n";
        assert_eq!(
            edited(Side::Response, &["server", "X-*"], text, "F: g\r\n"),
            "HTTP/1.1 200 OK\r\nE: f\r\nF: g\r\n"
        );
    }

    #[test]
    fn what_the_proxy_says_itself_stays() {
        let text = "GET / HTTP/1.1\r\nVia: 1.1 a\r\nX-A: b\r\nX-Request-Id: c\r\n";
        assert_eq!(edited(Side::Request, &["X-*", "V*"], text, ""), text.replace("X-A: b\r\n", ""));
        let text = "HTTP/1.1 200 OK\r\nX-Cache: HIT\r\nX-Request-Id: c\r\n";
        assert_eq!(edited(Side::Response, &["X-*"], text, ""), "HTTP/1.1 200 OK\r\nX-Cache: HIT\r\n");
    }

    #[test]
    fn a_coding_of_ours_is_named_whatever_goes() {
        let text =
            "HTTP/1.1 200 OK\r\nVary: A\r\nContent-Encoding: br\r\nETag: \"a\"\r\nContent-Length: 9\r\n";
        let form = Some(Form::Changed(Some(Coding::Gzip)));
        let edits = removal(&["Vary", "Content-Encoding"]);
        assert_eq!(
            amended(Side::Response, form, Changes::new(&edits, b""), text),
            "HTTP/1.1 200 OK\r\nETag: W/\"a\"\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
        );
        let edits = removal(&["E*"]);
        let cors = Changes { vary: Some(b"Origin"), ..Changes::new(&edits, b"") };
        assert_eq!(
            amended(Side::Response, Some(Form::Varied), cors, text),
            "HTTP/1.1 200 OK\r\nVary: A, Accept-Encoding, Origin\r\nContent-Encoding: br\r\nContent-Length: 9\r\n"
        );
    }

    #[test]
    fn a_vary_that_is_set_is_added_to() {
        let edits = removal(&["Vary"]);
        let cors = Changes { vary: Some(b"Origin"), ..Changes::new(&edits, b"Vary: Cookie\r\n") };
        let text = "HTTP/1.1 200 OK\r\nvary: Origin\r\n";
        let want = "HTTP/1.1 200 OK\r\nVary: Cookie, Origin\r\n";
        assert_eq!(amended(Side::Response, None, cors, text), want);
    }
}
