//! Points on a circle, and which one comes next.

use super::hash::mix;

/// The part of a point that is its place; the rest is whose it is.
const PLACE: u64 = !0xffff_ffff;

/// Points of endpoints on a circle. Finding the next one is a look into a table and mostly a single comparison.
#[derive(Debug)]
pub(super) struct Points {
    /// Sorted. The upper half is the place, the lower half the endpoint.
    sorted: Box<[u64]>,
    /// Where the points begin whose places have these uppermost bits.
    starts: Box<[u32]>,
    /// By how much a place is shifted to find its start.
    shift: u32,
}

// === impl Points ===

impl Points {
    /// So many points for the heaviest endpoint and as many as their weights are worth for the others, at least one; none for
    /// those without a weight. Endpoints are told by their names and weights.
    pub(super) fn by_weight(endpoints: &[(u64, u16)], most: u64) -> Self {
        let heaviest = endpoints.iter().map(|&(_, weight)| weight).max();
        let heaviest = u64::from(heaviest.unwrap_or(1).max(1));
        Self::new(endpoints, most, |weight| {
            (most * u64::from(weight)).div_ceil(heaviest)
        })
    }

    /// The same number of points for everybody who has a weight: they do not depend on who else there is.
    pub(super) fn alike(endpoints: &[(u64, u16)], each: u64) -> Self {
        Self::new(endpoints, each, |weight| if weight > 0 { each } else { 0 })
    }

    fn new(endpoints: &[(u64, u16)], most: u64, count: impl Fn(u16) -> u64) -> Self {
        let mut sorted = Vec::with_capacity(endpoints.len() * most as usize);
        for (index, &(name, weight)) in (0u64..).zip(endpoints) {
            sorted.extend(places(name, count(weight)).map(|place| place | index));
        }
        sorted.sort_unstable();
        let bits = sorted.len().max(2).ilog2();
        Self {
            starts: starts(&sorted, bits),
            sorted: sorted.into(),
            shift: 64 - bits,
        }
    }

    /// Every point once, from this place on around the circle: how far it is in 2^-32 of the circle, and whose it is.
    pub(super) fn onwards(&self, place: u64) -> impl Iterator<Item = (u32, usize)> + '_ {
        let place = place & PLACE;
        let (behind, ahead) = self.sorted.split_at(self.next(place));
        ahead.iter().chain(behind).map(move |&point| {
            let point = point.wrapping_sub(place);
            ((point >> 32) as u32, (point & !PLACE) as usize)
        })
    }

    /// The point that comes first after any of these places, of those nearest to theirs; `None` if there are none.
    pub(super) fn nearest(&self, places: impl Iterator<Item = u64>) -> Option<usize> {
        let first = self.sorted.first()?;
        let far = |place: u64| {
            let place = place & PLACE;
            let point = self.sorted.get(self.next(place)).unwrap_or(first);
            // The upper half is how far it is, the lower half is still whose.
            point.wrapping_sub(place)
        };
        let nearest = places.map(far).min()?;
        Some((nearest & !PLACE) as usize)
    }

    /// Where the first point at this place or behind it stands; the end if there is none before the circle closes.
    fn next(&self, place: u64) -> usize {
        let start = self.starts[(place >> self.shift) as usize] as usize;
        let before = self.sorted[start..].iter();
        start + before.take_while(|&&point| point < place).count()
    }
}

fn starts(sorted: &[u64], bits: u32) -> Box<[u32]> {
    let mut starts = Vec::with_capacity(1 << bits);
    let mut next = 0;
    for bucket in 0..1u64 << bits {
        let first = bucket << (64 - bits);
        while sorted.get(next).is_some_and(|&point| point < first) {
            next += 1;
        }
        starts.push(next as u32);
    }
    starts.into()
}

/// So many places of an endpoint, two of one hash: fewer are the first ones of more.
fn places(name: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |number| {
        let place = mix(name ^ mix(number / 2));
        if number % 2 == 0 {
            place & PLACE
        } else {
            place << 32
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::balance::tests::names;

    proptest! {
        #[test]
        fn the_next_one_is_found_from_anywhere(count in 1usize..50, place: u64) {
            let endpoints: Vec<_> = names(count).into_iter().map(|name| (name, 1)).collect();
            let points = Points::by_weight(&endpoints, 5);
            prop_assert!(points.sorted.is_sorted());
            let found: Vec<_> = points.onwards(place).collect();
            prop_assert_eq!(found.len(), count * 5);
            prop_assert!(found.is_sorted_by_key(|(far, _)| *far));
            let far = |point: &u64| ((point & PLACE).wrapping_sub(place & PLACE) >> 32) as u32;
            prop_assert_eq!(Some(found[0].0), points.sorted.iter().map(far).min());
            prop_assert_eq!(points.nearest([place].into_iter()), Some(found[0].1));
        }
    }

    #[test]
    fn nobody_has_none() {
        assert_eq!(Points::by_weight(&[], 5).onwards(7).count(), 0);
        assert_eq!(
            Points::by_weight(&[(1, 0), (2, 0)], 5)
                .onwards(u64::MAX)
                .count(),
            0
        );
        assert_eq!(
            Points::by_weight(&[(1, 1), (2, 100)], 5)
                .onwards(u64::MAX)
                .count(),
            6
        );
    }
}
