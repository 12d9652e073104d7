//! Templates rendered: what a variable stands for in one exchange, written so that it cannot become more than
//! the place it is written to has room for.
//!
//! The text of a template is its author's and means what it says; a value is the client's and is data. So a
//! value never ends a line, a segment or a parameter, whatever bytes it has.

use super::escape;
pub use super::escape::Escape;
use crate::config::template::{Part, Template, Variable};
use crate::http::{Fields, cookie, query};

/// Everything that variables can stand for in one exchange.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// The client's address, as text.
    pub client_ip: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// The host asked for, as it was sent: in any case, maybe with a port.
    pub host: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The path in normal form.
    pub path: &'a [u8],
    /// The query as it was sent, without the question mark; `None` if there is no question mark.
    pub query: Option<&'a [u8]>,
    /// The request's id.
    pub request_id: &'a [u8],
    /// The listener's name.
    pub listener: &'a [u8],
    /// The route's name.
    pub route: &'a [u8],
    /// The fields of the request.
    pub fields: Fields<'a>,
    /// What the route's path captured by a name, still encoded. What it does not know is empty.
    pub captures: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

/// Where a template is rendered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The value of a field.
    Field,
    /// The URL in a field such as Location. What no URL can have is percent-encoded, and behind a `?` in the
    /// template values are those of parameters, as in [`Place::QueryValue`]. A URL that begins with one slash
    /// does not come to begin with two, which would name another host.
    Location,
    /// A path. What was captured and `{path}` stand as they are; any other value is percent-encoded so that it
    /// stays within its segment. No segment may come out as `.` or `..`, in any encoding.
    Path,
    /// The value of a parameter, or a query with values in it. Values are percent-encoded; of what was captured
    /// and of `{path}` the escapes are kept, and `{query}` stands as it is.
    QueryValue,
    /// A message's content. See [`Escape::of`].
    Content(Escape),
}

/// Why a template cannot be rendered with the values at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// A value has a control character where it would do harm: one that ends a line, above all.
    Control,
    /// A path would have a segment that leads elsewhere.
    DotSegment,
    /// A URL that is a path would name another host.
    OtherHost,
    /// A URL would be empty.
    Nowhere,
    /// A value in HTML or JSON is no UTF-8.
    NotText,
    /// The result is longer than it may be.
    TooLong,
}

impl BadValue {
    /// For logs and explanations.
    pub const fn sentence(self) -> &'static str {
        match self {
            BadValue::Control => "a value has a control character in it",
            BadValue::DotSegment => "a value would make a path lead elsewhere",
            BadValue::OtherHost => "a value would make a path name another host",
            BadValue::Nowhere => "without a value a URL is empty",
            BadValue::NotText => "a value is no UTF-8",
            BadValue::TooLong => "a value is too long",
        }
    }
}

/// Appends the template with its values, at most `bytes_max` bytes.
///
/// # Errors
/// [`BadValue`]; then `out` is as it was.
pub fn render(
    template: &Template,
    values: &Values<'_>,
    place: Place,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), BadValue> {
    let start = out.len();
    let rendered = render_parts(template, values, place, start + bytes_max, out);
    let judged = rendered.and_then(|()| judge(template, place, start, out));
    if judged.is_err() {
        out.truncate(start);
    }
    judged
}

fn render_parts(
    template: &Template,
    values: &Values<'_>,
    place: Place,
    end_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), BadValue> {
    let start = out.len();
    let mut is_query = place == Place::QueryValue;
    for part in template.parts() {
        match part {
            Part::Text(text) => {
                put_text(text.as_bytes(), place, out)?;
                // Behind its `?`, a URL is a query.
                is_query |= place == Place::Location && text.contains(['?', '#']);
            }
            Part::Variable(variable) if is_query => put_parameter(Value::of(variable, values), place, out),
            Part::Variable(variable) => {
                let value = out.len();
                // `{path}` begins with the slash that ends it.
                let names_host =
                    place == Place::Location && *variable != Variable::Path && is_at_host(&out[start..]);
                put_value(Value::of(variable, values), place, out)?;
                // A value does not end the host that the template began.
                if names_host && !out[value..].iter().all(|&byte| escape::is_host_byte(byte)) {
                    return Err(BadValue::OtherHost);
                }
            }
        }
        if out.len() > end_max {
            return Err(BadValue::TooLong);
        }
    }
    Ok(())
}

