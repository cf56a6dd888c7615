//! Consistent hashing by a table, as Maglev has it (Eisenbud and others, NSDI 2016, §3.4).

use super::hash::mix;

/// The size of the table, a prime, for up to 16,384 endpoints and for more.
const PLACES: u64 = 65_537;
const MANY_PLACES: u64 = 655_373;
const MANY: usize = 16_384;

/// Every key has a place in a table of endpoints: shares are even to within a place, and a choice is one look. An endpoint
/// that comes or goes moves little more than its own share.
#[derive(Debug)]
pub(crate) struct Maglev {
    table: Box<[u32]>,
}

/// The order in which an endpoint wants the places.
struct Wish {
    index: u32,
    next: u64,
    step: u64,
    /// How much of a place it gets in each round, and how much it has got.
    share: f64,
    due: f64,
}

// === impl Maglev ===

impl Maglev {
    /// Endpoints by what names them and by weight; 0 takes no share.
    pub(crate) fn new(endpoints: &[(u64, u16)]) -> Self {
        let places = if endpoints.len() > MANY {
            MANY_PLACES
        } else {
            PLACES
        };
        let mut wishes = wishes(endpoints, places);
        if wishes.is_empty() {
            return Self { table: [].into() };
        }
        let mut table = vec![u32::MAX; places as usize];
        let mut left = places;
        while left > 0 {
            for wish in &mut wishes {
                wish.due += wish.share;
                if wish.due < 1.0 {
                    continue;
                }
                wish.due -= 1.0;
                wish.take(&mut table, places);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        Self {
            table: table.into(),
        }
    }

    /// The first one from the key's place on that may be asked; `None` if none may.
    pub(crate) fn pick(&self, key: u64, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let length = self.table.len();
        let place = (key % length.max(1) as u64) as usize;
        let first = *self.table.get(place)? as usize;
        if may(first) {
            return Some(first);
        }
        // A stride by key: the keys of one that is out go to all others and not to a neighbour.
        let stride = 1 + (mix(key) % (length as u64 - 1)) as usize;
        (1..length)
            .map(|step| self.table[(place + step * stride) % length] as usize)
            .find(|&index| may(index))
    }
}

// === impl Wish ===

impl Wish {
    /// Takes the first place it wants that is free.
    fn take(&mut self, table: &mut [u32], places: u64) {
        loop {
            let place = self.next as usize;
            self.next += self.step;
            if self.next >= places {
                self.next -= places;
            }
            if table[place] == u32::MAX {
                table[place] = self.index;
                return;
            }
        }
    }
}

/// In the order of their names: whose turn it is must not depend on the order in which they are told.
fn wishes(endpoints: &[(u64, u16)], places: u64) -> Vec<Wish> {
    let heaviest = endpoints.iter().map(|&(_, weight)| weight).max();
    let heaviest = f64::from(heaviest.unwrap_or(1).max(1));
    let mut order: Vec<(u64, u32, u16)> = (0u32..)
        .zip(endpoints)
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(index, &(name, weight))| (name, index, weight))
        .collect();
    order.sort_unstable();
    let wish = |(name, index, weight): (u64, u32, u16)| Wish {
        index,
        next: mix(name) % places,
        step: mix(!name) % (places - 1) + 1,
        share: f64::from(weight) / heaviest,
        due: 0.0,
    };
    order.into_iter().map(wish).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::balance::tests::{keys, moved, names, shares_of_keys};

    fn owner(maglev: &Maglev) -> impl Fn(u64) -> usize {
        |key| maglev.pick(key, &|_| true).unwrap()
    }

    #[test]
    fn shares_are_as_the_weights() {
        let endpoints: Vec<_> = names(5).into_iter().zip([4, 2, 1, 1, 0]).collect();
        let maglev = Maglev::new(&endpoints);
        let places = |index| maglev.table.iter().filter(|&&own| own == index).count();
        for (index, wanted) in (0..).zip([50.0, 25.0, 12.5, 12.5, 0.0]) {
            let share = places(index) as f64 * 100.0 / maglev.table.len() as f64;
            assert!((share - wanted).abs() < 0.05, "{index}: {share}");
        }
        let shares = shares_of_keys(5, owner(&maglev));
        assert!((shares[0] - 50.0).abs() < 1.5, "{shares:?}");
    }

    #[test]
    fn the_order_of_endpoints_makes_no_difference() {
        let all: Vec<_> = names(10).into_iter().map(|name| (name, 1)).collect();
        let backwards: Vec<_> = all.iter().rev().copied().collect();
        let (one, other) = (Maglev::new(&all), Maglev::new(&backwards));
        assert!(keys(1000).all(|key| owner(&one)(key) == 9 - owner(&other)(key)));
    }

    #[test]
    fn keys_of_one_that_is_out_go_to_all_others() {
        let all: Vec<_> = names(4).into_iter().map(|name| (name, 1)).collect();
        let maglev = Maglev::new(&all);
        let shares = shares_of_keys(4, |key| maglev.pick(key, &|index| index != 2).unwrap());
        for (index, share) in shares
            .into_iter()
            .enumerate()
            .filter(|(index, _)| *index != 2)
        {
            assert!((share - 33.3).abs() < 2.0, "{index}: {share}");
        }
        assert_eq!(maglev.pick(1, &|_| false), None);
        assert_eq!(Maglev::new(&[]).pick(1, &|_| true), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn one_that_goes_moves_little_more_than_its_share(count in 2usize..40, gone: prop::sample::Index) {
            let gone = gone.index(count);
            let all: Vec<_> = names(count).into_iter().map(|name| (name, 1)).collect();
            let mut rest = all.clone();
            rest.remove(gone);
            let (before, after) = (Maglev::new(&all), Maglev::new(&rest));
            let same = |index| if index < gone { index } else { index + 1 };
            let (moved, _) = moved(owner(&before), |key| same(owner(&after)(key)), gone);
            prop_assert!(moved <= 1.0 / count as f64 + 0.06, "{} of {}", moved, count);
        }
    }
}
