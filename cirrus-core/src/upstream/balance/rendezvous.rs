//! Rendezvous: every endpoint bids for a key, and the highest bid has it (Thaler and Ravishankar, 1998).

use super::hash::mix;

/// Exactly the keys of an endpoint that goes move, and shares are as even as chance makes them. Everybody is asked for every
/// choice: a choice among 100 endpoints takes some hundred nanoseconds, among 10,000 some ten microseconds.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    endpoints: Box<[(u64, u16)]>,
    /// All have the same weight: hashes can be compared as they are.
    is_even: bool,
}

// === impl Rendezvous ===

impl Rendezvous {
    /// Endpoints by what names them and by weight; 0 takes no share.
    pub(crate) fn new(endpoints: &[(u64, u16)]) -> Self {
        Self {
            endpoints: endpoints.into(),
            is_even: endpoints.windows(2).all(|two| two[0].1 == two[1].1),
        }
    }

    /// The highest bid of those that may be asked; `None` if none may.
    pub(crate) fn pick(&self, key: u64, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let bidders = self.endpoints.iter().enumerate();
        let bidders = bidders.filter(|(index, (_, weight))| *weight > 0 && may(*index));
        if self.is_even {
            let best = bidders.max_by_key(|(_, (name, _))| mix(name ^ key));
            return best.map(|(index, _)| index);
        }
        let bids = bidders.map(|(index, &(name, weight))| (bid(name, key, weight), index));
        bids.reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, index)| index)
    }
}

/// Such that shares are as the weights: weight / −ln(hash as a part of one).
fn bid(name: u64, key: u64, weight: u16) -> f64 {
    let part = ((mix(name ^ key) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from(weight) / -part.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::balance::tests::{moved, names, shares_of_keys};

    #[test]
    fn shares_are_as_the_weights() {
        for weights in [[1, 1, 1, 1], [5, 3, 2, 0]] {
            let endpoints: Vec<_> = names(4).into_iter().zip(weights).collect();
            let policy = Rendezvous::new(&endpoints);
            let shares = shares_of_keys(4, |key| policy.pick(key, &|_| true).unwrap());
            let total: u16 = weights.iter().sum();
            for (share, weight) in shares.iter().zip(weights) {
                let wanted = f64::from(weight) * 100.0 / f64::from(total);
                assert!((share - wanted).abs() < 1.5, "{shares:?}");
            }
        }
        assert_eq!(Rendezvous::new(&[]).pick(1, &|_| true), None);
    }

    proptest! {
        #[test]
        fn exactly_the_keys_of_one_that_goes_move(
            weights in prop::collection::vec(1u16..5, 2..30),
            gone: prop::sample::Index,
        ) {
            let gone = gone.index(weights.len());
            let all: Vec<_> = names(weights.len()).into_iter().zip(weights).collect();
            let mut rest = all.clone();
            rest.remove(gone);
            let (before, after) = (Rendezvous::new(&all), Rendezvous::new(&rest));
            let same = |index| if index < gone { index } else { index + 1 };
            let (moved, lost) = moved(
                |key| before.pick(key, &|_| true).unwrap(),
                |key| same(after.pick(key, &|_| true).unwrap()),
                gone,
            );
            prop_assert_eq!(moved, lost);
        }
    }
}
