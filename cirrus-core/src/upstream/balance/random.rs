//! By chance.

use super::chance;

/// How often the dice are cast before everybody is asked in turn.
const CASTS: usize = 4;

/// Gives every endpoint its share by chance. A cast costs the same whatever the number of endpoints (Vose's alias method).
#[derive(Debug)]
pub(crate) struct Random {
    /// Each place's endpoint, and how much of 2^32 it is the place's own; the rest is the other one's.
    places: Box<[(u32, u32)]>,
}

// === impl Random ===

impl Random {
    /// By weight; 0 takes no share.
    pub(crate) fn new(weights: &[u16]) -> Self {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        if total == 0 {
            return Self { places: [].into() };
        }
        let mean = total as f64 / weights.len() as f64;
        let mut parts: Vec<f64> = weights.iter().map(|&one| f64::from(one) / mean).collect();
        let mut places: Vec<(u32, u32)> = (0u32..)
            .zip(weights)
            .map(|(index, _)| (index, u32::MAX))
            .collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..parts.len()).partition(|&index| parts[index] < 1.0);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            places[poor] = (rich as u32, (parts[poor] * f64::from(u32::MAX)) as u32);
            parts[rich] -= 1.0 - parts[poor];
            if parts[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self {
            places: places.into(),
        }
    }

    /// One cast; `None` if nobody has a share.
    pub(super) fn cast(&self) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        // The upper half of the product is the place, the lower half says how far into it.
        let product = u128::from(chance::bits()) * self.places.len() as u128;
        let index = (product >> 64) as usize;
        let (other, own) = self.places[index];
        let is_own = (product as u64 >> 32) < u64::from(own);
        Some(if is_own { index } else { other as usize })
    }

    /// An endpoint that may be asked; `None` if none may.
    pub(crate) fn pick(&self, may: &impl Fn(usize) -> bool) -> Option<usize> {
        for _ in 0..CASTS {
            let cast = self.cast()?;
            if may(cast) {
                return Some(cast);
            }
        }
        // Mostly the others are out. Those without a share do not come into a tier at all.
        let length = self.places.len();
        let start = chance::below(length);
        (0..length)
            .map(|step| (start + step) % length)
            .find(|&index| may(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::balance::tests::shares;

    #[test]
    fn gives_each_its_weight() {
        chance::seed(7);
        let policy = Random::new(&[5, 3, 1, 1, 0]);
        let shares = shares(5, 100_000, || policy.pick(&|_| true));
        for (share, wanted) in shares.into_iter().zip([50.0, 30.0, 10.0, 10.0, 0.0]) {
            assert!((share - wanted).abs() < 0.7, "{share} for {wanted}");
        }
    }

    #[test]
    fn passes_over_those_that_may_not() {
        let policy = Random::new(&[1; 100]);
        assert!((0..50).all(|_| policy.pick(&|index| index == 99) == Some(99)));
        assert_eq!(policy.pick(&|_| false), None);
        assert_eq!(Random::new(&[]).pick(&|_| true), None);
        assert_eq!(Random::new(&[0]).pick(&|_| true), None);
    }
}
