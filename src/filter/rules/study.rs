//! What rules look for in the content of a request, found before they are asked: a little at a time, since there may be
//! much of it, and every reading of a text for all rules at once.
//!
//! ```text
//!   texts ─▶ readings ─┬▶ index ─▶ candidates
//!                      └▶ searches ─▶ found
//! ```

use super::{Asked, Engine, Scratch, Texts};

/// So many bytes are looked at before others have their turn.
const TURN_BYTES: usize = 16 * 1024;
/// What a text costs beside its bytes.
const TEXT_BYTES: usize = 64;

/// See the module.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rules that may hold, a bit for each.
    pub(super) candidates: Vec<u64>,
    /// What was found, a bit for each search.
    pub(super) searches: Vec<u64>,
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
        let mut scratch = Scratch::default();
        let mut candidates = Vec::new();
        scratch.read_paths(asked);
        let Scratch { readings, paths, seen, .. } = &mut scratch;
        self.index.find(asked, paths, (readings, seen), &mut candidates);
        self.index.wants_content(&mut candidates);
        self.look(content, candidates, scratch, (Turns { bytes: 0, pause }, false)).await
    }

    /// The same without the index.
    pub async fn study_each(&self, _: &Asked<'_>, content: &Texts<'_>) -> Found {
        let candidates = vec![u64::MAX; self.rules.len().div_ceil(64)];
        let turns = Turns { bytes: 0, pause: async || {} };
        self.look(content, candidates, Scratch::default(), (turns, true)).await
    }

    /// Looks for what rules look for there.
    async fn look<P: AsyncFn()>(
        &self,
        content: &Texts<'_>,
        mut candidates: Vec<u64>,
        scratch: Scratch,
        (mut turns, by_each): (Turns<P>, bool),
    ) -> Found {
        let Scratch { mut readings, mut looking, .. } = scratch;
        self.searches.begin(&mut looking);
        for rule in self.rules.iter().filter(|rule| rule.wants_content) {
            looking.want(rule.searches.clone());
        }
        let mut is_wanted = self.searches.turn_to(&content.subject, &mut looking);
        for (text, manner) in &content.texts {
            let (all, standard) = readings.all(text, *manner);
            for (at, reading) in all.iter().enumerate() {
                self.index.find_content(reading, &mut candidates);
                // Both take their time where a text is long.
                turns.did(reading.len()).await;
                if is_wanted {
                    is_wanted = !self.searches.look(reading, at == standard, &mut looking, by_each);
                }
                turns.did(reading.len()).await;
            }
        }
        Found { candidates, searches: looking.found }
    }
}
