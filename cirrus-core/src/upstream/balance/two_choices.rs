//! The power of two choices: of two endpoints by chance the one with less to do.

use super::random::Random;

/// How often a second, different endpoint is looked for.
const CASTS: usize = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct TwoChoices(Random);

// === impl TwoChoices ===

impl TwoChoices {
    /// By weight; 0 takes no share.
    pub(crate) fn new(weights: &[u16]) -> Self {
        Self(Random::new(weights))
    }

    /// The cheaper one of two that may be asked; `None` if none may. Where both cost the same, shares are as the weights.
    pub(crate) fn pick(
        &self,
        may: &impl Fn(usize) -> bool,
        cost: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        let first = self.0.cast()?;
        // Whether it may be asked costs more to find out than its load: mostly the better one may.
        let better = self.better(first, &cost, &|_| true);
        if may(better) {
            return Some(better);
        }
        self.0.pick(may).map(|first| self.better(first, &cost, may))
    }

    /// The first one, or another one that may be asked and costs less.
    fn better(
        &self,
        first: usize,
        cost: &impl Fn(usize) -> f64,
        may: &impl Fn(usize) -> bool,
    ) -> usize {
        let other = (0..CASTS)
            .filter_map(|_| self.0.cast())
            .find(|&index| index != first && may(index));
        match other {
            Some(other) if cost(other) < cost(first) => other,
            _ => first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::balance::chance;
    use crate::upstream::balance::tests::shares;

    #[test]
    fn with_nothing_to_do_shares_are_as_the_weights() {
        chance::seed(7);
        let policy = TwoChoices::new(&[6, 3, 1]);
        let shares = shares(3, 100_000, || policy.pick(&|_| true, |_| 0.0));
        for (share, wanted) in shares.into_iter().zip([60.0, 30.0, 10.0]) {
            assert!((share - wanted).abs() < 1.0, "{share} for {wanted}");
        }
    }

    #[test]
    fn the_dearest_is_asked_only_when_nobody_else_is_drawn() {
        chance::seed(7);
        let policy = TwoChoices::new(&[1; 10]);
        let cost = |index| if index == 0 { 9.0 } else { 1.0 };
        let shares = shares(10, 100_000, || policy.pick(&|_| true, cost));
        // Only when all casts for another one show itself again.
        assert!(shares[0] < 0.1, "{shares:?}");
        assert!(shares[1..].iter().all(|share| (share - 11.1).abs() < 0.7));
    }

    #[test]
    fn the_cheapest_that_are_out_leave_the_others_their_choice() {
        chance::seed(7);
        let policy = TwoChoices::new(&[1; 10]);
        let cost = |index| if index < 5 { 0.0 } else { index as f64 };
        let shares = shares(10, 100_000, || policy.pick(&|index| index >= 5, cost));
        assert!(shares[..5].iter().all(|share| *share == 0.0), "{shares:?}");
        assert!(shares[5..].is_sorted_by(|a, b| a > b), "{shares:?}");
        // Of two of the five, the cheaper one: 40 %, 30 %, 20 % and so on, at most a fifth of the time without a second.
        assert!(shares[5] > 34.0 && shares[9] < 6.0, "{shares:?}");
    }

    #[test]
    fn the_longest_queue_stays_short() {
        chance::seed(7);
        let policy = TwoChoices::new(&[1; 100]);
        let mut queues = [0u32; 100];
        for _ in 0..10_000 {
            let index = policy.pick(&|_| true, |index| f64::from(queues[index]));
            queues[index.unwrap()] += 1;
        }
        // Chance alone would be off by about 30 for some.
        assert!(
            queues.iter().all(|&queue| (95..=105).contains(&queue)),
            "{queues:?}"
        );
    }
}
