//! Texts of which an expression needs one: where none of them is, it finds nothing.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Texts, in lower case, of which one is in everything that the expression finds, whatever the case there. None where
/// that cannot be said, or would not be worth it.
pub(super) fn needed(source: &str) -> Option<Vec<Vec<u8>>> {
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).case_insensitive(true).build();
    let hir = parser.parse(source).ok()?;
    let found = of(&hir)?;
    let is_worth = found.iter().all(|text| text.len() >= LENGTH_MIN) && found.len() <= COUNT_MAX;
    is_worth.then_some(found)
}

/// Shorter texts are everywhere.
const LENGTH_MIN: usize = 2;
/// So many ways there may be.
const COUNT_MAX: usize = 64;

fn of(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![literal.0.to_ascii_lowercase()]),
        HirKind::Class(class) => letter(class).map(|byte| vec![vec![byte]]),
        HirKind::Capture(capture) => of(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => of(&repetition.sub),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(of(part)?);
                if all.len() > COUNT_MAX {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Concat(parts) => concat(parts),
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

/// The best that some of the parts need: letters side by side are one text.
fn concat(parts: &[Hir]) -> Option<Vec<Vec<u8>>> {
    let mut best: Option<Vec<Vec<u8>>> = None;
    let mut run: Vec<u8> = Vec::new();
    let take = |candidate: Vec<Vec<u8>>, best: &mut Option<Vec<Vec<u8>>>| {
        let score =
            |texts: &[Vec<u8>]| (texts.iter().map(Vec::len).min().unwrap_or(0), usize::MAX - texts.len());
        if best.as_ref().is_none_or(|known| score(&candidate) > score(known)) {
            *best = Some(candidate);
        }
    };
    for part in parts {
        match part.kind() {
            HirKind::Literal(literal) => run.extend(literal.0.to_ascii_lowercase()),
            HirKind::Class(class) if letter(class).is_some() => run.extend(letter(class)),
            HirKind::Look(_) => {}
            _ => {
                if !run.is_empty() {
                    take(vec![std::mem::take(&mut run)], &mut best);
                }
                if let Some(texts) = of(part) {
                    take(texts, &mut best);
                }
            }
        }
    }
    if !run.is_empty() {
        take(vec![run], &mut best);
    }
    best
}

/// The letter that a class is, in either case.
fn letter(class: &Class) -> Option<u8> {
    let Class::Bytes(bytes) = class else { return None };
    let mut found = bytes
        .ranges()
        .iter()
        .flat_map(|range| range.start()..=range.end())
        .map(|byte| byte.to_ascii_lowercase());
    let first = found.next()?;
    found.all(|byte| byte == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Option<Vec<String>> {
        let found = needed(source)?;
        Some(found.into_iter().map(|text| String::from_utf8(text).unwrap()).collect())
    }

    #[test]
    fn an_expression_needs_the_longest_text_that_cannot_be_left_out() {
        let of = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        for (source, want) in [
            ("abc", of(&["abc"])),
            ("AbC", of(&["abc"])),
            (r"a\s+union\s+b", of(&["union"])),
            (r"(?:select|union)\s", of(&["select", "union"])),
            (r"x?foo(?:bar)?", of(&["foo"])),
            (r"\d+", None),
            (r"(?:abc|\d)", None),
            (r"\$\{jndi:", of(&["${jndi:"])),
            (r"[;|]\s*cat\s", of(&["cat"])),
            ("(?-i:A)b", of(&["ab"])),
            ("^$", None),
            ("[ab]c", None),
        ] {
            assert_eq!(texts(source), want, "{source}");
        }
    }
}
