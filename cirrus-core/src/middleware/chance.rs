//! Numbers nobody has seen before.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

thread_local! {
    /// Keys from the operating system, and how often they have been used.
    static SOURCE: (RandomState, RandomState, Cell<u64>) =
        (RandomState::new(), RandomState::new(), Cell::new(0));
}

/// 128 bits by chance: a keyed hash of a counter. Good enough to be unique, and not to be guessed from others; no secret.
pub(super) fn bits() -> u128 {
    SOURCE.with(|(high, low, count)| {
        let next = count.get().wrapping_add(1);
        count.set(next);
        u128::from(high.hash_one(next)) << 64 | u128::from(low.hash_one(next))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_the_same_and_no_bit_stands_still() {
        let all: std::collections::HashSet<u128> = (0..10_000).map(|_| bits()).collect();
        assert_eq!(all.len(), 10_000);
        assert_eq!(all.iter().fold(0, |seen, bits| seen | bits), u128::MAX);
        assert_eq!(all.iter().fold(u128::MAX, |seen, bits| seen & bits), 0);
    }
}
