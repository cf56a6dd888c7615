//! Points on a circle, and which one comes next.

use super::hash::mix;

/// The part of a point that is its place; the rest is whose it is.
const PLACE: u64 = !0xffff_ffff;

/// How many points have the same start, on average, is 2 to this power, or up to twice that.
const IN_BUCKET: u32 = 1;

/// So many points from their start on are all compared: what a loop does that ends nobody knows when, the processor guesses
/// wrongly, and then waits for one look to memory after the other.
const AHEAD: usize = 6;

/// Points of endpoints on a circle. Finding the next one is a look into a table and a few comparisons in a cache line.
#[derive(Debug)]
pub(super) struct Points {
    /// Sorted. The upper half is the place, the lower half the endpoint. `AHEAD` behind the last one are nobody's.
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
        let salts: Vec<u64> = (0..most.div_ceil(2)).map(mix).collect();
        let places = |weight, name| places(name, &salts).take(count(weight) as usize);
        let points = || {
            let endpoints = (0u64..).zip(endpoints);
            endpoints.flat_map(|(index, &(name, weight))| {
                places(weight, name).map(move |place| place | index)
            })
        };
        sorted(
            points,
            endpoints.iter().map(|&(_, weight)| count(weight)).sum(),
        )
    }

    /// The real ones.
    fn all(&self) -> &[u64] {
        &self.sorted[..self.sorted.len() - AHEAD]
    }

    /// Every point once, from this place on around the circle: how far it is in 2^-32 of the circle, and whose it is.
    pub(super) fn onwards(&self, place: u64) -> impl Iterator<Item = (u32, usize)> + '_ {
        let place = place & PLACE;
        let (behind, ahead) = self.all().split_at(self.next(place));
        ahead.iter().chain(behind).map(move |&point| {
            let point = point.wrapping_sub(place);
            ((point >> 32) as u32, (point & !PLACE) as usize)
        })
    }

    /// The point that comes first after any of these places, of those nearest to theirs; `None` if there are none.
    pub(super) fn nearest(&self, places: impl Iterator<Item = u64>) -> Option<usize> {
        let all = self.all();
        let first = all.first()?;
        let far = |place: u64| {
            let place = place & PLACE;
            let point = all.get(self.next(place)).unwrap_or(first);
            // The upper half is how far it is, the lower half is still whose.
            point.wrapping_sub(place)
        };
        let nearest = places.map(far).min()?;
        Some((nearest & !PLACE) as usize)
    }

    /// Where the first point at this place or behind it stands; the end if there is none before the circle closes.
    fn next(&self, place: u64) -> usize {
        let start = self.starts[(place >> self.shift) as usize] as usize;
        let ahead = &self.sorted[start..];
        let before = |near: &[u64; AHEAD]| near.iter().filter(|&&point| point < place).count();
        let before = ahead.first_chunk().map_or(AHEAD, before);
        if before < AHEAD {
            return start + before;
        }
        start + ahead.iter().take_while(|&&point| point < place).count()
    }
}

/// Sorts `count` points, which are told twice. Hashes spread evenly, so that next to nothing is left to sort once each point
/// is among those of its uppermost bits.
fn sorted<P: Iterator<Item = u64>>(points: impl Fn() -> P, count: u64) -> Points {
    let bits = count.max(2 << IN_BUCKET).ilog2() - IN_BUCKET;
    let shift = 64 - bits;
    let bucket = |point: u64| (point >> shift) as usize;
    let mut ends = vec![0u32; 1 << bits];
    points().for_each(|point| ends[bucket(point)] += 1);
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum;
    }
    let mut sorted = vec![u64::MAX; count as usize + AHEAD];
    points().for_each(|point| {
        let end = &mut ends[bucket(point)];
        *end -= 1;
        sorted[*end as usize] = point;
    });
    // Taken down to where they begin.
    let starts = ends;
    let behind = starts.iter().skip(1).copied().chain([sum]);
    for (start, end) in starts.iter().zip(behind) {
        sorted[*start as usize..end as usize].sort_unstable();
    }
    Points {
        sorted: sorted.into(),
        starts: starts.into(),
        shift,
    }
}

/// The places of an endpoint, two of one hash: fewer are the first ones of more.
fn places(name: u64, salts: &[u64]) -> impl Iterator<Item = u64> {
    let hashes = salts.iter().map(move |salt| mix(name ^ salt));
    hashes.flat_map(|hash| [hash & PLACE, hash << 32])
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
            prop_assert!(points.all().is_sorted());
            let found: Vec<_> = points.onwards(place).collect();
            prop_assert_eq!(found.len(), count * 5);
            prop_assert!(found.is_sorted_by_key(|(far, _)| *far));
            let far = |point: &u64| ((point & PLACE).wrapping_sub(place & PLACE) >> 32) as u32;
            prop_assert_eq!(Some(found[0].0), points.all().iter().map(far).min());
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
