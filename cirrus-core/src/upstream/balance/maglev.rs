//! Consistent hashing by a table, as Maglev has it (Eisenbud and others, NSDI 2016, §3.4).

use super::hash::mix;

/// The size of the table, a prime, for up to 16,384 endpoints and for more.
const PLACES: u32 = 65_537;
const MANY_PLACES: u32 = 655_373;
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
    weight: u32,
    next: u32,
    step: u32,
}

/// A table that is being filled.
struct Board {
    table: Vec<u32>,
    /// A bit for each place that is taken: so few bytes that they stay near, and most places that are wanted are taken.
    taken: Vec<u64>,
    left: usize,
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
        let mut board = Board::new(places);
        if wishes.windows(2).all(|two| two[0].weight == two[1].weight) {
            while wishes.iter_mut().all(|wish| board.give(wish)) {}
        } else {
            let mut turns = turns(&wishes, places).into_iter();
            while turns.any(|turn| board.give(&mut wishes[turn])) {}
        }
        Self {
            table: board.table.into(),
        }
    }

    /// The first one from the key's place on that may be asked; `None` if none may.
    pub(crate) fn pick(&self, key: u64, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let length = self.table.len();
        // As good as a remainder, and no division.
        let place = ((u128::from(key) * length as u128) >> 64) as usize;
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

// === impl Board ===

impl Board {
    fn new(places: u32) -> Self {
        Self {
            table: vec![0; places as usize],
            taken: vec![0; places.div_ceil(64) as usize],
            left: places as usize,
        }
    }

    /// Gives an endpoint the first place it wants that is free; `false` if none was left.
    fn give(&mut self, to: &mut Wish) -> bool {
        if self.left == 0 {
            return false;
        }
        let places = self.table.len() as u32;
        loop {
            let place = to.next;
            let next = place + to.step;
            to.next = if next < places { next } else { next - places };
            let (word, bit) = (&mut self.taken[place as usize / 64], 1 << (place % 64));
            if *word & bit == 0 {
                *word |= bit;
                self.table[place as usize] = to.index;
                self.left -= 1;
                return true;
            }
        }
    }
}

/// Whose turn it is: in each round an endpoint gets as much of a place as its weight is of the heaviest's, and it takes
/// a place once it has the whole of one.
fn turns(wishes: &[Wish], places: u32) -> Vec<usize> {
    let heaviest = wishes.iter().map(|wish| u64::from(wish.weight)).max();
    let heaviest = heaviest.unwrap_or(1);
    let total: u64 = wishes.iter().map(|wish| u64::from(wish.weight)).sum();
    // In the last round at most every endpoint has part of a place that it cannot take any more.
    let enough = u64::from(places) + wishes.len() as u64;
    let mut turns: Vec<(u64, usize)> = Vec::with_capacity(enough as usize + wishes.len());
    for (index, wish) in wishes.iter().enumerate() {
        let weight = u64::from(wish.weight);
        let most = (enough * weight).div_ceil(total);
        turns.extend((1..=most).map(|turn| ((turn * heaviest).div_ceil(weight), index)));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, index)| index).collect()
}

/// In the order of their names: whose turn it is must not depend on the order in which they are told.
fn wishes(endpoints: &[(u64, u16)], places: u32) -> Vec<Wish> {
    let mut order: Vec<(u64, u32, u16)> = (0u32..)
        .zip(endpoints)
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(index, &(name, weight))| (name, index, weight))
        .collect();
    order.sort_unstable();
    let below = |hash: u64, bound: u32| (hash % u64::from(bound)) as u32;
    let wish = |(name, index, weight)| Wish {
        index,
        weight: u32::from(weight),
        next: below(mix(name), places),
        step: below(mix(!name), places - 1) + 1,
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
    fn one_that_outweighs_thousands_takes_no_longer() {
        let weights = std::iter::once(u16::MAX).chain(std::iter::repeat(3));
        let endpoints: Vec<_> = names(10_000).into_iter().zip(weights).collect();
        let mut places = vec![0u32; 10_000];
        for &index in &Maglev::new(&endpoints).table {
            places[index as usize] += 1;
        }
        // 2.06 places each, of which they take whole ones.
        assert!(places[1..].iter().all(|own| *own == 2));
        assert_eq!(places[0], 65_537 - 2 * 9_999);
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
