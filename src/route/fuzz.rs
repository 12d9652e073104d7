//! The fuzz body for templates: what must hold for any template with any values. The target in `tests/fuzz` and the
//! run over the corpus in `tests/corpus.rs` only call it.

use super::template::{BadValue, Escape, Place, Values, render};
use super::{fields, target};
use crate::config::route::{FieldEdits, ForwardPath, QueryEdits, Rewrite};
use crate::config::template::{Part, Template, Variable};
use crate::http::{FieldLine, Fields, Name, Span};

/// A request that templates are rendered for, made up.
#[derive(Clone, Debug)]
pub struct Sample {
    /// As it was sent.
    pub host: Vec<u8>,
    /// In normal form.
    pub path: Vec<u8>,
    /// As it was sent.
    pub query: Option<Vec<u8>>,
    /// What the capture `id` caught.
    pub capture: Option<Vec<u8>>,
    pub(super) head: Vec<u8>,
    pub(super) lines: Vec<FieldLine>,
}

impl Sample {
    /// A GET for `http://Example.com:8080/a/b` with these fields, of at most 64 KiB together.
    pub fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Sample {
        let (mut head, mut lines) = (Vec::new(), Vec::new());
        for (name, value) in pairs {
            let start = head.len();
            head.extend_from_slice(name.as_ref());
            let end = head.len();
            head.extend_from_slice(value.as_ref().trim_ascii());
            let (name_at, value_at) = (Span::new(start, end), Span::new(end, head.len()));
            let known = Name::recognise(name.as_ref());
            lines.push(FieldLine { name: name_at, value: value_at, known });
        }
        let (host, path) = (b"Example.com:8080".to_vec(), b"/a/b".to_vec());
        Sample { host, path, query: None, capture: None, head, lines }
    }

    /// The same without fields.
    pub fn bare() -> Sample {
        Sample::new::<&[u8], &[u8]>(&[])
    }

    /// Asks something of its values.
    pub fn with<R>(&self, ask: impl FnOnce(&Values<'_>) -> R) -> R {
        ask(&Values {
            client_ip: b"2001:db8::1",
            scheme: b"http",
            host: &self.host,
            method: b"GET",
            path: &self.path,
            query: self.query.as_deref(),
            request_id: b"01-ab",
            listener: b"web",
            route: b"api",
            fields: Fields::new(&self.head, &self.lines),
            captures: &|name| self.capture.as_deref().filter(|_| name == "id"),
        })
    }
}

/// Bytes that any result may have.
const BYTES_MAX: usize = 4096;

/// A line each: a template, the path and the query of a request, its host, and the value of its field X and of its
/// cookie x; in the last two and the host, a vertical tab stands for a line feed. Whatever the template reads as
/// comes out harmless everywhere, or not at all.
pub fn template(bytes: &[u8]) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let Ok(text) = std::str::from_utf8(line()) else { return };
    let read = text.parse::<Template>();
    let content = Template::for_content(text);
    if let Ok(template) = &read {
        assert_eq!(content.as_ref(), Ok(template));
        assert_eq!(template.to_string(), text);
    }
    let Ok(template) = content else { return assert!(read.is_err()) };
    // What screening and normalising a target leave: no other bytes come this far.
    let target = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().copied().filter(|byte| byte.is_ascii_graphic() && *byte != b'#').take(1024).collect()
    };
    let path = [&b"/"[..], &target(line())].concat().into_iter().filter(|&byte| byte != b'?').collect();
    let query = Some(target(line())).filter(|query| !query.is_empty());
    let any = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().map(|&byte| if byte == 0x0b { b'\n' } else { byte }).take(1024).collect()
    };
    let host = any(line());
    let cookie = [&b"x="[..], &any(line())].concat();
    let made = Sample::new(&[(&b"X"[..], &any(line())[..]), (b"Cookie", &cookie)]);
    let path: Vec<u8> = path;
    let capture = path.get(1..).map(<[u8]>::to_vec);
    let sample = Sample { host, path, query, capture, ..made };
    sample.with(|values| {
        assert_lines_hold(&template, values);
        assert_paths_hold(&template, values);
        assert_content_holds(&template, values);
        assert_target_holds(&template, values);
    });
}

/// Renders, and sees to it that nothing is left of what fails.
fn rendered(template: &Template, values: &Values<'_>, place: Place) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let judged = render(template, values, place, BYTES_MAX, &mut out);
    let written = out.strip_prefix(b"before").map(<[u8]>::to_vec);
    match judged {
        Ok(()) => assert!(written.as_ref().is_some_and(|bytes| bytes.len() <= BYTES_MAX)),
        Err(_) => assert_eq!(written.as_deref(), Some(&b""[..])),
    }
    written.filter(|_| judged.is_ok())
}

