//! The fuzz body for rules: what must hold for any of them and any request. The target in `tests/fuzz` and the run over the
//! corpus in `tests/corpus.rs` only call it.

use std::borrow::Cow;
use std::task::{Context, Poll, Waker};

use super::decode::Manner;
use super::{Asked, Engine, Marks, Pass, Scratch, Texts, Verdict};
use crate::config::matching::{Condition, PathPattern, Test};
use crate::config::probes;
use crate::config::rules::{Probes, Rule, RuleAction, Search, Subject, When};
use crate::http::{FieldLine, Fields, Name, Span, path};

/// So much of an input is looked at.
const BYTES_MAX: usize = 4096;

/// Lines of rules, then an empty line, then requests, of a line each for a target, a User-Agent, a cookie, a form and a
/// field: the index finds what asking each rule finds, whatever was asked before. A rule is a letter for its action, one
/// for what it asks for, and a text; a line `!` stands for the shipped set.
pub fn rules(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let end = memchr::memmem::find(bytes, b"\n\n").unwrap_or(bytes.len());
    let Ok(lines) = std::str::from_utf8(&bytes[..end]) else { return };
    let own = lines.lines().filter(|line| line.len() <= RULE_BYTES_MAX).take(100);
    let all: Vec<Rule> = own.filter_map(rule).collect();
    let mut detected = all.clone();
    if lines.lines().any(|line| line == "!") {
        detected.extend(probes::rules(&Probes::default()));
    }
    let tags = ["a".to_owned(), "b".to_owned()];
    let (first, last) = all.split_at(all.len() / 2);
    let engine = Engine::new([(false, first), (true, &detected), (false, last)], &tags);
    // Tags can only make these hold.
    let denials = all.iter().filter(|rule| rule.action == RuleAction::Deny(403) && !rule.id.contains('n'));
    let alone = |rule| Engine::new([(false, std::slice::from_ref(rule))], &tags);
    let denials: Vec<Engine> = denials.take(DENIALS_MAX).map(alone).collect();
    let requests = bytes.get(end + 2..).unwrap_or_default();
    let lines: Vec<&[u8]> = requests.split(|&byte| byte == b'\n').take(REQUESTS_MAX * 5).collect();
    let mut scratch = Scratch::default();
    for request in lines.chunks(5) {
        let line = |at: usize| request.get(at).copied().unwrap_or_default();
        // What heads cannot have in them never gets here.
        let is_value = |value: &&[u8]| !value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
        let is_target = line(0).iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
        if is_target && [1, 2, 4].into_iter().map(line).all(|value| is_value(&value)) {
            let lines = [line(0), line(1), line(2), line(3), line(4)];
            assert_agrees_on_request(&engine, &denials, lines, &mut scratch);
        }
    }
}

/// A longer rule is none: it could be nested too deep.
const RULE_BYTES_MAX: usize = 200;
/// So many rules are asked by themselves as well.
const DENIALS_MAX: usize = 4;
/// So many requests are made, one after the other.
const REQUESTS_MAX: usize = 4;

fn assert_agrees_on_request(
    engine: &Engine,
    denials: &[Engine],
    [target, agent, cookie, form, field]: [&[u8]; 5],
    scratch: &mut Scratch,
) {
    let target = [b"/", target].concat();
    let (sent, query) = match memchr::memchr(b'?', &target) {
        Some(end) => (&target[..end], Some(&target[end + 1..])),
        None => (&target[..], None),
    };
    let mut normal = Vec::new();
    if path::normalise(sent, &mut normal).is_err() {
        return;
    }
    let pairs =
        [("Host", &b"a"[..]), ("User-Agent", agent), ("Cookie", cookie), ("X-A", field), ("cookie", field)];
    with_lines(&pairs[..if field.is_empty() { 3 } else { 5 }], |fields, field_bytes| {
        let asked = Asked {
            host: b"a.example",
            sent_path: sent,
            path: &normal,
            query,
            method: if field.starts_with(b"P") { b"POST" } else { b"GET" },
            fields,
            field_bytes,
            listener: "web",
            client: "10.1.2.3".parse().ok(),
            size: Some(form.len() as u64),
        };
        let texts = vec![(Cow::Borrowed(form), Manner::Form)];
        let subject = if form.starts_with(b"{") { Subject::Json } else { Subject::Form };
        let texts = Texts { subject, texts };
        assert_agrees(engine, &asked, Pass::Head { content_follows: false });
        assert_agrees_on(engine, &asked, &texts);
        let verdict = assert_agrees_throughout(engine, &asked, &texts, scratch);
        // The second time what was seen is known.
        assert_eq!(assert_agrees_throughout(engine, &asked, &texts, scratch), verdict);
        for denial in denials.iter().filter(|_| verdict == Verdict::Pass) {
            let alone = assert_agrees_throughout(denial, &asked, &texts, scratch);
            assert_eq!(alone, Verdict::Pass, "what one rule denies was let pass by all together");
        }
    });
}

