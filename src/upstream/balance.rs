//! Choosing an endpoint.

use std::cell::Cell;

/// Gives the endpoints of an upstream their turns by weight: over one period, which is the sum of the
/// weights, each is chosen as often as its weight says, and its turns lie as far apart as can be (the
/// smooth weighted round robin of nginx). Where the weights are equal that is plain round robin, and costs
/// no more. Each core has turns of its own, started apart from the others so that the cores do not march
/// in step.
#[derive(Debug)]
pub struct Turns {
    /// How many there are to choose from.
    count: usize,
    /// The next one, where the weights are equal.
    next: Cell<usize>,
    /// None where the weights are equal.
    weighted: Box<[Weighted]>,
    /// The sum of the weights.
    period: i64,
}

/// An endpoint with a weight of its own.
#[derive(Debug)]
struct Weighted {
    weight: i64,
    /// How far it is ahead of its share. The sum over all endpoints is zero between two turns.
    owed: Cell<i64>,
}

impl Turns {
    /// Turns by these weights, each at least 1, with the first `start` of them taken already.
    pub fn new(weights: &[u32], start: usize) -> Turns {
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let each = weights.iter().filter(|_| !equal);
        let weighted: Box<[Weighted]> =
            each.map(|&weight| Weighted { weight: weight.max(1).into(), owed: Cell::new(0) }).collect();
        let period = weighted.iter().map(|endpoint| endpoint.weight).sum();
        let turns = Turns { count: weights.len(), next: Cell::new(start), weighted, period };
        if let Ok(period) = usize::try_from(period)
            && period > 0
        {
            for _ in 0..start % period {
                turns.by_weight();
            }
        }
        turns
    }

    /// The place of the endpoint whose turn it is; none if there are none.
    pub fn choose(&self) -> Option<usize> {
        match self.count {
            0 => None,
            count if self.weighted.is_empty() => {
                let place = self.next.get() % count;
                self.next.set(place + 1);
                Some(place)
            }
            _ => Some(self.by_weight()),
        }
    }

    /// Everybody gains its weight, and the one that is ahead of all others pays for all.
    fn by_weight(&self) -> usize {
        let mut best = 0;
        let mut most = i64::MIN;
        for (place, endpoint) in self.weighted.iter().enumerate() {
            let owed = endpoint.owed.get() + endpoint.weight;
            endpoint.owed.set(owed);
            if owed > most {
                (best, most) = (place, owed);
            }
        }
        self.weighted[best].owed.set(most - self.period);
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WEIGHT_MAX;

    fn turns(weights: &[u32], start: usize, count: usize) -> Vec<usize> {
        let turns = Turns::new(weights, start);
        (0..count).map(|_| turns.choose().unwrap()).collect()
    }

    #[test]
    fn equal_weights_take_plain_turns() {
        for weights in [[1, 1, 1], [7, 7, 7]] {
            assert_eq!(turns(&weights, 1, 6), [1, 2, 0, 1, 2, 0]);
        }
        assert_eq!(turns(&[5], 3, 3), [0, 0, 0]);
        assert_eq!(Turns::new(&[], 2).choose(), None);
    }

    #[test]
    fn a_heavy_endpoint_is_interleaved_with_the_light_ones() {
        assert_eq!(turns(&[5, 1, 1], 0, 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[2, 1], 0, 6), [0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn over_a_period_each_is_chosen_as_often_as_its_weight_says() {
        for weights in [&[1, 2][..], &[3, 1, 4, 1, 5], &[95, 5], &[WEIGHT_MAX, 1, WEIGHT_MAX, 7]] {
            let period = weights.iter().sum::<u32>() as usize;
            for start in [0, 1, 5, period + 2] {
                let mut counts = vec![0; weights.len()];
                turns(weights, start, period).into_iter().for_each(|place| counts[place] += 1);
                assert_eq!(counts, weights, "from {start}");
            }
        }
    }

    #[test]
    fn no_endpoint_waits_much_longer_than_its_share_means() {
        let weights = [8, 4, 2, 1];
        let order = turns(&weights, 0, 15 * 4);
        for (place, weight) in weights.into_iter().enumerate() {
            let at: Vec<_> = order.iter().enumerate().filter(|(_, chosen)| **chosen == place).collect();
            let longest = at.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
            let fair = 15_usize.div_ceil(weight as usize);
            assert!(longest <= 2 * fair, "{place} waited {longest} turns for a share of one in {fair}");
        }
    }

    #[test]
    fn each_core_goes_on_where_another_began() {
        let all = turns(&[3, 2, 1], 0, 12);
        for start in 0..12 {
            assert_eq!(turns(&[3, 2, 1], start, 6), [&all[..], &all[..]].concat()[start..start + 6]);
        }
    }
}
