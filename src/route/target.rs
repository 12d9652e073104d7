//! The target that an upstream is asked for (RFC 9112, section 3.2.1), where a route rewrites it.
//!
//! ```text
//!   /api/users/7?debug=1      as it came, in normal form
//!      /users/7               strip-prefix = "/api"
//!      /people/7              rewrite = "/people/{id}"
//!   /v1/people/7              add-prefix = "/v1"
//!   /v1/people/7?a=7          query-edit: replace, remove, set, add
//! ```
//!
//! What comes out begins with one slash and has only bytes that a target may have: no fragment, no dot segment
//! that a value brought, no doubled slashes that a value made.

use super::escape;
use super::template::{BadValue, Place, Values, has_dot_segment, render};
use crate::config::route::{ForwardPath, QueryEdits, Rewrite};
use crate::config::template::Template;
use crate::http::query::{self, Parameter};

/// Whether the upstream is asked for something else than the proxy was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// No: what the client sent goes on as it is, and nothing was written.
    No,
    /// Yes: what was written goes on.
    Yes,
}

/// Whether the upstream gets another target than the client sent, as far as can be said without writing it. If
/// this is false, [`rewrite`] says [`Changed::No`].
pub fn is_needed(rewrite: &Rewrite, original_path: &[u8], normal_path: &[u8], query: Option<&[u8]>) -> bool {
    // `*` is about no path at all.
    if original_path == b"*" {
        return false;
    }
    rewrite.path.is_some()
        || rewrite.add_prefix.is_some()
        || edits_query(&rewrite.query, query)
        || rewrite.strip_prefix.as_deref().is_some_and(|prefix| stripped(normal_path, prefix).is_some())
        || rewrite.forward == ForwardPath::Normalised && original_path != normal_path
        || original_path.is_empty()
}

/// Whether a query could come out as another one.
fn edits_query(edits: &QueryEdits, query: Option<&[u8]>) -> bool {
    let adds = edits.replace.is_some() || !edits.set.is_empty() || !edits.add.is_empty();
    adds || query.is_some() && !edits.remove.is_empty()
}

/// Appends the target that the upstream gets, in origin-form and of at most `bytes_max` bytes, or nothing if it
/// is what the client sent. `original_path` is the path as it was sent, which is empty for an absolute-form
/// target without one; `normal_path` is its normal form.
///
/// # Errors
/// [`BadValue`]; then `out` is as it was.
pub fn rewrite(
    rewrite: &Rewrite,
    original_path: &[u8],
    normal_path: &[u8],
    query: Option<&[u8]>,
    values: &Values<'_>,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<Changed, BadValue> {
    if !is_needed(rewrite, original_path, normal_path, query) {
        return Ok(Changed::No);
    }
    let start = out.len();
    let end_max = start + bytes_max;
    let written = put_path(rewrite, original_path, normal_path, values, end_max, out)
        .and_then(|()| put_query(&rewrite.query, query, values, end_max, out));
    let refused = match written {
        Ok(()) if out.len() <= end_max => None,
        Ok(()) => Some(BadValue::TooLong),
        Err(why) => Some(why),
    };
    if let Some(why) = refused {
        out.truncate(start);
        return Err(why);
    }
    debug_assert!(out[start..].starts_with(b"/") && out[start..].iter().all(|&b| escape::is_target_byte(b)));
    if is_sent(&out[start..], original_path, query) {
        out.truncate(start);
        return Ok(Changed::No);
    }
    Ok(Changed::Yes)
}

/// Whether a target is the one that was sent.
fn is_sent(target: &[u8], path: &[u8], query: Option<&[u8]>) -> bool {
    match (target.strip_prefix(path), query) {
        (Some(rest), Some(query)) => rest.strip_prefix(b"?") == Some(query),
        (Some(rest), None) => rest.is_empty(),
        (None, _) => false,
    }
}

