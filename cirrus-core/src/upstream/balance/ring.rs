//! Consistent hashing by a ring, as ketama has it.

use super::points::Points;

/// Points of the heaviest endpoint, the others have fewer: the more points, the more even the shares.
const POINTS: u64 = 128;

/// The same with more endpoints than `MANY`.
const FEW_POINTS: u64 = 16;
const MANY: usize = 1024;

/// Every endpoint has points on a ring; a key belongs to the next point from where it falls. An endpoint that comes or goes
/// moves the keys of its own points and no others.
#[derive(Debug)]
pub(crate) struct Ring(Points);

// === impl Ring ===

impl Ring {
    /// Endpoints by what names them and by weight; 0 takes no share.
    pub(crate) fn new(endpoints: &[(u64, u16)]) -> Self {
        let most = if endpoints.len() > MANY {
            FEW_POINTS
        } else {
            POINTS
        };
        Self(Points::by_weight(endpoints, most))
    }

    /// The first one from the key's place on that may be asked; `None` if none may.
    pub(crate) fn pick(&self, key: u64, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let own = self.0.nearest([key].into_iter())?;
        if may(own) {
            return Some(own);
        }
        let mut last = own;
        let next = self.0.onwards(key).map(|(_, index)| index);
        // The same one may have several points in a row; asking once is enough.
        next.filter(|&index| std::mem::replace(&mut last, index) != index)
            .find(|&index| may(index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::balance::tests::{keys, moved, names, shares_of_keys};

    fn owner(ring: &Ring) -> impl Fn(u64) -> usize {
        |key| ring.pick(key, &|_| true).unwrap()
    }

    #[test]
    fn shares_are_about_as_the_weights() {
        let endpoints: Vec<_> = names(8).into_iter().zip([2, 1, 1, 1, 1, 1, 1, 0]).collect();
        let shares = shares_of_keys(8, owner(&Ring::new(&endpoints)));
        for (share, wanted) in shares
            .iter()
            .zip([25.0, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 0.0])
        {
            assert!((share - wanted).abs() <= wanted * 0.35, "{shares:?}");
        }
    }

    #[test]
    fn a_key_goes_on_to_another_while_its_own_may_not() {
        let endpoints: Vec<_> = names(3).into_iter().map(|name| (name, 1)).collect();
        let ring = Ring::new(&endpoints);
        for key in keys(100) {
            let own = ring.pick(key, &|_| true).unwrap();
            let other = ring.pick(key, &|index| index != own).unwrap();
            assert_ne!(own, other);
        }
        assert_eq!(ring.pick(1, &|_| false), None);
        assert_eq!(Ring::new(&[]).pick(1, &|_| true), None);
    }

    #[test]
    fn ten_thousand_have_their_shares() {
        let endpoints: Vec<_> = names(10_000).into_iter().map(|name| (name, 1)).collect();
        let ring = Ring::new(&endpoints);
        assert_eq!(ring.0.onwards(0).count(), 160_000);
        let owners: std::collections::HashSet<_> = keys(100_000).map(owner(&ring)).collect();
        assert!(owners.len() > 9_700, "{}", owners.len());
    }

    proptest! {
        #[test]
        fn one_that_goes_moves_only_its_own_keys(count in 2usize..40, gone: prop::sample::Index) {
            let gone = gone.index(count);
            let all: Vec<_> = names(count).into_iter().map(|name| (name, 1)).collect();
            let mut rest = all.clone();
            rest.remove(gone);
            let (before, after) = (Ring::new(&all), Ring::new(&rest));
            let same = |index| if index < gone { index } else { index + 1 };
            let (moved, lost) = moved(owner(&before), |key| same(owner(&after)(key)), gone);
            prop_assert_eq!(moved, lost, "both ways: it is the same change backwards");
            // Its share, and what chance adds to it.
            prop_assert!(moved <= 1.7 / count as f64, "{} of {}", moved, count);
        }
    }
}
