//! Whoever has the least to do.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::random::Random;

/// Up to so many endpoints all are compared.
const ALL: usize = 32;

/// Of more than that, so many that are drawn by chance.
const DRAWN: usize = 5;

/// The endpoint with the fewest requests in flight for its weight; exact among up to 32 endpoints. Among more it is the
/// best of five: looking at thousands would take longer than it helps.
#[derive(Debug)]
pub(crate) struct Least {
    weights: Box<[u16]>,
    next: AtomicUsize,
    draw: Option<Random>,
}

// === impl Least ===

impl Least {
    /// By weight; 0 takes no share.
    pub(crate) fn new(weights: &[u16]) -> Self {
        Self {
            weights: weights.into(),
            next: AtomicUsize::new(0),
            draw: (weights.len() > ALL).then(|| Random::new(weights)),
        }
    }

    /// `None` if none may be asked.
    pub(crate) fn pick(
        &self,
        may: &impl Fn(usize) -> bool,
        in_flight: impl Fn(usize) -> usize,
    ) -> Option<usize> {
        if let Some(draw) = &self.draw {
            let first = draw.cast()?;
            let drawn: [usize; DRAWN] = std::array::from_fn(|_| draw.cast().unwrap_or(first));
            let drawn = drawn.into_iter();
            // Whether it may be asked costs more to find out than its load: mostly the best may.
            let best = self.best(drawn.clone(), &in_flight);
            return best
                .filter(|&index| may(index))
                .or_else(|| self.best(drawn.filter(|&index| may(index)), &in_flight))
                .or_else(|| draw.pick(may));
        }
        let length = self.weights.len();
        // Among equals it is everybody's turn.
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let all = (0..length).map(|step| (start.wrapping_add(step)) % length);
        let all = all.filter(|&index| self.weights[index] > 0 && may(index));
        self.best(all, &in_flight)
    }

    /// The first one of the cheapest.
    fn best(
        &self,
        candidates: impl Iterator<Item = usize>,
        in_flight: &impl Fn(usize) -> usize,
    ) -> Option<usize> {
        let cost = |index: usize| {
            // As if it had one more, so that the heavier goes first among the idle.
            (in_flight(index) + 1) as f64 / f64::from(self.weights[index])
        };
        candidates
            .map(|index| (cost(index), index))
            .reduce(|best, next| if next.0 < best.0 { next } else { best })
            .map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::balance::chance;
    use crate::upstream::balance::tests::shares;

    #[test]
    fn goes_to_who_has_the_least_for_its_weight() {
        let policy = Least::new(&[1, 1, 4, 0]);
        let pick = |busy: [usize; 4]| policy.pick(&|_| true, |index| busy[index]).unwrap();
        assert!((0..5).all(|_| pick([1, 0, 4, 0]) == 1));
        assert!((0..5).all(|_| pick([1, 1, 4, 0]) == 2));
        assert_eq!(policy.pick(&|_| false, |_| 0), None);
    }

    #[test]
    fn equals_take_turns() {
        let policy = Least::new(&[1; 4]);
        let shares = shares(4, 400, || policy.pick(&|_| true, |_| 0));
        assert_eq!(shares, [25.0; 4]);
    }

    #[test]
    fn among_many_it_is_the_best_of_some() {
        chance::seed(7);
        let policy = Least::new(&[1; 1000]);
        let busy = |index| usize::from(index % 2 == 0);
        let picks = (0..10_000).filter(|_| policy.pick(&|_| true, busy).unwrap().is_multiple_of(2));
        // All five are busy: 1 in 32.
        let percent = picks.count() as f64 / 100.0;
        assert!((percent - 3.1).abs() < 0.6, "{percent}");
    }
}
