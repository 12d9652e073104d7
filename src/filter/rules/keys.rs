//! The key of a rule: one of its conditions that few requests meet, by which the index finds it.

use ipnet::IpNet;

use super::literals;
use crate::config::matching::{Condition, HostPattern, PathPattern, Segment, Test};
use crate::config::rules::{Search, Subject, When};
use crate::http::method;

/// A key, or one of several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Atom {
    /// This text, in lower case, is somewhere in it.
    Text(Subject, Vec<u8>),
    /// It is there, and has more than words.
    Odd(Subject),
    /// It is there.
    There(Subject),
    Host(HostPattern),
    Method(Vec<u8>),
    /// None of these methods.
    MethodBut(Vec<String>),
    Network(IpNet),
}

/// The best key of conditions that all have to hold, and how good it is.
pub(super) fn key(when: &[When]) -> Option<Vec<Atom>> {
    all(when).map(|(_, atoms)| atoms)
}

type Scored = Option<(usize, Vec<Atom>)>;

fn all(when: &[When]) -> Scored {
    let keys = when.iter().filter_map(of);
    keys.max_by_key(|(score, atoms)| (*score, usize::MAX - atoms.len()))
}

fn scored(atoms: Vec<Atom>) -> Scored {
    let score = |atom: &Atom| match atom {
        Atom::Text(_, text) => 100 + text.len(),
        Atom::Host(HostPattern::Exact(_)) => 95,
        Atom::Network(network) => 20 + usize::from(network.prefix_len()).min(64),
        Atom::Host(HostPattern::Wildcard(_)) => 80,
        Atom::Method(method) if matches!(&method[..], b"GET" | b"POST" | b"HEAD") => 5,
        Atom::Method(_) | Atom::MethodBut(_) => 70,
        Atom::There(Subject::Path) => 1,
        Atom::There(Subject::Field(_)) => 60,
        Atom::There(_) => 10,
        Atom::Odd(_) => 30,
    };
    Some((atoms.iter().map(score).min()?, atoms))
}

fn of(when: &When) -> Scored {
    match when {
        When::Is(condition) => of_condition(condition),
        When::UserAgent(test) => scored(of_field("user-agent", test)?),
        When::Finds(search) => scored(of_search(search)),
        When::All(parts) => all(parts),
        When::Any(parts) => any(parts.iter().map(of)),
        When::Not(part) => match &**part {
            When::Is(Condition::Method(methods)) => scored(vec![Atom::MethodBut(methods.clone())]),
            _ => None,
        },
        When::Size { .. } | When::Tagged(_) => None,
    }
}

/// All of them have keys, or there is none.
fn any(keys: impl Iterator<Item = Scored>) -> Scored {
    let all: Vec<_> = keys.collect::<Option<_>>()?;
    let least = all.iter().map(|(score, _)| *score).min()?;
    Some((least, all.into_iter().flat_map(|(_, atoms)| atoms).collect()))
}

fn of_condition(condition: &Condition) -> Scored {
    match condition {
        Condition::Method(methods) => {
            scored(method::all_meant(methods).into_iter().map(|method| Atom::Method(method.into())).collect())
        }
        Condition::Header(name, test) => scored(of_field(name, test)?),
        Condition::Query(name, test) => scored(of_value(Subject::Query, name, test)?),
        Condition::Cookie(name, test) => scored(of_value(Subject::Cookie, name, test)?),
        Condition::Client(networks) => {
            scored(networks.iter().map(|network| Atom::Network(*network)).collect())
        }
        Condition::Host(hosts) => scored(hosts.iter().map(|host| Atom::Host(host.clone())).collect()),
        Condition::Path(paths) => scored(paths.iter().flat_map(of_path).collect()),
        Condition::All(parts) => parts.iter().filter_map(of_condition).max_by_key(|(score, _)| *score),
        Condition::Any(parts) => any(parts.iter().map(of_condition)),
        Condition::Listener(_) | Condition::Not(_) => None,
    }
}

fn of_path(path: &PathPattern) -> Vec<Atom> {
    let text = |text: Vec<u8>| Atom::Text(Subject::Path, text);
    match path {
        PathPattern::Regex(pattern) => match literals::needed(pattern.source()) {
            Some(texts) => texts.into_iter().map(text).collect(),
            None => vec![Atom::There(Subject::Path)],
        },
        PathPattern::Whole(segments) | PathPattern::Prefix(segments) => {
            let literals = segments.iter().filter_map(|segment| match segment {
                Segment::Literal(literal) if !literal.is_empty() => Some(literal.to_ascii_lowercase()),
                _ => None,
            });
            match literals.max_by_key(String::len) {
                Some(literal) => vec![text(format!("/{literal}").into_bytes())],
                None => vec![Atom::There(Subject::Path)],
            }
        }
    }
}

/// A field that has to be there, and texts of which it needs one.
fn of_field(name: &str, test: &Test) -> Option<Vec<Atom>> {
    let subject = Subject::Field(name.to_ascii_lowercase());
    Some(match of_test(test)? {
        Some(texts) => texts.into_iter().map(|text| Atom::Text(subject.clone(), text)).collect(),
        None => vec![Atom::There(subject)],
    })
}

/// The same for a parameter or a cookie: its name has to be there at least.
fn of_value(subject: Subject, name: &str, test: &Test) -> Option<Vec<Atom>> {
    let texts = of_test(test)?.unwrap_or_else(|| vec![name.to_ascii_lowercase().into_bytes()]);
    Some(texts.into_iter().map(|text| Atom::Text(subject.clone(), text)).collect())
}

/// Texts of which a value needs one, if it needs any; nothing at all where no value has to be there.
fn of_test(test: &Test) -> Option<Option<Vec<Vec<u8>>>> {
    Some(match test {
        Test::Absent => return None,
        Test::Present => None,
        Test::Is(text) | Test::Prefix(text) | Test::Suffix(text) | Test::Contains(text) => {
            (!text.is_empty()).then(|| vec![text.to_ascii_lowercase().into_bytes()])
        }
        Test::Regex(pattern) => literals::needed(pattern.source()),
        Test::OneOf(tests) => {
            let all: Vec<_> = tests.iter().map(of_test).collect::<Option<_>>()?;
            all.into_iter().collect::<Option<Vec<_>>>().map(|all| all.concat())
        }
    })
}

fn of_search(search: &Search) -> Vec<Atom> {
    let mut texts: Option<Vec<Vec<u8>>> = Some(Vec::new());
    for text in &search.contains {
        texts = texts.map(|all| [all, vec![text.to_ascii_lowercase().into_bytes()]].concat());
    }
    for expression in &search.regex {
        texts = texts.and_then(|all| Some([all, literals::needed(expression.source())?].concat()));
    }
    let of = |subject: &Subject| -> Vec<Atom> {
        let mut atoms = match &texts {
            Some(texts) => texts.iter().map(|text| Atom::Text(subject.clone(), text.clone())).collect(),
            None => vec![Atom::There(subject.clone())],
        };
        if search.sqli || search.xss {
            atoms.push(Atom::Odd(subject.clone()));
        }
        atoms
    };
    search.within.iter().flat_map(of).collect()
}