fn assert_lines_hold(template: &Template, values: &Values<'_>) {
    let is_harmless = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    if let Some(value) = rendered(template, values, Place::Field) {
        assert!(value.iter().all(is_harmless), "a value ends its line");
    }
    if let Some(url) = rendered(template, values, Place::Location) {
        assert!(url.iter().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(byte)));
        let is_path = template.literal().is_none() && template.to_string().starts_with('/');
        assert!(!is_path || !url.starts_with(b"//") || template.to_string().starts_with("//"));
    }
    let set = vec![("X-A".to_owned(), template.clone())];
    let edits = fields::Edits::new(&FieldEdits { set, ..FieldEdits::default() });
    let mut out = Vec::new();
    if edits.write(values, &mut out).is_ok() && !out.is_empty() {
        let line = out.strip_prefix(b"X-A: ").and_then(|line| line.strip_suffix(b"\r\n"));
        assert!(line.is_some_and(|value| !value.is_empty() && value.iter().all(is_harmless)));
    }
}

/// How often a byte stands in the texts of a template and in the values of the variables that may bring some.
fn count(template: &Template, byte: u8, brought: impl Fn(&Variable) -> Vec<u8>) -> usize {
    let of = |bytes: &[u8]| bytes.iter().filter(|&&other| other == byte).count();
    let part = |part: &Part| match part {
        Part::Text(text) => of(text.as_bytes()),
        Part::Variable(variable) => of(&brought(variable)),
    };
    template.parts().iter().map(part).sum()
}

fn assert_paths_hold(template: &Template, values: &Values<'_>) {
    let of_path = |variable: &Variable| match variable {
        Variable::Path => values.path.to_vec(),
        Variable::Capture(name) => (values.captures)(name).unwrap_or_default().to_vec(),
        _ => Vec::new(),
    };
    let of_query = |variable: &Variable| match variable {
        Variable::Query => values.query.unwrap_or_default().to_vec(),
        _ => Vec::new(),
    };
    if let Some(path) = rendered(template, values, Place::Path) {
        assert!(path.iter().all(|byte| byte.is_ascii_graphic() && !b"#?".contains(byte)));
        let slashes = path.iter().filter(|&&byte| byte == b'/').count();
        assert_eq!(slashes, count(template, b'/', of_path), "a value left its segment");
        assert!(!leads_elsewhere(&path), "{:?} has a dot segment", String::from_utf8_lossy(&path));
    }
    if let Some(query) = rendered(template, values, Place::QueryValue) {
        assert!(query.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#'));
        for separator in [b'&', b'=', b'+', b';'] {
            let there = query.iter().filter(|&&byte| byte == separator).count();
            assert_eq!(there, count(template, separator, of_query), "a value left its parameter");
        }
    }
}

/// Whether anyone could take a segment for `.` or `..`, the plain way: with every escape of a slash and a dot read.
fn leads_elsewhere(path: &[u8]) -> bool {
    let text = String::from_utf8_lossy(path).to_lowercase();
    let text = text
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/")
        .replace("%3b", ";")
        .replace('\\', "/");
    text.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

fn assert_content_holds(template: &Template, values: &Values<'_>) {
    let nothing = |_: &Variable| Vec::new();
    if let Some(page) = rendered(template, values, Place::Content(Escape::Markup)) {
        for mark in [b'<', b'>', b'"', b'\''] {
            let there = page.iter().filter(|&&byte| byte == mark).count();
            assert_eq!(there, count(template, mark, nothing), "a value is markup");
        }
    }
    for part in template.parts().iter().filter(|part| matches!(part, Part::Variable(_))) {
        let Part::Variable(variable) = part else { continue };
        let Ok(alone) = format!("{{{variable}}}").parse::<Template>() else {
            panic!("{variable} does not read back")
        };
        let plain = rendered(&alone, values, Place::Content(Escape::Nothing));
        let Some(escaped) = rendered(&alone, values, Place::Content(Escape::Strings)) else { continue };
        let quoted = [b"\"", &escaped[..], b"\""].concat();
        let read = serde_json::from_slice::<String>(&quoted).map(String::into_bytes);
        assert_eq!(read.ok(), plain, "a value ends its string");
    }
}

/// The template as every part of a target that it can be.
fn assert_target_holds(template: &Template, values: &Values<'_>) {
    let parameter = vec![("a b".to_owned(), template.clone())];
    let query = QueryEdits {
        replace: Some(template.clone()),
        remove: vec!["b*".to_owned()],
        set: parameter.clone(),
        add: parameter,
    };
    let rewrite = Rewrite {
        strip_prefix: Some("/a".to_owned()),
        path: Some(template.clone()),
        add_prefix: Some("/v1/".to_owned()),
        query,
        forward: ForwardPath::Normalised,
    };
    let mut out = Vec::new();
    match target::rewrite(&rewrite, values.path, values.path, values.query, values, BYTES_MAX, &mut out) {
        Ok(target::Changed::Yes) => {
            assert!(out.starts_with(b"/v1/") && out.len() <= BYTES_MAX);
            assert!(out.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#'));
            let path = out.split(|&byte| byte == b'?').next().unwrap_or_default();
            assert!(!path.windows(2).any(|pair| pair == b"//") && !leads_elsewhere(path));
        }
        Ok(target::Changed::No) => assert!(out.is_empty()),
        Err(BadValue::Control | BadValue::DotSegment | BadValue::TooLong) => assert!(out.is_empty()),
        Err(other) => panic!("{other:?} is no fault of a target"),
    }
}
