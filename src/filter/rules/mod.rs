//! Rules that requests are held against: which of them hold, in their order, found by an index rather than one by one.
//!
//! ```text
//!   request ─▶ index: keys of all rules at once ─▶ candidates ─▶ conditions, in order ─▶ hits
//!                │ decode: every reading of a text                  │ a hit that ends it, or none
//! ```
//!
//! Nothing here counts, waits or answers: whoever asks is told of each hit. Asking allocates nothing where nothing is
//! escaped, and takes a time that hardly grows with the number of rules. Content is looked at in a second pass, once it
//! is at hand: see [`Pass`].

mod condition;
pub mod decode;
pub mod form;
pub mod fuzz_rules;
pub mod fuzz_texts;
mod index;
pub mod inject;
mod keys;
mod late;
mod literals;
mod search;
mod seen;
mod study;

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use self::condition::{Cond, Mode, View};
use self::decode::{Manner, Readings};
use self::index::Index;
pub use self::late::{Awaited, Care, Subjects};
use self::search::{Looking, Searches};
use self::seen::Seen;
pub use self::study::Found;
use crate::config::rules::{Rule, RuleAction, Subject, When};
use crate::http::{Fields, path};

/// A request, as far as rules can tell requests apart.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The host in lower case, without port.
    pub host: &'a [u8],
    /// The path as it was sent.
    pub sent_path: &'a [u8],
    /// The path in normal form.
    pub path: &'a [u8],
    /// The query, without the question mark.
    pub query: Option<&'a [u8]>,
    /// The method's name.
    pub method: &'a [u8],
    /// The field lines of its head.
    pub fields: Fields<'a>,
    /// The bytes of those lines.
    pub field_bytes: &'a [u8],
    /// The name of the listener that it came in at.
    pub listener: &'a str,
    /// The client's address, if it has one.
    pub client: Option<IpAddr>,
    /// The declared size of its content.
    pub size: Option<u64>,
}

/// Texts of a request's content.
#[derive(Clone, Debug)]
pub struct Texts<'a> {
    /// [`Subject::Form`] or [`Subject::Json`].
    pub subject: Subject,
    /// Each with how it is written.
    pub texts: Vec<(Cow<'a, [u8]>, Manner)>,
}

/// A rule of a chain.
#[derive(Clone, Debug)]
pub struct Known {
    conditions: Vec<Cond>,
    /// The places of what it looks for.
    searches: Range<usize>,
    /// What becomes of the request.
    pub action: RuleAction,
    /// Which set of the chain it is in.
    pub set: usize,
    /// Whether it only counts and says.
    pub detect_only: bool,
    /// Its tag's bit.
    tag: u64,
    /// What of the content it looks at.
    subjects: Subjects,
    /// Whether it cannot be known without the content.
    wants_content: bool,
    /// Whether it could hold as long as the content is not known, and then does not.
    waits: bool,
}

/// The rules of a listener or a route.
#[derive(Clone, Debug)]
pub struct Engine {
    index: Index,
    rules: Vec<Known>,
    searches: Searches,
    wants_client: bool,
    subjects: Subjects,
}

/// Memory that a core has for asking.
#[derive(Debug, Default)]
pub struct Scratch {
    bits: Vec<u64>,
    readings: Readings,
    paths: Vec<Vec<u8>>,
    seen: Seen,
    looking: Looking,
}

/// What is left of earlier passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Tags that were given.
    pub tags: u64,
    /// Tags that would have been given by sets that only detect.
    pub would: u64,
}

/// Which pass it is.
#[derive(Clone, Copy, Debug)]
pub enum Pass<'a> {
    /// The head alone is known. `content_follows` says that the second pass will come.
    Head {
        /// See above.
        content_follows: bool,
    },
    /// The content has been looked through: those rules are asked that look at it, up to this one, but for these, which
    /// held for the head alone and have been told.
    Content(&'a Found, usize, &'a [usize]),
}

impl Pass<'_> {
    /// Whether the rule was told of before.
    fn has_told(&self, place: usize) -> bool {
        matches!(self, Pass::Content(_, _, told) if told.contains(&place))
    }
}

/// How a pass ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request goes on.
    Pass,
    /// It goes on, and no further rule is asked: because of this one.
    Allowed(usize),
    /// It does not go on: because of this one.
    Turned(usize),
}