fn put_path(
    rewrite: &Rewrite,
    original_path: &[u8],
    normal_path: &[u8],
    values: &Values<'_>,
    end_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), BadValue> {
    let left = rewrite.strip_prefix.as_deref().and_then(|prefix| stripped(normal_path, prefix));
    let start = out.len();
    if let Some(prefix) = &rewrite.add_prefix {
        let prefix = prefix.trim_end_matches('/');
        // A slash that the setting left out.
        if !prefix.is_empty() && !prefix.starts_with('/') {
            out.push(b'/');
        }
        escape::put_encoded(prefix.as_bytes(), escape::is_path_byte, out);
    }
    if let Some(template) = &rewrite.path {
        return put_rendered_path(template, start, values, end_max, out);
    }
    let path = match left {
        Some(left) => left,
        None if rewrite.add_prefix.is_none() && rewrite.forward == ForwardPath::Original => original_path,
        None => normal_path,
    };
    if path.first() != Some(&b'/') {
        out.push(b'/');
    }
    out.extend_from_slice(path);
    // Dots behind a slash that only some see would leave what the prefixes lead to.
    if (left.is_some() || rewrite.add_prefix.is_some()) && has_dot_segment(&out[start..]) {
        return Err(BadValue::DotSegment);
    }
    Ok(())
}

/// Appends a path from a template to the prefix that begins at `start`.
fn put_rendered_path(
    template: &Template,
    start: usize,
    values: &Values<'_>,
    end_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), BadValue> {
    out.push(b'/');
    // One more than there may be, for that slash; all is measured in the end.
    render(template, values, Place::Path, (end_max + 1).saturating_sub(out.len()), out)?;
    // The slash in front, and values that are empty or begin with one, may have doubled some.
    let mut kept = start;
    for at in start..out.len() {
        if out[at] != b'/' || kept == start || out[kept - 1] != b'/' {
            out[kept] = out[at];
            kept += 1;
        }
    }
    out.truncate(kept);
    Ok(())
}

/// What is left of a path in normal form without the segments of `prefix`, from its slash on; `None` if it does
/// not begin with them.
fn stripped<'a>(path: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    match path.strip_prefix(prefix.trim_end_matches('/').as_bytes())? {
        [] => Some(b"/"),
        left @ [b'/', ..] => Some(left),
        _ => None,
    }
}

fn put_query(
    edits: &QueryEdits,
    query: Option<&[u8]>,
    values: &Values<'_>,
    end_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), BadValue> {
    if !edits_query(edits, query) {
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        return Ok(());
    }
    let mark = out.len();
    out.push(b'?');
    match &edits.replace {
        Some(template) => {
            render(template, values, Place::QueryValue, end_max.saturating_sub(out.len()), out)?;
            trim_separators(mark + 1, out);
        }
        None => out.extend_from_slice(query.unwrap_or_default()),
    }
    retain(mark + 1, out, |name| {
        let is_set = edits.set.iter().any(|(set, _)| query::is(name, set.as_bytes()));
        !is_set && !edits.remove.iter().any(|rule| query::is_meant(name, rule))
    });
    for (name, template) in edits.set.iter().chain(&edits.add) {
        if out.len() > mark + 1 {
            out.push(b'&');
        }
        escape::put_bytes(name.as_bytes(), escape::is_parameter_byte, out);
        out.push(b'=');
        render(template, values, Place::QueryValue, end_max.saturating_sub(out.len()), out)?;
    }
    if out.len() == mark + 1 {
        out.truncate(mark);
    }
    Ok(())
}

/// Removes the `&` that a value which is empty left at the start or the end of a query that begins at `start`.
fn trim_separators(start: usize, out: &mut Vec<u8>) {
    while out.len() > start && out.ends_with(b"&") {
        out.pop();
    }
    let leading = out[start..].iter().take_while(|&&byte| byte == b'&').count();
    out.drain(start..start + leading);
}

/// Keeps those parameters of the query that begins at `start` whose names are to be kept, in their order and as
/// they are written.
fn retain(start: usize, out: &mut Vec<u8>, is_kept: impl Fn(&[u8]) -> bool) {
    let (mut from, mut to) = (start, start);
    let mut is_last_kept = true;
    while from < out.len() {
        // With its `&` behind it, if it has one.
        let end = memchr::memchr(b'&', &out[from..]).map_or(out.len(), |at| from + at + 1);
        let whole = &out[from..end];
        is_last_kept = is_kept(Parameter::read(whole.strip_suffix(b"&").unwrap_or(whole)).name);
        if is_last_kept {
            out.copy_within(from..end, to);
            to += end - from;
        }
        from = end;
    }
    out.truncate(to);
    // The `&` in front of what went from the end.
    if !is_last_kept && to > start {
        out.pop();
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
