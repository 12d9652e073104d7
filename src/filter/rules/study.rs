//! What rules look for in the content of a request, found before they are asked: a little at a time, since there may be
//! much of it, and every reading of a text for all rules at once.
//!
//! ```text
//!   texts ─▶ readings ─▶ index ─▶ candidates ─┐
//!     └────▶ readings ─▶ what the first condition of each looks for ─▶ the second of those that are left ─▶ …
//! ```

use std::cell::Cell;

use super::condition::{Cond, Finds, Mode, View};
use super::decode::Readings;
use super::{Asked, Bits, Engine, Marks, ODD_BYTES_MAX, ODD_READINGS_MAX, Scratch, Texts};

/// So many bytes are looked at before others have their turn.
const TURN_BYTES: usize = 32 * 1024;
/// What a text costs beside its bytes.
const TEXT_BYTES: usize = 64;

/// See the module.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rules that may hold, a bit for each.
    pub(super) candidates: Vec<u64>,
    /// Whether it was found, by the places of searches.
    pub(super) searches: Vec<bool>,
}

/// Work that gives way to others.
struct Turns<P> {
    bytes: usize,
    pause: P,
}

impl<P: AsyncFn()> Turns<P> {
    async fn did(&mut self, bytes: usize) {
        self.bytes += bytes + TEXT_BYTES;
        if self.bytes >= TURN_BYTES {
            self.bytes = 0;
            (self.pause)().await;
        }
    }
}

impl Engine {
    /// Looks through content. `pause` is waited for now and then.
    pub async fn study(&self, asked: &Asked<'_>, content: &Texts<'_>, pause: impl AsyncFn()) -> Found {
        let mut turns = Turns { bytes: 0, pause };
        let mut scratch = Scratch::default();
        let mut bits = Vec::new();
        scratch.read_paths(asked);
        let Scratch { readings, paths, seen, .. } = &mut scratch;
        self.index.find(asked, paths, (readings.get_mut(), seen), &mut bits);
        if self.index.wants_content(&mut bits) {
            for (text, manner) in &content.texts {
                let (all, _) = readings.get_mut().all(text, *manner);
                for reading in all {
                    self.index.find_content(reading, &mut bits);
                    turns.did(reading.len()).await;
                }
            }
        }
        self.look(asked, content, bits, scratch, &mut turns).await
    }

    /// The same without the index.
    pub async fn study_each(&self, asked: &Asked<'_>, content: &Texts<'_>) -> Found {
        let mut scratch = Scratch::default();
        scratch.read_paths(asked);
        let mut turns = Turns { bytes: 0, pause: async || {} };
        let bits = vec![u64::MAX; self.rules.len().div_ceil(64)];
        self.look(asked, content, bits, scratch, &mut turns).await
    }

    /// Looks for what the conditions of candidates look for.
    async fn look<P: AsyncFn()>(
        &self,
        asked: &Asked<'_>,
        content: &Texts<'_>,
        candidates: Vec<u64>,
        mut scratch: Scratch,
        turns: &mut Turns<P>,
    ) -> Found {
        let bytes: usize = content.texts.iter().map(|(text, _)| text.len()).sum();
        let budget = Cell::new(ODD_BYTES_MAX.saturating_add(ODD_READINGS_MAX.saturating_mul(bytes)));
        let mut found = Found { candidates, searches: vec![false; self.searches] };
        let mut left: Vec<(&[Cond], Mode)> = Bits::all(&found.candidates)
            .filter_map(|place| self.rules.get(place))
            .filter(|rule| rule.wants_content)
            .map(|rule| (&rule.conditions[..], rule.mode()))
            .collect();
        let mut readings = Readings::default();
        while !left.is_empty() {
            let mut searches = Vec::new();
            for (conditions, mode) in &left {
                conditions.iter().take(1).for_each(|condition| condition.searches(*mode, &mut searches));
            }
            searches.retain(|(search, _)| search.looks_at(&content.subject));
            if !searches.is_empty() {
                for (text, manner) in &content.texts {
                    let (all, standard) = readings.all(text, *manner);
                    for &(search, mode) in &searches {
                        for (at, reading) in all.iter().enumerate() {
                            let Some(is_found) = found.searches.get_mut(search.place) else { continue };
                            if !*is_found && (mode == Mode::Any || at == standard) {
                                *is_found = search.is_in(reading, &budget, mode);
                                turns.did(reading.len()).await;
                            }
                        }
                    }
                }
            }
            // What was not found ends it for a rule, unless it is something that depends on other rules.
            let view = View {
                asked,
                found: Some(&found),
                paths: &scratch.paths,
                tags: Marks::default().tags,
                readings: &scratch.readings,
                budget: &budget,
            };
            left.retain_mut(|(conditions, mode)| {
                let Some((first, behind)) = conditions.split_first() else { return false };
                *conditions = behind;
                !behind.is_empty() && (!matches!(first, Cond::Finds(_)) || first.holds(&view, *mode))
            });
        }
        scratch.readings.get_mut().shrink();
        found
    }
}

impl Finds {
    fn looks_at(&self, subject: &crate::config::rules::Subject) -> bool {
        self.within.contains(subject)
    }
}
