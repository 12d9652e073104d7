//! What tells the stored responses of a route apart, beside the URL: parts of keys, and values that select.
//!
//! A response may be used for another request only if the upstream would have been asked for the same. Four
//! things see to that, and all four belong into what a response is found by:
//!
//! - the query, as far as it counts ([`write_query`]);
//! - fields and cookies that the rule names ([`write_selecting`]);
//! - values by which the route's templates change what the upstream is asked ([`brought`], [`write_brought`]);
//! - everything else that a route does to a request, as one number ([`identity`]).

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};

use super::template::{Value, Values};
use crate::config::RouteSettings;
use crate::config::matching::Condition;
use crate::config::route::{CacheRule, FieldEdits, KeyQuery, QueryEdits};
use crate::config::template::{Part, Template, Variable};
use crate::http::query::{self, Parameter, parameters};
use crate::http::{Fields, cookie};

/// Parameters that are put into order without allocating.
const FEW: usize = 16;

/// Appends the query as it counts, with its question mark: as it was sent, or those of its parameters that tell
/// responses apart, as they were sent, by their decoded names; parameters of one name keep their order. If
/// nothing is left, neither is the question mark.
///
/// Allocates only where `out` has to grow, or for more than sixteen parameters that count.
pub fn write_query(rule: &KeyQuery, query: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(query) = query else { return };
    let (rules, wanted) = match rule {
        KeyQuery::All => {
            out.push(b'?');
            return out.extend_from_slice(query);
        }
        KeyQuery::None => return,
        KeyQuery::Only(rules) => (rules, true),
        KeyQuery::Except(rules) => (rules, false),
    };
    let is_kept =
        |parameter: &Parameter<'_>| rules.iter().any(|rule| query::is_meant(parameter.name, rule)) == wanted;
    let mut few = [Parameter::read(b""); FEW];
    let mut many = Vec::new();
    let mut count = 0;
    for parameter in parameters(query).filter(is_kept) {
        if count < FEW {
            few[count] = parameter;
        } else {
            if count == FEW {
                many.extend_from_slice(&few);
            }
            many.push(parameter);
        }
        count += 1;
    }
    write_sorted(if count <= FEW { &mut few[..count] } else { &mut many }, out);
}

fn write_sorted(parameters: &mut [Parameter<'_>], out: &mut Vec<u8>) {
    // Where they lie in the query settles it among equals, so that no sort has to be stable, which allocates.
    parameters.sort_unstable_by(|one, other| {
        query::compare(one.name, other.name).then(one.whole.as_ptr().cmp(&other.whole.as_ptr()))
    });
    for (index, parameter) in parameters.iter().enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        out.extend_from_slice(parameter.whole);
    }
}

/// Appends what a request says in the fields and cookies by which a rule tells responses apart. Two requests get
/// the same bytes if and only if they agree in all of them, line by line: each value is `1`, itself and a line
/// feed, which no value has, and each name ends with `0`. Nothing is appended where the rule names nothing.
///
/// As in [`crate::cache::vary`], a field that Connection named counts as absent.
pub fn write_selecting(rule: &CacheRule, fields: Fields<'_>, out: &mut Vec<u8>) {
    for name in &rule.headers {
        put_values(fields.named(name.as_bytes()), out);
    }
    for name in &rule.cookies {
        put_values(cookie::values(fields, name.as_bytes()), out);
    }
}

fn put_values<'a>(values: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    for value in values {
        out.push(b'1');
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out.push(b'0');
}

/// The ways in which routes leave parts of the query out of the key, each once.
pub fn queries(routes: &[RouteSettings]) -> Vec<KeyQuery> {
    let mut found: Vec<KeyQuery> = Vec::new();
    for route in routes {
        let query = &route.cache.query;
        if *query != KeyQuery::All && !found.contains(query) {
            found.push(query.clone());
        }
    }
    found
}

/// The keys under which what has this key, with its whole query, may be stored by routes that leave parts of the
/// query out; not the key itself.
pub fn others<'a>(key: &'a [u8], queries: &'a [KeyQuery]) -> impl Iterator<Item = Vec<u8>> + 'a {
    let end = memchr::memchr(b'?', key).unwrap_or(key.len());
    let query = key.get(end + 1..);
    let under = move |rule: &KeyQuery| {
        let mut other = key[..end].to_vec();
        write_query(rule, query, &mut other);
        other
    };
    queries.iter().map(under).filter(move |other| other != key)
}