/// Both passes, one behind the other, with what is left of the first; returns what came of both.
fn assert_agrees_throughout(
    engine: &Engine,
    asked: &Asked<'_>,
    texts: &Texts<'_>,
    scratch: &mut Scratch,
) -> Verdict {
    let head = Pass::Head { content_follows: true };
    let (mut marks, mut hits) = (Marks::default(), Vec::new());
    let verdict = engine.check(asked, head, &mut marks, scratch, &mut |place| hits.push(place));
    let (mut each_marks, mut each_hits) = (Marks::default(), Vec::new());
    let mut plain = Scratch::default();
    let each =
        engine.check_each(asked, head, &mut each_marks, &mut plain, &mut |place| each_hits.push(place));
    assert_eq!((verdict, marks, &hits), (each, each_marks, &each_hits), "{asked:?}");
    let first = verdict;
    let until = match first {
        Verdict::Turned(_) => return first,
        Verdict::Allowed(place) => place,
        Verdict::Pass => usize::MAX,
    };
    let found = now(engine.study(asked, texts, async || {}));
    let found_each = now(engine.study_each(asked, texts));
    let told = hits.clone();
    let content = Pass::Content(&found, until, &told);
    let content_each = Pass::Content(&found_each, until, &told);
    let verdict = engine.check(asked, content, &mut marks, scratch, &mut |place| hits.push(place));
    let each = engine
        .check_each(asked, content_each, &mut each_marks, &mut plain, &mut |place| each_hits.push(place));
    assert_eq!((verdict, marks, &hits), (each, each_marks, &each_hits), "{asked:?}");
    hits.sort_unstable();
    assert!(hits.windows(2).all(|two| two[0] != two[1]), "a rule was told of twice: {hits:?}");
    if verdict == Verdict::Pass { first } else { verdict }
}

/// Calls `with` with field lines of these names and values.
pub fn with_fields<R>(pairs: &[(&str, &str)], with: impl FnOnce(Fields<'_>, &[u8]) -> R) -> R {
    let pairs: Vec<(&str, &[u8])> = pairs.iter().map(|&(name, value)| (name, value.as_bytes())).collect();
    with_lines(&pairs, with)
}

/// The same, of any bytes.
fn with_lines<R>(pairs: &[(&str, &[u8])], with: impl FnOnce(Fields<'_>, &[u8]) -> R) -> R {
    let (mut head, mut lines) = (Vec::new(), Vec::new());
    for (name, value) in pairs {
        let start = head.len();
        head.extend_from_slice(name.as_bytes());
        let end = head.len();
        head.extend_from_slice(value.trim_ascii());
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
    let pass = Pass::Content(&found, usize::MAX, &[]);
    assert_both(engine, asked, (pass, Pass::Content(&each, usize::MAX, &[])));
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
        "f" => finds(Subject::Field("x-a".to_owned()), &[text], text.parse().ok()),
        "J" => finds(Subject::Json, &[text], None),
        "m" => When::Is(Condition::Method(vec![text.to_owned()])),
        "o" => When::Is(Condition::Header(
            "x-a".to_owned(),
            Test::OneOf(vec![Test::Suffix(text.to_owned()), Test::Is(text.to_ascii_uppercase())]),
        )),
        "A" => When::Is(Condition::Header("X-A".to_owned(), Test::Absent)),
        "z" => When::Size { min: text.parse().ok(), max: None },
        "i" | "s" => When::Finds(Search {
            within: vec![Subject::Query, Subject::Form, Subject::Cookie],
            contains: Some(text).filter(|text| !text.is_empty()).map(str::to_owned).into_iter().collect(),
            sqli: kind == "i",
            xss: kind == "s",
            ..Search::default()
        }),
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