impl Engine {
    /// Of sets in their order, each with whether it only detects. `tags` are the names of all tags there are.
    pub fn new<'r>(sets: impl IntoIterator<Item = (bool, &'r [Rule])>, tags: &[String]) -> Engine {
        let tag = |name: &str| match tags.iter().position(|known| known == name) {
            Some(place) if place < 64 => 1 << place,
            _ => 0,
        };
        let (mut rules, mut keys, mut searches) = (Vec::new(), Vec::new(), Vec::new());
        let (mut subjects, mut wants_client) = (Subjects::default(), false);
        for (set, (detect_only, all)) in sets.into_iter().enumerate() {
            for rule in all {
                let of_rule = Subjects { form: rule.wants(&Subject::Form), json: rule.wants(&Subject::Json) };
                subjects = subjects.or(of_rule);
                wants_client |= rule.when.iter().any(|when| when.any(&asks_for_client));
                keys.push(keys::key(&rule.when));
                let mode = mode(&rule.action);
                let first = searches.len();
                let conditions = rule.when.iter().map(|when| Cond::new(when, mode, &tag, &mut searches));
                rules.push(Known {
                    conditions: conditions.collect(),
                    searches: first..searches.len(),
                    action: rule.action.clone(),
                    set,
                    detect_only,
                    tag: if let RuleAction::Tag(name) = &rule.action { tag(name) } else { 0 },
                    subjects: of_rule,
                    wants_content: !of_rule.is_empty(),
                    waits: rule.when.iter().any(waits),
                });
            }
        }
        follow_tags(&mut rules);
        let index = Index::new(&keys);
        let searches = Searches::new(&searches);
        let wants_client = wants_client || index.wants_client();
        Engine { index, rules, searches, wants_client, subjects }
    }

    /// Whether some rule asks for the client's network.
    pub fn wants_client(&self) -> bool {
        self.wants_client
    }

    /// Which kinds of content some rule looks at.
    pub fn subjects(&self) -> Subjects {
        self.subjects
    }

    /// The rule at a place.
    pub fn rule(&self, place: usize) -> Option<&Known> {
        self.rules.get(place)
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Asks the rules in their order, and tells `on` of each that holds.
    pub fn check(
        &self,
        asked: &Asked<'_>,
        pass: Pass<'_>,
        marks: &mut Marks,
        scratch: &mut Scratch,
        on: &mut dyn FnMut(usize),
    ) -> Verdict {
        scratch.read_paths(asked);
        let Scratch { bits, readings, paths, seen, looking } = scratch;
        match pass {
            Pass::Head { .. } => self.index.find(asked, paths, (readings, seen), bits),
            Pass::Content(found, ..) => bits.clone_from(&found.candidates),
        }
        if bits.iter().all(|&word| word == 0) {
            readings.shrink();
            return Verdict::Pass;
        }
        self.want(Bits::all(bits), pass, looking);
        self.searches.look_at_head(asked, readings, looking, false);
        readings.shrink();
        self.ask(Bits::all(bits), asked, pass, marks, (paths, looking), on)
    }

    /// Wants what these rules look for.
    fn want(&self, candidates: impl Iterator<Item = usize>, pass: Pass<'_>, looking: &mut Looking) {
        self.searches.begin(looking);
        let rules = candidates.filter_map(|place| self.rules.get(place));
        rules.filter(|rule| rule.is_asked(pass)).for_each(|rule| looking.want(rule.searches.clone()));
    }

    /// Asks these rules.
    fn ask(
        &self,
        candidates: impl Iterator<Item = usize>,
        asked: &Asked<'_>,
        pass: Pass<'_>,
        marks: &mut Marks,
        (paths, looking): (&[Vec<u8>], &Looking),
        on: &mut dyn FnMut(usize),
    ) -> Verdict {
        let (found, until) = match pass {
            Pass::Content(found, until, _) => (&found.searches[..], until),
            Pass::Head { .. } => (&[][..], usize::MAX),
        };
        let mut skipped = None;
        for place in candidates.take_while(|&place| place < until) {
            let Some(rule) = self.rules.get(place) else { break };
            if pass.has_told(place) {
                let skips = rule.detect_only && rule.action == RuleAction::Allow;
                skipped = if skips { Some(rule.set) } else { skipped };
                continue;
            }
            if !rule.is_asked(pass) || skipped == Some(rule.set) {
                continue;
            }
            let view = View { asked, found: [&looking.found, found], paths, tags: rule.tags(*marks) };
            if !rule.holds(&view) {
                continue;
            }
            on(place);
            if let Some(verdict) = rule.done(place, marks, &mut skipped) {
                return verdict;
            }
        }
        Verdict::Pass
    }

    /// The same without the index: what it has to agree with.
    pub fn check_each(
        &self,
        asked: &Asked<'_>,
        pass: Pass<'_>,
        marks: &mut Marks,
        scratch: &mut Scratch,
        on: &mut dyn FnMut(usize),
    ) -> Verdict {
        scratch.read_paths(asked);
        let Scratch { readings, paths, looking, .. } = scratch;
        self.want(0..self.rules.len(), pass, looking);
        self.searches.look_at_head(asked, readings, looking, true);
        self.ask(0..self.rules.len(), asked, pass, marks, (paths, looking), on)
    }
}

