//! What a service says of a request that it does not let go on, as the client is told it; and where a browser is sent
//! instead to sign in.

use super::identity::{Sent, challenge, sent};
use super::{Checking, Turned};
use crate::config::identity::{ForwardAuth, URL_ASKED};
use crate::error::Reason;
use crate::h1::encode::Persistence;
use crate::http::{Method, Name, list, status};
use crate::net::buffer::Class;
use crate::proxy::checks::subrequest::Said;
use crate::proxy::request::routing::{asked_host, normal_path, target_parts};
use crate::proxy::response::amend;
use crate::proxy::snapshot::{By, IdentityRules, Way};

/// Fields of a service's answer that the client gets.
const TO_CLIENT: &[&[u8]] = &[
    b"www-authenticate",
    b"location",
    b"set-cookie",
    b"content-type",
    b"content-language",
    b"content-encoding",
    b"cache-control",
    b"retry-after",
];

impl Checking<'_> {
    /// Answers with what the service of a way has said.
    pub(super) fn answer(&mut self, rules: &IdentityRules, way: &Way, said: &Said) -> Turned {
        let (core, read) = (self.core, self.read);
        let sign_in = self.sign_in(way, said);
        let (status, content) = match sign_in {
            Some(_) => (302, &b""[..]),
            None => (said.status, &said.content[..]),
        };
        let mut text = core.take_text();
        let mut digits = itoa::Buffer::new();
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| text.extend_from_slice(part));
        put(&[b"HTTP/1.1 ", digits.format(status).as_bytes(), b" "]);
        put(&[status::phrase(status).as_bytes(), b"\r\nDate: ", core.date.borrow().as_bytes(), b"\r\n"]);
        let mut has_control = false;
        // Of one that is sent elsewhere, the session may still be ended.
        let is_wanted = |name: &[u8]| match sign_in {
            Some(_) => name.eq_ignore_ascii_case(b"set-cookie"),
            None => TO_CLIENT.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)),
        };
        for (known, name, value) in said.fields().iter().filter(|(known, ..)| !known.is_hop_by_hop()) {
            if is_wanted(name) {
                put(&[name, b": ", value, b"\r\n"]);
                has_control |= known == Name::CacheControl;
            }
        }
        if !has_control {
            put(&[b"Cache-Control: no-store\r\n"]);
        }
        if let Some(url) = sign_in {
            put(&[b"Location: "]);
            self.write_sign_in(url, &mut text);
            text.extend_from_slice(b"\r\n");
        }
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| text.extend_from_slice(part));
        let length = digits.format(content.len()).as_bytes();
        put(&[b"Via: 1.1 ", self.received.terms.via(), b"\r\nContent-Length: ", length, b"\r\n"]);
        if status == 401 {
            challenge(rules, sent(self.received).unwrap_or(Sent::Other), &mut text);
        }
        let keep_alive = self.keeps_alive();
        text.extend_from_slice(Persistence::of(keep_alive, read.head.version).field());
        text.extend_from_slice(b"\r\n");
        let is_head = read.asked.method == Method::Head;
        if !is_head {
            text.extend_from_slice(content);
        }
        amend::answer(core, &mut text, self.received.terms.response_changes());
        let mut buffer = core.buffers.take(Class::fitting(text.len()));
        let fits = buffer.append(&text);
        core.give_back_text(text);
        if !fits {
            return Reason::AuthUnavailable.into();
        }
        self.record.status = status;
        self.record.bytes = if is_head { 0 } else { content.len() as u64 };
        self.record.reason = if status == 403 { Reason::AuthRefused } else { Reason::Unauthenticated };
        Turned::Answered(buffer, keep_alive)
    }

    /// Where a browser is sent that the service wants to know more of: who asks for a page gets one to sign in at, and
    /// what a page asks for in the background gets the 401 that its script waits for.
    fn sign_in<'w>(&self, way: &'w Way, said: &Said) -> Option<&'w str> {
        let By::Forward { service, .. } = &way.by else { return None };
        let ForwardAuth { sign_in: Some(url), .. } = &**service else { return None };
        let is_page = || {
            let accepted = self.received.fields().values(Name::Accept).flat_map(list::elements);
            let mut types = accepted.filter_map(|one| one.split(|&byte| byte == b';').next());
            types.any(|one| one.trim_ascii().eq_ignore_ascii_case(b"text/html"))
        };
        let asks = matches!(self.read.asked.method, Method::Get | Method::Head);
        (said.status == 401 && asks && is_page()).then_some(url)
    }

    /// Writes that URL with the one that was asked for in it.
    fn write_sign_in(&self, url: &str, out: &mut Vec<u8>) {
        let (received, head) = (&*self.received, &self.read.head);
        let parts = target_parts(head, received.head_bytes());
        let told = |name| received.fields().first(name).filter(|_| self.peer.trusted);
        let scheme = told(Name::XForwardedProto).unwrap_or(b"http");
        let host = told(Name::XForwardedHost).unwrap_or_else(|| asked_host(received, head));
        let path = normal_path(&received.terms, parts.path);
        let query = parts.query.map_or([&b""[..]; 2], |query| [&b"?"[..], query]);
        for (at, text) in url.split(URL_ASKED).enumerate() {
            if at > 0 {
                [scheme, b"://", host, path, query[0], query[1]].iter().for_each(|part| escape(part, out));
            }
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Writes what is a part of a parameter's value: all but unreserved characters is escaped (RFC 3986, section 2.3).
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_value_of_a_parameter() {
        let mut out = Vec::new();
        escape(b"http://a-b/c_d.~?e=1&f=%20#\"\xff\r\n+", &mut out);
        let want = "http%3A%2F%2Fa-b%2Fc_d.~%3Fe%3D1%26f%3D%2520%23%22%FF%0D%0A%2B";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