/// Says whether the whole is sound, and tidies it.
fn judge(template: &Template, place: Place, start: usize, out: &mut Vec<u8>) -> Result<(), BadValue> {
    match place {
        Place::Path if has_dot_segment(&out[start..]) => Err(BadValue::DotSegment),
        Place::Location => {
            let is_path = matches!(template.parts(), [Part::Text(text), ..]
                if text.starts_with('/') && !text.starts_with("//"));
            let is_path = is_path || matches!(template.parts(), [Part::Variable(Variable::Path), ..]);
            if is_path && out[start..].starts_with(b"//") || names_no_host(&out[start..]) {
                return Err(BadValue::OtherHost);
            }
            // `{path}?{query}` where there is no query.
            if out[start..].ends_with(b"?") {
                out.pop();
            }
            if out.len() == start { Err(BadValue::Nowhere) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Whether a URL with a scheme has no host.
fn names_no_host(url: &[u8]) -> bool {
    let rest = memchr::memmem::find(url, b"://").map(|end| &url[end + 3..]);
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b'?' | b'#' | b':')))
}

/// Whether what is written so far is a URL up to its host, or within it: what comes next is a part of that.
fn is_at_host(url: &[u8]) -> bool {
    let rest = match memchr::memmem::find(url, b"//") {
        Some(0) => &url[2..],
        Some(at) if url[at - 1] == b':' => &url[at + 2..],
        _ => return false,
    };
    !rest.iter().any(|byte| matches!(byte, b'/' | b'?' | b'#'))
}

/// Whether a segment of a path leads elsewhere: `.` or `..`, escaped or not, with a parameter behind it or not,
/// and between slashes that only some would see.
pub(super) fn has_dot_segment(path: &[u8]) -> bool {
    // How many dots the segment has, as long as it has nothing else.
    let mut dots = Some(0_usize);
    for byte in query::decoded(path).chain([b'/']) {
        dots = match byte {
            b'/' | b'\\' | b';' if matches!(dots, Some(1 | 2)) => return true,
            b'/' | b'\\' => Some(0),
            b'.' => dots.map(|count| count + 1),
            _ => None,
        };
    }
    false
}

/// What a variable stands for.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    /// As it was sent.
    pub(super) bytes: &'a [u8],
    form: Form,
}

/// What the bytes of a value are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// What they look like.
    Plain,
    /// A host, of which lower case is meant.
    Host,
    /// A part of a path, percent-encoded.
    Path,
    /// A query, percent-encoded.
    Query,
    /// The value of a parameter, of which the decoded one is meant.
    Parameter,
}

