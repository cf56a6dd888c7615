//! Dice: fast, and good enough for spreading load; no secret.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::hash::mix;

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0u8));
}

/// 64 bits.
pub(crate) fn bits() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        mix(next)
    })
}

/// Less than `bound`, which is not 0; for bounds far below 2^32 every number as likely as the others.
pub(crate) fn below(bound: usize) -> usize {
    let product = u128::from(bits()) * bound as u128;
    (product >> 64) as usize
}

/// Whether something happens that happens so often in a thousand times.
pub(crate) fn permille(chance: u32) -> bool {
    below(1000) < chance as usize
}

/// The same dice in every run of a test.
#[cfg(test)]
pub(crate) fn seed(seed: u64) {
    STATE.with(|state| state.set(seed));
}
