//! Smooth weighted round robin.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The longest turn. Weights that would need a longer one are scaled down, so shares are exact to 1/4096.
const MAX_TURN: u64 = 4096;

/// Gives every endpoint its share, as evenly spread over a turn as it can be. The order is worked out beforehand:
/// a pick is one addition, whatever the number of endpoints.
#[derive(Debug)]
pub(crate) struct RoundRobin {
    /// Indices of endpoints in the order in which they are asked.
    turn: Box<[u32]>,
    next: AtomicUsize,
}

// === impl RoundRobin ===

impl RoundRobin {
    /// The same order from its beginning.
    pub(crate) fn again(&self) -> Self {
        Self {
            turn: self.turn.clone(),
            next: AtomicUsize::new(0),
        }
    }

    /// By weight; 0 takes no share.
    pub(crate) fn new(weights: &[u16]) -> Self {
        Self {
            turn: turn(&scaled(weights)),
            next: AtomicUsize::new(0),
        }
    }

    /// The next endpoint that may be asked; `None` if none may.
    pub(crate) fn pick(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        let length = self.turn.len();
        let start = if length == 0 {
            return None;
        } else {
            self.next.fetch_add(1, Ordering::Relaxed) % length
        };
        let (behind, ahead) = self.turn.split_at(start);
        ahead
            .iter()
            .chain(behind)
            .map(|&index| index as usize)
            .find(|&index| may(index))
    }
}

/// Divided by their greatest common divisor, and further if a turn would still be too long.
fn scaled(weights: &[u16]) -> Vec<u64> {
    let divisor = weights
        .iter()
        .fold(0, |divisor, &weight| gcd(divisor, u64::from(weight)))
        .max(1);
    let mut scaled: Vec<u64> = weights
        .iter()
        .map(|&weight| u64::from(weight) / divisor)
        .collect();
    let total: u64 = scaled.iter().sum();
    // With more endpoints than a turn is long each has at least one place in it.
    let places = MAX_TURN.max(weights.len() as u64);
    if total > places {
        for weight in scaled.iter_mut().filter(|weight| **weight > 0) {
            *weight = (*weight * places / total).max(1);
        }
    }
    scaled
}

fn turn(weights: &[u64]) -> Box<[u32]> {
    let total: u64 = weights.iter().sum();
    // With equal weights the order is the written one; no need to simulate 10,000 endpoints against each other.
    if weights.iter().all(|&weight| weight <= 1) {
        return (0u32..)
            .zip(weights)
            .filter(|&(_, &weight)| weight == 1)
            .map(|(index, _)| index)
            .collect();
    }
    spread(weights, total)
}

/// The place of an endpoint's n-th turn is (n + ½) / weight of the whole: sorting these spreads everybody evenly.
fn spread(weights: &[u64], total: u64) -> Box<[u32]> {
    let mut places: Vec<(u64, u32)> = Vec::with_capacity(total as usize);
    for (index, &weight) in (0u32..).zip(weights) {
        places.extend((0..weight).map(|n| ((2 * n + 1) * (u32::MAX as u64) / (2 * weight), index)));
    }
    places.sort_unstable();
    places.into_iter().map(|(_, index)| index).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(weights: &[u16], requests: usize) -> Vec<usize> {
        let policy = RoundRobin::new(weights);
        let mut shares = vec![0; weights.len()];
        for _ in 0..requests {
            shares[policy.pick(|_| true).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn gives_each_its_weight() {
        assert_eq!(shares(&[3, 1], 400), [300, 100]);
        assert_eq!(shares(&[5, 0, 5], 100), [50, 0, 50]);
        assert_eq!(shares(&[1, 1, 1], 99), [33, 33, 33]);
    }

    #[test]
    fn spreads_the_heavy_ones() {
        let policy = RoundRobin::new(&[4, 2, 1]);
        let order: Vec<_> = (0..7).map(|_| policy.pick(|_| true).unwrap()).collect();
        assert!(
            order
                .windows(3)
                .all(|three| three.iter().any(|&index| index != 0)),
            "{order:?}"
        );
    }

    #[test]
    fn keeps_large_weights_in_a_short_turn() {
        let policy = RoundRobin::new(&[65_535, 1, 32_768]);
        assert!(policy.turn.len() <= 4097, "{}", policy.turn.len());
        let shares = shares(&[65_535, 1, 32_768], policy.turn.len());
        assert!(shares.iter().all(|&share| share > 0));
        assert!((shares[0] as f64 / shares[2] as f64 - 2.0).abs() < 0.01);
    }

    #[test]
    fn passes_over_those_that_may_not() {
        let policy = RoundRobin::new(&[1, 1, 1]);
        assert!((0..10).all(|_| policy.pick(|index| index == 2) == Some(2)));
        assert_eq!(policy.pick(|_| false), None);
        assert_eq!(RoundRobin::new(&[]).pick(|_| true), None);
        assert_eq!(RoundRobin::new(&[0, 0]).pick(|_| true), None);
    }
}
