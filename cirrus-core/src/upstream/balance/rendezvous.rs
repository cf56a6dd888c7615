//! Rendezvous: every endpoint bids for a key, and the highest bid has it (Thaler and Ravishankar, 1998).

use super::hash::mix;
use super::points::Points;

/// Points of an endpoint, and with more endpoints than `MANY`.
const POINTS: u64 = 160;
const FEW_POINTS: u64 = 16;
const MANY: usize = 1024;

/// Places on the circle that a key has. With `k` of them and `p` points each, an endpoint's share is off by 1 over the root
/// of `(2k - 1)p`: a place more is a look more for every choice, a point more is one more to sort for every update.
const PROBES: u64 = 5;

/// Points that are looked at from each of a key's places, at most: it takes weights that are very far apart, or endpoints of
/// which nearly all are out, to come so far.
const STEPS: usize = 512;

/// An endpoint bids higher the nearer one of its points on a circle is to one of the key's places, and the heavier it is.
/// The highest bid is found without asking everybody: only the next points from each place can be it (multi-probe
/// consistent hashing; Appleton and O'Reilly, 2015). Bids do not depend on who else bids: exactly the keys of an endpoint
/// that goes move.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    endpoints: Box<[(u64, u16)]>,
    points: Points,
    /// By what each one's distances grow for want of weight, the heaviest one's by nothing. Empty if all are alike.
    stretch: Box<[f32]>,
}

// === impl Rendezvous ===

impl Rendezvous {
    /// Endpoints by what names them and by weight; 0 takes no share.
    pub(crate) fn new(endpoints: &[(u64, u16)]) -> Self {
        let each = if endpoints.len() > MANY {
            FEW_POINTS
        } else {
            POINTS
        };
        Self {
            endpoints: endpoints.into(),
            points: Points::alike(endpoints, each),
            stretch: stretch(endpoints),
        }
    }

    /// The highest bid of those that may be asked; `None` if none may.
    pub(crate) fn pick(&self, key: u64, may: &impl Fn(usize) -> bool) -> Option<usize> {
        // Whether it may be asked costs more to find out than a bid: mostly the highest may.
        let highest = if self.stretch.is_empty() {
            self.points.nearest(places(key))
        } else {
            self.highest(key, &|_| true)
        }?;
        if may(highest) {
            return Some(highest);
        }
        self.highest(key, may).or_else(|| self.any(key, may))
    }

    fn highest(&self, key: u64, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let (mut nearest, mut highest) = (f32::INFINITY, None);
        for place in places(key) {
            for (far, index) in self.points.onwards(place).take(STEPS) {
                let far = far as f32;
                // No distance shrinks: what comes behind is no nearer.
                if far >= nearest {
                    break;
                }
                let far = far * self.stretch.get(index).copied().unwrap_or(1.0);
                if far < nearest && may(index) {
                    (nearest, highest) = (far, Some(index));
                }
            }
        }
        highest
    }

    /// By a bid that has to be asked of everybody; for when nearly all of them are out.
    fn any(&self, key: u64, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let bidders = self.endpoints.iter().enumerate();
        bidders
            .filter(|(index, (_, weight))| *weight > 0 && may(*index))
            .max_by_key(|(_, (name, _))| mix(name ^ key))
            .map(|(index, _)| index)
    }
}

/// A key's places: two hashes make them all.
fn places(key: u64) -> impl Iterator<Item = u64> {
    let (first, step) = (mix(key), mix(!key) | 1);
    (0..PROBES).map(move |probe| first.wrapping_add(step.wrapping_mul(probe)))
}

fn stretch(endpoints: &[(u64, u16)]) -> Box<[f32]> {
    if endpoints.windows(2).all(|two| two[0].1 == two[1].1) {
        return [].into();
    }
    let heaviest = endpoints.iter().map(|&(_, weight)| weight).max();
    let heaviest = f32::from(heaviest.unwrap_or(1));
    let weights = endpoints.iter().map(|&(_, weight)| weight.max(1));
    weights.map(|weight| heaviest / f32::from(weight)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::balance::tests::{keys, moved, names, shares_of_keys};

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

    #[test]
    fn ten_thousand_have_their_shares() {
        let endpoints: Vec<_> = names(10_000).into_iter().map(|name| (name, 1)).collect();
        let policy = Rendezvous::new(&endpoints);
        let mut shares = vec![0u32; 10_000];
        for key in 0..500_000 {
            shares[policy.pick(mix(key), &|_| true).unwrap()] += 1;
        }
        // 50 each. Chance alone is off by 7, points and chance by 7.8; on a ring of as many points it would be 19.
        let off = |share: &u32| (f64::from(*share) - 50.0).powi(2);
        let deviation = (shares.iter().map(off).sum::<f64>() / 10_000.0).sqrt();
        assert!(deviation < 8.6, "{deviation}");
    }

    #[test]
    fn keys_of_one_that_is_out_go_to_all_others() {
        let endpoints: Vec<_> = names(4).into_iter().map(|name| (name, 1)).collect();
        let policy = Rendezvous::new(&endpoints);
        let shares = shares_of_keys(4, |key| policy.pick(key, &|index| index != 2).unwrap());
        assert_eq!(shares[2], 0.0);
        let others = shares.iter().filter(|share| **share > 0.0);
        assert!(
            others.clone().all(|share| (share - 33.3).abs() < 3.0),
            "{shares:?}"
        );
        assert_eq!(policy.pick(1, &|_| false), None);
        let endpoints: Vec<_> = names(3000).into_iter().map(|name| (name, 1)).collect();
        let policy = Rendezvous::new(&endpoints);
        assert!(keys(20).all(|key| policy.pick(key, &|index| index == 7) == Some(7)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

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

        #[test]
        fn an_endpoint_that_gets_heavier_takes_keys_and_moves_no_others(
            weights in prop::collection::vec(1u16..5, 2..30),
            heavier: prop::sample::Index,
        ) {
            let heavier = heavier.index(weights.len());
            let light: Vec<_> = names(weights.len()).into_iter().zip(weights).collect();
            let mut heavy = light.clone();
            heavy[heavier].1 += 3;
            let (before, after) = (Rendezvous::new(&light), Rendezvous::new(&heavy));
            for key in keys(500) {
                let (old, new) = (before.pick(key, &|_| true), after.pick(key, &|_| true));
                prop_assert!(new == old || new == Some(heavier));
            }
        }
    }
}