impl<'a> Value<'a> {
    pub(super) fn of(variable: &Variable, values: &Values<'a>) -> Value<'a> {
        let (host, port) = host_and_port(values.host);
        let (bytes, form) = match variable {
            Variable::ClientIp => (values.client_ip, Form::Plain),
            Variable::Scheme => (values.scheme, Form::Plain),
            Variable::Host => (host, Form::Host),
            Variable::Port => (port, Form::Plain),
            Variable::Method => (values.method, Form::Plain),
            Variable::Path => (values.path, Form::Path),
            Variable::Query => (values.query.unwrap_or_default(), Form::Query),
            Variable::RequestId => (values.request_id, Form::Plain),
            Variable::Listener => (values.listener, Form::Plain),
            Variable::Route => (values.route, Form::Plain),
            Variable::Header(name) => {
                (field(values.fields, name.as_bytes()).unwrap_or_default(), Form::Plain)
            }
            Variable::Cookie(name) => {
                (cookie::values(values.fields, name.as_bytes()).next().unwrap_or_default(), Form::Plain)
            }
            Variable::Parameter(name) => {
                let query = values.query.unwrap_or_default();
                (query::values(query, name.as_bytes()).next().unwrap_or_default(), Form::Parameter)
            }
            Variable::Capture(name) => ((values.captures)(name).unwrap_or_default(), Form::Path),
        };
        Value { bytes, form }
    }

    /// Hands on each byte that is meant.
    fn each(self, mut put: impl FnMut(u8)) {
        let told = self.try_each(|byte| {
            put(byte);
            Ok(())
        });
        debug_assert!(told.is_ok());
    }

    /// The same, up to the first that is refused.
    fn try_each(self, mut put: impl FnMut(u8) -> Result<(), BadValue>) -> Result<(), BadValue> {
        match self.form {
            Form::Parameter => query::decoded(self.bytes).try_for_each(put),
            Form::Host => self.bytes.iter().try_for_each(|byte| put(byte.to_ascii_lowercase())),
            Form::Plain | Form::Path | Form::Query => self.bytes.iter().try_for_each(|&byte| put(byte)),
        }
    }
}

/// The first line of that name; one that Connection named is for this connection only.
pub(super) fn field<'a>(fields: Fields<'a>, name: &[u8]) -> Option<&'a [u8]> {
    fields.named(name).next()
}

/// A host and its port. An IPv6 address keeps its brackets, and its colons.
fn host_and_port(host: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b':', host) {
        Some(colon) if !host[colon..].contains(&b']') => (&host[..colon], &host[colon + 1..]),
        _ => (host, b""),
    }
}

fn put_text(text: &[u8], place: Place, out: &mut Vec<u8>) -> Result<(), BadValue> {
    match place {
        Place::Path => escape::put_encoded(text, escape::is_path_byte, out),
        Place::QueryValue => escape::put_encoded(text, escape::is_target_byte, out),
        Place::Location => escape::put_bytes(text, escape::is_url_byte, out),
        Place::Field if text.iter().any(|&byte| is_harmful(byte)) => return Err(BadValue::Control),
        Place::Field | Place::Content(_) => out.extend_from_slice(text),
    }
    Ok(())
}

/// Appends a value to a query, of a target or of the URL of another place.
fn put_parameter(value: Value<'_>, place: Place, out: &mut Vec<u8>) {
    match value.form {
        Form::Path => escape::put_encoded(value.bytes, escape::is_parameter_byte, out),
        Form::Query if place == Place::Location => escape::put_bytes(value.bytes, escape::is_url_byte, out),
        Form::Query => escape::put_bytes(value.bytes, escape::is_target_byte, out),
        Form::Plain | Form::Host | Form::Parameter => {
            value.each(|byte| escape::put_byte(byte, escape::is_parameter_byte, out));
        }
    }
}

fn put_value(value: Value<'_>, place: Place, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let harmless = |byte| if is_harmful(byte) { Err(BadValue::Control) } else { Ok(byte) };
    match (place, value.form) {
        (Place::Path, Form::Path) => escape::put_encoded(value.bytes, escape::is_path_byte, out),
        (Place::Path, _) => value.try_each(|byte| {
            // Escaped or not, no file has such a name, and many a decoder stumbles over it.
            let byte = if byte == b'\t' { Err(BadValue::Control) } else { harmless(byte) };
            escape::put_byte(byte?, escape::is_segment_byte, out);
            Ok(())
        })?,
        (Place::QueryValue, _) => put_parameter(value, place, out),
        (Place::Location, _) => value.try_each(|byte| {
            escape::put_byte(harmless(byte)?, escape::is_url_byte, out);
            Ok(())
        })?,
        (Place::Field, _) => value.try_each(|byte| {
            out.push(harmless(byte)?);
            Ok(())
        })?,
        (Place::Content(escape), _) => {
            let start = out.len();
            value.try_each(|byte| escape.put(byte, out))?;
            if escape != Escape::Nothing && std::str::from_utf8(&out[start..]).is_err() {
                return Err(BadValue::NotText);
            }
        }
    }
    Ok(())
}

/// Whether a byte may not stand in the value of a field (RFC 9110, section 5.5): controls but for the tab.
const fn is_harmful(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