impl Known {
    fn holds(&self, view: &View<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(view, mode(&self.action)))
    }

    /// The tags that it sees.
    fn tags(&self, marks: Marks) -> u64 {
        if self.detect_only { marks.tags | marks.would } else { marks.tags }
    }

    /// What becomes of a request for which it holds, if no further rule is asked. `skipped` is a set whose rules are
    /// not asked any more.
    fn done(&self, place: usize, marks: &mut Marks, skipped: &mut Option<usize>) -> Option<Verdict> {
        match &self.action {
            RuleAction::Tag(_) if self.detect_only => marks.would |= self.tag,
            RuleAction::Tag(_) => marks.tags |= self.tag,
            RuleAction::Allow if self.detect_only => *skipped = Some(self.set),
            RuleAction::Allow => return Some(Verdict::Allowed(place)),
            RuleAction::Log => {}
            _ if self.detect_only => {}
            _ => return Some(Verdict::Turned(place)),
        }
        None
    }

    /// Whether this pass is the one that it is asked in.
    fn is_asked(&self, pass: Pass<'_>) -> bool {
        match pass {
            Pass::Head { content_follows } => !(content_follows && self.waits),
            Pass::Content(..) => self.wants_content,
        }
    }
}

/// What has to be so for a rule that does this.
fn mode(action: &RuleAction) -> Mode {
    if *action == RuleAction::Allow { Mode::Every } else { Mode::Any }
}

impl Scratch {
    /// The readings of the path beside its normal form, of which there are none for nearly every path.
    fn read_paths(&mut self, asked: &Asked<'_>) {
        self.paths.clear();
        let is_same = asked.path == asked.sent_path;
        for text in [asked.path, asked.sent_path].into_iter().take(if is_same { 1 } else { 2 }) {
            if memchr::memchr3(b'%', b'\\', b';', text).is_none() {
                continue;
            }
            for reading in path::readings(text) {
                let mut out = Vec::new();
                let is_new = path::read(text, reading, &mut out).is_ok() && out != asked.path;
                if is_new && !self.paths.contains(&out) {
                    self.paths.push(out);
                }
            }
        }
    }
}

/// The places of the bits that are set.
struct Bits(u64);

impl Bits {
    /// The same over several words.
    fn all(words: &[u64]) -> impl Iterator<Item = usize> {
        words.iter().enumerate().flat_map(|(at, &word)| Bits(word).map(move |bit| at * 64 + bit))
    }
}

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros();
        self.0 = self.0.checked_sub(1).map(|less| self.0 & less)?;
        Some(bit as usize)
    }
}

/// Rules that ask for tags of rules that look at content look at it too.
fn follow_tags(rules: &mut [Known]) {
    loop {
        let late = rules.iter().filter(|rule| rule.wants_content).fold(0, |bits, rule| bits | rule.tag);
        let mut changed = false;
        for rule in rules.iter_mut() {
            let asks = rule.conditions.iter().any(|condition| asks_for(condition, late));
            let waits = rule.conditions.iter().any(|condition| asks_under_not(condition, late));
            changed |= asks && !rule.wants_content || waits && !rule.waits;
            rule.wants_content |= asks;
            rule.waits |= waits;
        }
        if !changed {
            return;
        }
    }
}

fn asks_for(condition: &Cond, tags: u64) -> bool {
    match condition {
        Cond::Tagged(wanted) => wanted & tags != 0,
        Cond::All(parts) | Cond::Any(parts) => parts.iter().any(|part| asks_for(part, tags)),
        Cond::Not(part) => asks_for(part, tags),
        _ => false,
    }
}

fn asks_under_not(condition: &Cond, tags: u64) -> bool {
    match condition {
        Cond::All(parts) | Cond::Any(parts) => parts.iter().any(|part| asks_under_not(part, tags)),
        Cond::Not(part) => asks_for(part, tags),
        _ => false,
    }
}

/// Whether something that is not to be in the content has to be waited for.
fn waits(when: &When) -> bool {
    match when {
        When::Not(part) => part.wants(&Subject::Form) || part.wants(&Subject::Json),
        When::All(parts) | When::Any(parts) => parts.iter().any(waits),
        _ => false,
    }
}

fn asks_for_client(when: &When) -> bool {
    use crate::config::matching::Condition;
    fn is(condition: &Condition) -> bool {
        match condition {
            Condition::Client(_) => true,
            Condition::All(parts) | Condition::Any(parts) => parts.iter().any(is),
            Condition::Not(part) => is(part),
            _ => false,
        }
    }
    matches!(when, When::Is(condition) if is(condition))
}

/// Bytes of texts that are made into a table; more of them are found a little slower, in less memory.
const TABLE_BYTES_MAX: usize = 64 * 1024;

/// Finds all of these texts, whatever the case; none where there is too much of them.
fn automaton(texts: &[Vec<u8>]) -> Option<AhoCorasick> {
    let bytes: usize = texts.iter().map(Vec::len).sum();
    let kind = if bytes <= TABLE_BYTES_MAX { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
    let mut builder = AhoCorasick::builder();
    builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard).kind(Some(kind));
    builder.build(texts).ok()
}

#[cfg(test)]
#[path = "agree_tests.rs"]
mod agree;
#[cfg(test)]
#[path = "probes_tests.rs"]
mod probes;