/// The variables by which a route's templates make what the upstream is asked depend on more than the key says:
/// values of fields and cookies, the client's address. Each once; most routes have none.
///
/// What the host, the path and, where all of it counts, the query say is in the key already. Of the edits of
/// fields, the client's address and the request's id do not count either: every upstream is told both anyway,
/// and none is expected to answer by them.
pub fn brought(route: &RouteSettings) -> Vec<Variable> {
    let whole_query = route.cache.query == KeyQuery::All;
    let in_key = |variable: &Variable| match variable {
        Variable::Host | Variable::Path => true,
        Variable::Query | Variable::Parameter(_) => whole_query,
        _ => false,
    };
    let told_anyway = |variable: &Variable| matches!(variable, Variable::ClientIp | Variable::RequestId);
    let mut found = Vec::new();
    let QueryEdits { replace, remove: _, set, add } = &route.rewrite.query;
    let targets = [&route.rewrite.path, replace].into_iter().flatten();
    let targets = targets.chain(set.iter().chain(add).map(|(_, template)| template));
    let FieldEdits { remove: _, set, add } = &route.request_fields;
    let fields = set.iter().chain(add).map(|(_, template)| template);
    let wanted = targets.flat_map(variables);
    let wanted = wanted.chain(fields.flat_map(variables).filter(|variable| !told_anyway(variable)));
    for variable in wanted.filter(|variable| !in_key(variable)) {
        if !found.contains(variable) {
            found.push(variable.clone());
        }
    }
    found
}

fn variables(template: &Template) -> impl Iterator<Item = &Variable> {
    template.parts().iter().filter_map(|part| match part {
        Part::Text(_) => None,
        Part::Variable(variable) => Some(variable),
    })
}

/// Appends what these variables stand for in a request: each with its length in front.
pub fn write_brought(brought: &[Variable], values: &Values<'_>, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    for variable in brought {
        let bytes = Value::of(variable, values).bytes;
        out.extend_from_slice(digits.format(bytes.len()).as_bytes());
        out.push(b':');
        out.extend_from_slice(bytes);
    }
}

/// A number for all that makes a route's responses other ones than another route's would be for the same URL; the
/// same within a process, for settings that are read anew as well. It is 0 for no route.
///
/// It covers the upstream, by name; what an upstream is asked: the rewriting and the edits of the request's fields;
/// what the key leaves out; and the conditions that ask for more than a key says, for they are there to tell
/// requests for one URL apart. Not the name of the route, its hosts and paths, and conditions on host, path, method
/// and listener only, so that two routes to the same place share what is stored. Not lifetimes, tags and limits
/// either, nor the edits of the response's fields, which are made whenever it is delivered: they can change
/// without what is stored being lost.
pub fn identity(route: &RouteSettings, upstream: &str) -> u64 {
    let conditions: Vec<_> = route.conditions.iter().filter(|condition| tells_apart(condition)).collect();
    let CacheRule { query, headers, cookies, .. } = &route.cache;
    // The texts that derived `Debug` writes say everything, and are as many as there are values.
    let mut hashed = Hashed(DefaultHasher::new());
    let told = (upstream, &route.rewrite, &route.request_fields, conditions, query, headers, cookies);
    let written = write!(hashed, "{told:?}");
    debug_assert!(written.is_ok(), "hashing does not fail");
    hashed.0.finish().max(1)
}

/// Whether a condition asks for more than host, path, method and listener.
fn tells_apart(condition: &Condition) -> bool {
    match condition {
        Condition::Header(..) | Condition::Query(..) | Condition::Cookie(..) | Condition::Client(_) => true,
        Condition::Method(_) | Condition::Listener(_) | Condition::Host(_) | Condition::Path(_) => false,
        Condition::All(inner) | Condition::Any(inner) => inner.iter().any(tells_apart),
        Condition::Not(inner) => tells_apart(inner),
    }
}

struct Hashed(DefaultHasher);

impl Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
