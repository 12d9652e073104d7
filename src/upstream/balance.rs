//! Choosing an endpoint.

use std::cell::Cell;

/// Takes the endpoints in turn. Each core has a cursor of its own, started apart from the others so
/// that the cores do not march in step.
#[derive(Debug)]
pub struct RoundRobin {
    next: Cell<usize>,
}

impl RoundRobin {
    /// A cursor that starts at the endpoint `start`.
    pub const fn new(start: usize) -> RoundRobin {
        RoundRobin { next: Cell::new(start) }
    }

    /// The place of the next of `count` endpoints; none if there are none.
    pub fn choose(&self, count: usize) -> Option<usize> {
        if count == 0 {
            return None;
        }
        let place = self.next.get() % count;
        self.next.set(place + 1);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_endpoints_in_turn() {
        let cursor = RoundRobin::new(1);
        let turns: Vec<_> = (0..6).map(|_| cursor.choose(3).unwrap()).collect();
        assert_eq!(turns, [1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn survives_a_change_of_their_number() {
        let cursor = RoundRobin::new(0);
        assert_eq!(cursor.choose(0), None);
        for _ in 0..5 {
            cursor.choose(7);
        }
        assert!(cursor.choose(2).unwrap() < 2);
    }
}
