//! What probes make of an endpoint: it rises after some in a row that passed, and falls after some that failed.
//!
//! ```text
//!              first probe failed, or `fall` in a row
//!   up, unproven ─────────────────────────────────▶ down
//!        │ a probe passed                             │ ▲
//!        ▼            `rise` in a row passed          │ │
//!   up, proven  ◀─────────────────────────────────────┘ │
//!        └──────────── `fall` in a row failed ──────────┘
//! ```
//!
//! An endpoint is up until somebody says otherwise, so that a proxy that starts serves at once. But one that has never
//! passed a probe has no credit: its first failure takes it down. And one that joins others, which can serve without it,
//! is down until its first probe has passed.

/// What the probes of an endpoint have said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    down: bool,
    /// Some probe has passed.
    proven: bool,
    /// It has joined others, and no probe has said anything yet.
    joins: bool,
    /// Results in a row that speak against how it is.
    against: u32,
}

/// How an endpoint has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is up: so many probes in a row have passed.
    Up(u32),
    /// It is down: so many probes in a row have failed.
    Down(u32),
}

impl Checks {
    /// One that joins others: it is down until its first probe has passed.
    pub fn joining() -> Checks {
        Checks { down: true, joins: true, ..Checks::default() }
    }

    /// Whether it is down only because no probe has said anything yet.
    pub fn is_joining(self) -> bool {
        self.joins
    }

    /// There are no others that could serve: one that is joining is up like one that was there from the start.
    pub fn admit(&mut self) {
        if self.joins {
            *self = Checks::default();
        }
    }

    /// Whether it is up.
    pub fn is_up(self) -> bool {
        !self.down
    }

    /// Takes the result of a probe. `rise` and `fall` are at least 1.
    pub fn take(&mut self, passed: bool, rise: u32, fall: u32) -> Option<Change> {
        if std::mem::take(&mut self.joins) {
            (self.down, self.proven) = (!passed, passed);
            return Some(if passed { Change::Up(1) } else { Change::Down(1) });
        }
        let speaks_against = passed == self.down;
        let unproven = !self.proven;
        self.proven |= passed;
        if !speaks_against {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = match self.down {
            true => self.against >= rise,
            false => unproven || self.against >= fall,
        };
        if !enough {
            return None;
        }
        self.down = !passed;
        let count = std::mem::take(&mut self.against);
        Some(if passed { Change::Up(count) } else { Change::Down(count) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What becomes of an endpoint with these results: `+` passed, `-` failed; after each `U` or `D` where it changed,
    /// else `.`.
    fn story(results: &str, rise: u32, fall: u32) -> String {
        let mut checks = Checks::default();
        let told = |result| match checks.take(result == '+', rise, fall) {
            None => '.',
            Some(Change::Up(_)) => 'U',
            Some(Change::Down(_)) => 'D',
        };
        results.chars().map(told).collect()
    }

    #[test]
    fn a_table_of_stories() {
        for (results, rise, fall, told) in [
            ("++++", 2, 3, "...."),
            // One that never was well has no credit.
            ("-", 2, 3, "D"),
            ("--++", 2, 3, "D..U"),
            ("-+-++", 2, 3, "D...U"),
            // One that was has.
            ("+--+---", 2, 3, "......D"),
            ("+---++", 2, 3, "...D.U"),
            ("+---+-+-++", 2, 3, "...D.....U"),
            ("+-+-+", 1, 1, ".DUDU"),
            ("-+", 1, 5, "DU"),
        ] {
            assert_eq!(story(results, rise, fall), told, "{results} {rise} {fall}");
        }
    }

    #[test]
    fn one_that_joins_others_is_down_until_its_first_probe_has_passed() {
        let mut checks = Checks::joining();
        assert!(checks.is_joining() && !checks.is_up());
        assert_eq!(checks.take(true, 2, 3), Some(Change::Up(1)));
        assert!(checks.is_up() && !checks.is_joining());
        assert_eq!((checks.take(false, 2, 3), checks.is_up()), (None, true));
        // If that fails it is down like others.
        let mut checks = Checks::joining();
        assert_eq!((checks.take(false, 2, 3), checks.is_up()), (Some(Change::Down(1)), false));
        assert_eq!((checks.take(true, 2, 3), checks.is_up()), (None, false));
        assert_eq!(checks.take(true, 2, 3), Some(Change::Up(2)));
        let mut checks = Checks::joining();
        checks.admit();
        assert_eq!(checks, Checks::default());
        checks.take(true, 1, 1);
        checks.admit();
        assert_ne!(checks, Checks::default());
    }

    #[test]
    fn a_change_says_how_many_probes_made_it() {
        let mut checks = Checks::default();
        assert_eq!(checks.take(false, 2, 3), Some(Change::Down(1)));
        checks.take(true, 2, 3);
        assert_eq!(checks.take(true, 2, 3), Some(Change::Up(2)));
        checks.take(false, 2, 3);
        // The setting changed meanwhile.
        assert_eq!(checks.take(false, 2, 2), Some(Change::Down(2)));
    }

    proptest! {
        #[test]
        fn it_is_as_the_last_probes_in_a_row_say(
            results in prop::collection::vec(any::<bool>(), 1..200), rise in 1u32..5, fall in 1u32..5,
        ) {
            let mut checks = Checks::default();
            let (mut run, mut last) = (0, results[0]);
            for (place, &passed) in results.iter().enumerate() {
                let before = checks.is_up();
                let change = checks.take(passed, rise, fall);
                prop_assert_eq!(change.is_some(), before != checks.is_up());
                run = if passed == last { run + 1 } else { 1 };
                last = passed;
                if passed && run >= rise {
                    prop_assert!(checks.is_up());
                }
                if !passed && (run >= fall || place == 0) {
                    prop_assert!(!checks.is_up());
                }
            }
        }
    }
}
