//! What rules look for in texts: all of it at once, in one reading of one text after the other.
//!
//! ```text
//!   reading ─▶ texts of all searches, by one automaton ─┬▶ found, where a text is what was looked for
//!                                                       └▶ asked: the expressions that need one of the texts
//! ```
//!
//! So a parameter costs what there is to be found in it, however many rules and parameters there are.

use std::cell::Cell;

use aho_corasick::AhoCorasick;
use regex::bytes::{RegexSet, RegexSetBuilder};

use super::condition::each_text;
use super::decode::Readings;
use super::inject::{ASKS_MAX, Detectors};
use super::{Asked, Subjects, automaton, literals};
use crate::config::rules::{Expression, Search, Subject};

/// What is looked for.
#[derive(Clone, Debug)]
struct Finds {
    /// In lower case.
    contains: Vec<Vec<u8>>,
    regex: Option<RegexSet>,
}

/// All searches of an engine; each has a place.
#[derive(Clone, Debug)]
pub(super) struct Searches {
    all: Vec<Finds>,
    /// The texts of all of them.
    sieve: Option<AhoCorasick>,
    /// By text: the searches that it is enough for, and those that are worth asking.
    of_text: Vec<(Vec<u32>, Vec<u32>)>,
    /// Those whose expressions need no text that is worth looking for.
    unsieved: Vec<u64>,
    sqli: Vec<u64>,
    xss: Vec<u64>,
    /// Those that are for the standard reading alone.
    standard: Vec<u64>,
    /// Which of them look at what.
    subjects: Vec<(Subject, Vec<u64>)>,
    detectors: Detectors,
}

/// What is asked of them for one request: a bit for each search.
#[derive(Debug, Default)]
pub(super) struct Looking {
    wanted: Vec<u64>,
    /// What is left of it in the part of the request that is being looked at.
    left: Vec<u64>,
    /// What is worth asking about a reading.
    asks: Vec<u64>,
    /// What was found.
    pub(super) found: Vec<u64>,
    /// How often what is slow may still be asked.
    budget: Cell<usize>,
}

/// Bytes that all expressions of a search may take, and the tables that they make, for each of them.
const EXPRESSION_BYTES_MAX: usize = 256 << 10;

impl Searches {
    /// Of searches in their order, each with whether it is for the standard reading alone.
    pub(super) fn new(searches: &[(&Search, bool)]) -> Searches {
        let words = searches.len().div_ceil(64);
        let none = || vec![0; words];
        let mut new = Searches {
            all: searches.iter().map(|(search, _)| Finds::new(search)).collect(),
            sieve: None,
            of_text: Vec::new(),
            unsieved: none(),
            sqli: none(),
            xss: none(),
            standard: none(),
            subjects: Vec::new(),
            detectors: Detectors::new(),
        };
        let mut texts: Vec<Vec<u8>> = Vec::new();
        let mut known = std::collections::HashMap::new();
        for (place, (search, standard)) in searches.iter().enumerate() {
            let mut add = |text: Vec<u8>, is_enough: bool| {
                let at = *known.entry(text).or_insert_with_key(|text| {
                    texts.push(text.clone());
                    new.of_text.push(Default::default());
                    texts.len() - 1
                });
                let (enough, asks) = &mut new.of_text[at];
                let list = if is_enough { enough } else { asks };
                list.extend(u32::try_from(place));
            };
            search.contains.iter().for_each(|text| add(text.to_ascii_lowercase().into_bytes(), true));
            for expression in &search.regex {
                match literals::needed(expression.source()) {
                    Some(texts) => texts.into_iter().for_each(|text| add(text, false)),
                    None => set(&mut new.unsieved, place),
                }
            }
            let mark = |bits: &mut [u64], is_so: bool| {
                if is_so {
                    set(bits, place);
                }
            };
            mark(&mut new.sqli, search.sqli);
            mark(&mut new.xss, search.xss);
            mark(&mut new.standard, *standard || search.standard);
            for subject in &search.within {
                let at = new.subjects.iter().position(|(known, _)| known == subject).unwrap_or_else(|| {
                    new.subjects.push((subject.clone(), none()));
                    new.subjects.len() - 1
                });
                set(&mut new.subjects[at].1, place);
            }
        }
        new.sieve = (!texts.is_empty()).then(|| automaton(&texts)).flatten();
        if new.sieve.is_none() && !texts.is_empty() {
            // Too much for an automaton: each is asked, which is slow but right.
            (0..searches.len()).for_each(|place| set(&mut new.unsieved, place));
        }
        new
    }

    /// Whether the search at this place is for texts of such content.
    pub(super) fn look_within(&self, place: usize, content: Subjects) -> bool {
        self.subjects.iter().any(|(subject, bits)| content.has(subject) && is_set(bits, place))
    }

