//! Fuzz bodies for rules: what must hold for any text, any form and any request. The targets in `tests/fuzz` and the run
//! over the corpus in `tests/corpus.rs` only call them.

use std::borrow::Cow;
use std::cell::Cell;
use std::task::{Context, Poll, Waker};

use super::decode::{Manner, Readings, is_plain};
use super::form::{self, Kind};
use super::{Asked, Engine, Marks, Pass, Scratch, Texts, inject};
use crate::config::matching::{Condition, PathPattern, Test};
use crate::config::probes;
use crate::config::rules::{Probes, Rule, RuleAction, Search, Subject, When};
use crate::http::query;
use crate::http::{FieldLine, Fields, Name, Span, path};

/// So much of an input is looked at.
const BYTES_MAX: usize = 4096;

/// Any text: it has few readings, none longer than thrice itself, itself among them, and what it is decoded to as well.
pub fn decoding(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let mut readings = Readings::default();
    for manner in [Manner::Path, Manner::Form, Manner::Plain] {
        let (mut count, mut has_itself, mut standard) = (0, false, Vec::new());
        let accepted = readings.any(bytes, manner, &mut |reading, is_standard| {
            count += 1;
            has_itself |= reading == bytes;
            if is_standard {
                standard.push(reading.to_vec());
            }
            assert!(reading.len() <= 3 * bytes.len());
            false
        });
        assert!(!accepted && has_itself && (1..=10).contains(&count), "{count} readings");
        assert_eq!(standard.len(), 1, "there is one that is standard");
        if is_plain(bytes, manner) {
            assert_eq!(count, 1);
        }
        let is_simple = bytes.is_ascii() && !bytes.windows(2).any(|two| two.eq_ignore_ascii_case(b"%u"));
        let mut decoded = Vec::new();
        query::decode(bytes, &mut decoded);
        if manner == Manner::Form && is_simple && decoded.is_ascii() {
            assert_eq!(standard[0], decoded);
        }
    }
    let detectors = inject::Detectors::new();
    let _ = (detectors.is_sqli(bytes, &Cell::new(1)), detectors.is_xss(bytes));
}

/// A line with a Content-Type, and content behind it: what is read lies within bounds, and fields of a form that is
/// encoded are those that a query would have.
pub fn form(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(4 * BYTES_MAX)];
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let (line, content) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let Ok(Some(kind)) = form::kind(std::iter::once(line)) else { return };
    let Ok(texts) = form::read(&kind, content) else { return };
    assert!(texts.texts.len() <= 3 * form::FIELDS_MAX);
    let length: usize = texts.texts.iter().map(|(text, _)| text.len()).sum();
    assert!(length <= content.len());
    match kind {
        Kind::Encoded => {
            let all = query::parameters(content).flat_map(|field| [field.name, field.value]);
            assert!(all.eq(texts.texts.iter().map(|(text, _)| &**text)));
        }
        Kind::Parts(boundary) => {
            let delimiter = [b"\r\n--", &*boundary].concat();
            let has = |text: &[u8]| memchr::memmem::find(text, &delimiter).is_some();
            // Quoted names are of one line.
            assert!(!texts.texts.iter().any(|(text, _)| has(text)));
        }
        Kind::Json => {}
    }
}

/// Lines of rules, then an empty line, then a target, a User-Agent, a cookie and a form, each in a line: the index finds
/// what asking each rule finds. A rule is a letter for its action, one for what it asks for, and a text.
pub fn rules(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(&bytes[..bytes.len().min(BYTES_MAX)]) else { return };
    let (rules, request) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut all: Vec<Rule> = rules.lines().take(100).filter_map(rule).collect();
    all.extend(
        probes::rules(&Probes::default()).into_iter().map(|rule| Rule { action: RuleAction::Log, ..rule }),
    );
    let tags = ["a".to_owned(), "b".to_owned()];
    let engine = Engine::new([(false, &all[..]), (true, &all[..])], &tags);
    let mut lines = request.lines();
    let mut line = || lines.next().unwrap_or_default();
    let target = format!("/{}", line());
    let pairs = [("Host", "a"), ("User-Agent", line()), ("Cookie", line())];
    let form = line();
    let (sent, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (&*target, None),
    };
    let mut normal = Vec::new();
    if path::normalise(sent.as_bytes(), &mut normal).is_err() {
        return;
    }
    with_fields(&pairs, |fields, field_bytes| {
        let asked = Asked {
            host: b"a.example",
            sent_path: sent.as_bytes(),
            path: &normal,
            query,
            method: b"GET",
            fields,
            field_bytes,
            listener: "web",
            client: "10.1.2.3".parse().ok(),
            size: Some(form.len() as u64),
        };
        let texts = vec![(Cow::Borrowed(form.as_bytes()), Manner::Form)];
        let texts = Texts { subject: Subject::Form, texts };
        assert_agrees(&engine, &asked, Pass::Head { content_follows: false });
        assert_agrees_on(&engine, &asked, &texts);
    });
}

