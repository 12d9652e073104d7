//! What the rules that look at the head have left to be asked of the content: which that could still hold, and whether
//! anything would become of the request.
//!
//! What is in the content is not known here, and neither are the tags that depend on it. A condition is asked twice:
//! supposing that whatever is not known makes it hold, and supposing the opposite. What does not hold in the first case
//! never will, and what holds in the second does so anyway.

use super::condition::{Cond, Mode, View};
use super::search::Searches;
use super::{Asked, Engine, Known, Marks, Scratch, Verdict, mode};
use crate::config::rules::{RuleAction, Subject};

/// What content may be, or what of it is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// A form.
    pub form: bool,
    /// JSON.
    pub json: bool,
}

impl Subjects {
    /// That one alone; none for what is not in content.
    pub fn only(subject: &Subject) -> Subjects {
        Subjects { form: *subject == Subject::Form, json: *subject == Subject::Json }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self == Subjects::default()
    }

    /// What is in this or in the other.
    pub fn or(self, other: Subjects) -> Subjects {
        Subjects { form: self.form || other.form, json: self.json || other.json }
    }

    /// What is in both.
    pub fn and(self, other: Subjects) -> Subjects {
        Subjects { form: self.form && other.form, json: self.json && other.json }
    }

    pub(super) fn has(self, subject: &Subject) -> bool {
        !Subjects::only(subject).and(self).is_empty()
    }
}

/// How much it matters what is in a content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Care {
    /// No rule asks.
    #[default]
    Nobody,
    /// Some would only say or count it, or would let the request pass: it goes on whether it can be read or not.
    Noted,
    /// Some would turn the request away, or mark it.
    Acted,
}

/// The same for each kind of content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// For a form.
    pub form: Care,
    /// For JSON.
    pub json: Care,
}

impl Awaited {
    /// What matters so much, or more.
    pub fn at_least(self, care: Care) -> Subjects {
        Subjects { form: self.form >= care, json: self.json >= care }
    }

    /// How much one of these matters, at most.
    pub fn of(self, subjects: Subjects) -> Care {
        let of = |is_wanted: bool, care| if is_wanted { care } else { Care::Nobody };
        of(subjects.form, self.form).max(of(subjects.json, self.json))
    }

    /// More of both.
    pub fn or(self, other: Awaited) -> Awaited {
        Awaited { form: self.form.max(other.form), json: self.json.max(other.json) }
    }
}

impl Engine {
    /// Asks the rules up to `until` that look at content, which is one of `content` and is not known, once the head has
    /// been asked for. Says for which of them it matters, tells `on` of those that were put off but hold whatever it is,
    /// and does what these say. Rules behind the first that makes content matter as much as it can are not asked.
    pub fn settle(
        &self,
        asked: &Asked<'_>,
        content: Subjects,
        until: usize,
        marks: &mut Marks,
        scratch: &mut Scratch,
        on: &mut dyn FnMut(usize),
    ) -> (Awaited, Verdict) {
        scratch.read_paths(asked);
        let Scratch { readings, paths, looking, .. } = scratch;
        self.searches.begin(looking);
        let waiting = self.rules.iter().take(until).filter(|rule| rule.wants_content);
        waiting.for_each(|rule| looking.want(rule.searches.clone()));
        self.searches.look_at_head(asked, readings, looking, false);
        readings.shrink();
        let (mut awaited, mut late, mut skipped) = (Awaited::default(), Marks::default(), None);
        let rules = self.rules.iter().enumerate().take(until);
        for (place, rule) in rules.filter(|(_, rule)| rule.wants_content) {
            if skipped == Some(rule.set) {
                continue;
            }
            let tags = rule.tags(*marks);
            let view = View { asked, found: [&looking.found, &[]], paths, tags };
            let unknown = Unknown { searches: &self.searches, content, tags: rule.tags(late) };
            if !rule.would_hold(&view, unknown, true) {
                continue;
            }
            if !rule.waits || !rule.would_hold(&view, unknown, false) {
                awaited = awaited.or(rule.awaits(content));
                match &rule.action {
                    RuleAction::Tag(_) if rule.detect_only => late.would |= rule.tag,
                    RuleAction::Tag(_) => late.tags |= rule.tag,
                    _ => {}
                }
                let wanted = self.subjects.and(content);
                let is_enough = |is_wanted: bool, care: Care| !is_wanted || care == Care::Acted;
                if is_enough(wanted.form, awaited.form) && is_enough(wanted.json, awaited.json) {
                    break;
                }
                continue;
            }
            on(place);
            if let Some(verdict) = rule.done(place, marks, &mut skipped) {
                return (awaited, verdict);
            }
        }
        (awaited, Verdict::Pass)
    }
}

/// What is not known.
#[derive(Clone, Copy)]
struct Unknown<'a> {
    searches: &'a Searches,
    content: Subjects,
    /// Tags that rules may give once it is.
    tags: u64,
}

impl Known {
    fn would_hold(&self, view: &View<'_>, unknown: Unknown<'_>, so: bool) -> bool {
        self.conditions.iter().all(|condition| condition.would_hold(view, mode(&self.action), unknown, so))
    }

    fn awaits(&self, content: Subjects) -> Awaited {
        let is_harmless = self.detect_only || matches!(self.action, RuleAction::Log | RuleAction::Allow);
        let care = if is_harmless { Care::Noted } else { Care::Acted };
        let wanted = self.subjects.and(content);
        let of = |is_wanted: bool| if is_wanted { care } else { Care::Nobody };
        Awaited { form: of(wanted.form), json: of(wanted.json) }
    }
}

impl Cond {
    /// Whether it holds, supposing that what is not known has it hold (`so`), or that it does not.
    fn would_hold(&self, view: &View<'_>, mode: Mode, unknown: Unknown<'_>, so: bool) -> bool {
        let holds = |part: &Cond| part.would_hold(view, mode, unknown, so);
        match self {
            Cond::Finds(place) if so && unknown.searches.look_within(*place, unknown.content) => true,
            Cond::Tagged(tags) if so && unknown.tags & tags != 0 => true,
            Cond::All(parts) => parts.iter().all(holds),
            Cond::Any(parts) => parts.iter().any(holds),
            Cond::Not(part) => !part.would_hold(view, mode.other(), unknown, !so),
            Cond::Is(_) | Cond::Size(..) | Cond::UserAgent(_) | Cond::Tagged(_) | Cond::Finds(_) => {
                self.holds(view, mode)
            }
        }
    }
}

#[cfg(test)]
#[path = "late_tests.rs"]
mod tests;
