//! Points on a circle, and which one comes next.

use super::hash::mix;

/// The part of a point that is its place; the rest is whose it is.
const PLACE: u64 = !0xffff_ffff;

/// Points of endpoints on a circle. Building takes time in proportion to their number, finding the next one is a look into a
/// table and mostly a single comparison.
#[derive(Debug)]
pub(super) struct Points {
    /// Sorted. The upper half is the place, the lower half the endpoint.
    sorted: Box<[u64]>,
    /// Where the points begin whose places have these uppermost bits; one more for the end.
    starts: Box<[u32]>,
    /// By how much a place is shifted to find its start.
    shift: u32,
}

// === impl Points ===

impl Points {
    /// So many points for the heaviest endpoint and as many as their weights are worth for the others, at least one; none for
    /// those without a weight. Endpoints are told by their names and weights.
    pub(super) fn new(endpoints: &[(u64, u16)], most: u64) -> Self {
        let heaviest = endpoints.iter().map(|&(_, weight)| weight).max();
        let heaviest = u64::from(heaviest.unwrap_or(1).max(1));
        let mut points = Vec::with_capacity(endpoints.len() * most as usize);
        for (index, &(name, weight)) in (0u64..).zip(endpoints) {
            let count = (most * u64::from(weight)).div_ceil(heaviest);
            points.extend(places(name, count).map(|place| place | index));
        }
        Self::of(&points)
    }

    /// The same number of points for everybody who has a weight: they do not depend on who else there is.
    pub(super) fn alike(endpoints: &[(u64, u16)], each: u64) -> Self {
        let some = (0u64..)
            .zip(endpoints)
            .filter(|(_, (_, weight))| *weight > 0);
        let points =
            some.flat_map(|(index, &(name, _))| places(name, each).map(move |place| place | index));
        Self::of(&points.collect::<Vec<_>>())
    }

    /// Sorted by distribution: places are spread evenly, so that each bucket gets few, and the table of starts is made on the
    /// way.
    fn of(points: &[u64]) -> Self {
        let shift = 63 - points.len().max(2).ilog2();
        let bucket = |point: u64| (point >> shift) as usize;
        let mut starts = vec![0u32; bucket(u64::MAX) + 2];
        for &point in points {
            starts[bucket(point) + 1] += 1;
        }
        for bucket in 1..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        let (mut next, mut sorted) = (starts.clone(), vec![0; points.len()]);
        for &point in points {
            let place = &mut next[bucket(point)];
            sorted[*place as usize] = point;
            *place += 1;
        }
        for ends in starts.windows(2).filter(|ends| ends[1] - ends[0] > 1) {
            sorted[ends[0] as usize..ends[1] as usize].sort_unstable();
        }
        Self {
            sorted: sorted.into(),
            starts: starts.into(),
            shift,
        }
    }

    /// Every point once, from this place on around the circle: how far it is in 2^-32 of the circle, and whose it is.
    pub(super) fn onwards(&self, place: u64) -> impl Iterator<Item = (u32, usize)> + '_ {
        let place = place & PLACE;
        let start = self.starts[(place >> self.shift) as usize] as usize;
        let before = self.sorted[start..].iter();
        let start = start + before.take_while(|&&point| point < place).count();
        let (behind, ahead) = self.sorted.split_at(start);
        ahead.iter().chain(behind).map(move |&point| {
            let far = (point & PLACE).wrapping_sub(place) >> 32;
            (far as u32, (point & !PLACE) as usize)
        })
    }
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
            let points = Points::new(&endpoints, 5);
            prop_assert!(points.sorted.is_sorted());
            let found: Vec<_> = points.onwards(place).collect();
            prop_assert_eq!(found.len(), count * 5);
            prop_assert!(found.is_sorted_by_key(|(far, _)| *far));
            let far = |point: &u64| ((point & PLACE).wrapping_sub(place & PLACE) >> 32) as u32;
            prop_assert_eq!(Some(found[0].0), points.sorted.iter().map(far).min());
        }
    }

    #[test]
    fn nobody_has_none() {
        assert_eq!(Points::new(&[], 5).onwards(7).count(), 0);
        assert_eq!(
            Points::new(&[(1, 0), (2, 0)], 5).onwards(u64::MAX).count(),
            0
        );
        assert_eq!(
            Points::new(&[(1, 1), (2, 100)], 5)
                .onwards(u64::MAX)
                .count(),
            6
        );
    }
}