/// Calls `with` with field lines of these names and values.
pub fn with_fields<R>(pairs: &[(&str, &str)], with: impl FnOnce(Fields<'_>, &[u8]) -> R) -> R {
    let (mut head, mut lines) = (Vec::new(), Vec::new());
    for (name, value) in pairs {
        let start = head.len();
        head.extend_from_slice(name.as_bytes());
        let end = head.len();
        head.extend_from_slice(value.trim_ascii().as_bytes());
        let (name_at, value_at) = (Span::new(start, end), Span::new(end, head.len()));
        lines.push(FieldLine { name: name_at, value: value_at, known: Name::recognise(name.as_bytes()) });
    }
    with(Fields::new(&head, &lines), &head)
}

/// What comes of work that waits for nothing.
pub fn now<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return done;
        }
    }
}

/// Whether the index finds what asking each rule finds.
pub fn assert_agrees(engine: &Engine, asked: &Asked<'_>, pass: Pass<'_>) {
    assert_both(engine, asked, (pass, pass));
}

/// The same for content.
pub fn assert_agrees_on(engine: &Engine, asked: &Asked<'_>, texts: &Texts<'_>) {
    let found = now(engine.study(asked, texts, async || {}));
    let each = now(engine.study_each(asked, texts));
    assert_both(engine, asked, (Pass::Content(&found, usize::MAX), Pass::Content(&each, usize::MAX)));
}

fn assert_both(engine: &Engine, asked: &Asked<'_>, (pass, each_pass): (Pass<'_>, Pass<'_>)) {
    let mut scratch = Scratch::default();
    let (mut marks, mut found) = (Marks::default(), Vec::new());
    let verdict = engine.check(asked, pass, &mut marks, &mut scratch, &mut |place| found.push(place));
    let (mut each_marks, mut each) = (Marks::default(), Vec::new());
    let each_verdict =
        engine.check_each(asked, each_pass, &mut each_marks, &mut scratch, &mut |place| each.push(place));
    assert_eq!((verdict, marks, found), (each_verdict, each_marks, each), "{asked:?}");
}

/// A rule that a line is for.
fn rule(line: &str) -> Option<Rule> {
    let (action, rest) = line.split_at_checked(1)?;
    let (kind, text) = rest.split_at_checked(1)?;
    let action = match action {
        "d" => RuleAction::Deny(403),
        "a" => RuleAction::Allow,
        "t" => RuleAction::Tag("a".to_owned()),
        "u" => RuleAction::Tag("b".to_owned()),
        _ => RuleAction::Log,
    };
    Some(Rule { id: line.to_owned(), when: vec![when(kind, text)?], action })
}

/// A condition of that kind.
fn when(kind: &str, text: &str) -> Option<When> {
    let finds = |subject, contains: &[&str], regex: Option<_>| {
        let contains = contains.iter().filter(|text| !text.is_empty()).map(|&text| text.to_owned()).collect();
        let regex = regex.into_iter().collect();
        When::Finds(Search { within: vec![subject], contains, regex, ..Search::default() })
    };
    let tested = |test: fn(String) -> Test| test(text.to_owned());
    Some(match kind {
        "p" => When::Is(Condition::Path(vec![PathPattern::whole(text).ok()?])),
        "x" => When::Is(Condition::Path(vec![PathPattern::prefix(text).ok()?])),
        "r" => When::Is(Condition::Path(vec![PathPattern::regex(text).ok()?])),
        "h" => When::Is(Condition::Host(vec![text.parse().ok()?])),
        "c" => When::Is(Condition::Client(vec![text.parse().ok()?])),
        "q" => When::Is(Condition::Query("q".to_owned(), tested(Test::Contains))),
        "k" => When::Is(Condition::Cookie("k".to_owned(), tested(Test::Prefix))),
        "u" => When::UserAgent(Test::Regex(text.parse().ok()?)),
        "P" => finds(Subject::Path, &[text], text.parse().ok()),
        "Q" => finds(Subject::Query, &[], Some(text.parse().ok()?)),
        "C" => finds(Subject::Cookie, &[text], None),
        "H" => finds(Subject::Header, &[text], text.parse().ok()),
        "F" => finds(Subject::Form, &[text], text.parse().ok()),
        "T" => When::Tagged(vec![text.to_owned()]),
        "n" => {
            let (kind, rest) = text.split_at_checked(1)?;
            When::Not(Box::new(when(kind, rest)?))
        }
        "&" | "|" => {
            let parts: Vec<When> =
                text.split(kind).filter_map(|part| when(part.get(..1)?, part.get(1..)?)).collect();
            match kind {
                "&" => When::All(parts),
                _ => When::Any(parts),
            }
        }
        _ => return None,
    })
}