    /// Begins to look for nothing.
    pub(super) fn begin(&self, looking: &mut Looking) {
        for bits in [&mut looking.wanted, &mut looking.found] {
            bits.clear();
            bits.resize(self.unsieved.len(), 0);
        }
        looking.budget.set(ASKS_MAX);
    }

    /// Looks through the head of a request for what is wanted.
    pub(super) fn look_at_head(
        &self,
        asked: &Asked<'_>,
        readings: &mut Readings,
        looking: &mut Looking,
        by_each: bool,
    ) {
        if looking.wanted.iter().all(|&word| word == 0) {
            return;
        }
        for (subject, _) in &self.subjects {
            if !self.turn_to(subject, looking) {
                continue;
            }
            each_text(subject, asked, &mut |text, manner| {
                readings.any(text, manner, &mut |reading, is_standard| {
                    self.look(reading, is_standard, looking, by_each)
                })
            });
        }
    }

    /// Turns to a part of a request; whether something is wanted there.
    pub(super) fn turn_to(&self, subject: &Subject, looking: &mut Looking) -> bool {
        let Some((_, bits)) = self.subjects.iter().find(|(known, _)| known == subject) else { return false };
        let Looking { wanted, left, found, .. } = looking;
        left.clear();
        left.extend(
            bits.iter().zip(&*wanted).zip(&*found).map(|((bits, wanted), found)| bits & wanted & !found),
        );
        left.iter().any(|&word| word != 0)
    }

    /// Looks through a reading of a text; whether nothing is left to look for.
    pub(super) fn look(
        &self,
        reading: &[u8],
        is_standard: bool,
        looking: &mut Looking,
        by_each: bool,
    ) -> bool {
        let Looking { left, asks, found, budget, .. } = looking;
        let may = |standard: u64| if is_standard { u64::MAX } else { !standard };
        asks.clear();
        asks.extend_from_slice(if by_each { &*left } else { &self.unsieved });
        if let (Some(sieve), false) = (&self.sieve, by_each) {
            for text in sieve.find_overlapping_iter(reading) {
                let (enough, worth) = &self.of_text[text.pattern().as_usize()];
                for &place in enough {
                    let (word, bit) = (place as usize / 64, 1 << (place % 64));
                    found[word] |= bit & left[word] & may(self.standard[word]);
                }
                worth.iter().for_each(|&place| set(asks, place as usize));
            }
        }
        let is = |of: &[u64], left: &[u64]| {
            of.iter()
                .zip(&self.standard)
                .zip(left)
                .any(|((of, standard), left)| of & left & may(*standard) != 0)
        };
        let finds_sqli = is(&self.sqli, left) && self.detectors.is_sqli(reading, budget);
        let finds_xss = is(&self.xss, left) && self.detectors.is_xss(reading);
        let mut is_left = false;
        for word in 0..left.len() {
            let may = left[word] & may(self.standard[word]);
            found[word] |= may & if finds_sqli { self.sqli[word] } else { 0 };
            found[word] |= may & if finds_xss { self.xss[word] } else { 0 };
            let mut worth = asks[word] & may & !found[word];
            while worth != 0 {
                let bit = worth.trailing_zeros();
                worth &= worth - 1;
                if self.all[word * 64 + bit as usize].is_in(reading, by_each || self.sieve.is_none()) {
                    found[word] |= 1 << bit;
                }
            }
            left[word] &= !found[word];
            is_left |= left[word] != 0;
        }
        !is_left
    }
}

impl Looking {
    /// Wants those as well.
    pub(super) fn want(&mut self, places: std::ops::Range<usize>) {
        places.for_each(|place| set(&mut self.wanted, place));
    }
}

impl Finds {
    fn new(search: &Search) -> Finds {
        Finds {
            contains: search.contains.iter().map(|text| text.to_ascii_lowercase().into_bytes()).collect(),
            regex: all(&search.regex),
        }
    }

    /// Whether it is in this reading of a text, as far as it is not looked for otherwise.
    fn is_in(&self, text: &[u8], by_each: bool) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
            || by_each && self.contains.iter().any(|wanted| is_within(wanted, text))
    }
}

/// Whether one text is in another, whatever the case.
fn is_within(wanted: &[u8], text: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
}

/// All of them as one, if there are some.
fn all(expressions: &[Expression]) -> Option<RegexSet> {
    if expressions.is_empty() {
        return None;
    }
    let bytes_max = EXPRESSION_BYTES_MAX.saturating_mul(expressions.len());
    let mut builder = RegexSetBuilder::new(expressions.iter().map(Expression::source));
    builder.unicode(false).case_insensitive(true).size_limit(2 * bytes_max).dfa_size_limit(bytes_max);
    // Each of them has been read before.
    builder.build().ok()
}

/// Whether a search found something.
pub(super) fn is_set(bits: &[u64], place: usize) -> bool {
    bits.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
}

fn set(bits: &mut [u64], place: usize) {
    if let Some(word) = bits.get_mut(place / 64) {
        *word |= 1 << (place % 64);
    }
}
