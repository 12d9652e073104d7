//! "Did you mean …?": what somebody may have meant who wrote what is unknown.

use super::keys::Table;

/// Names that are less alike than this (from 0 to 1) are different ones.
const LIKENESS_MIN: f64 = 0.6;

/// The name that is most like this one, if any is like it.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The same word with other dashes or in other letters is surely meant.
    let plain = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let wanted = plain(name);
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(&wanted, &plain(known)), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

/// What to say about a name that is none of these.
pub(super) fn name<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(meant) = nearest(name, known.clone()) {
        return Some(format!("did you mean `{meant}`?"));
    }
    let all: Vec<_> = known.take(LISTED_MAX + 1).map(|name| format!("`{name}`")).collect();
    (1..=LISTED_MAX).contains(&all.len()).then(|| format!("there is {}", all.join(", ")))
}

/// More names than this are not listed.
const LISTED_MAX: usize = 8;

/// What to say about a key that the table does not have.
pub(super) fn key(name: &str, table: &Table) -> Option<String> {
    let top = &super::keys::FILE;
    if !std::ptr::eq(table, top) && top.all().any(|key| key.name == name) {
        return Some(format!(
            "`{name}` is a key of the whole file; those stand at its top, in front of the first [table]"
        ));
    }
    nearest(name, table.all().map(|key| key.name)).map(|meant| format!("did you mean `{meant}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_suggested() {
        let known = ["port", "pool-size", "max-head", "head-timeout", "origin"];
        for (name, want) in [
            ("prot", Some("port")),
            ("max_head", Some("max-head")),
            ("MaxHead", Some("max-head")),
            ("head-timeuot", Some("head-timeout")),
            ("origins", Some("origin")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), want, "{name}");
        }
    }
}
