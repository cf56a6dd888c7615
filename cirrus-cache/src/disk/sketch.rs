//! How often keys have come, about: for those that are not stored yet.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Counters: 1 MiB of them.
const COUNTERS: usize = 1 << 20;

/// After this many uses all counts are halved, so that what was used long ago is forgotten.
const PERIOD: u64 = 8 * COUNTERS as u64;

/// Counts up to 255 uses of each key; sometimes too many, when keys share their counters, never too few.
pub(super) struct Sketch {
    counters: Box<[AtomicU8]>,
    uses: AtomicU64,
}

// === impl Sketch ===

impl Sketch {
    pub(super) fn new() -> Self {
        Self {
            counters: (0..COUNTERS).map(|_| AtomicU8::new(0)).collect(),
            uses: AtomicU64::new(0),
        }
    }

    /// Counts a use; gives how many there were, with this one.
    pub(super) fn count(&self, hash: u64) -> u8 {
        if self.uses.fetch_add(1, Ordering::Relaxed) % PERIOD == PERIOD - 1 {
            self.halve();
        }
        let places = [hash, hash >> 21, hash >> 42];
        places
            .map(|place| self.add(place))
            .into_iter()
            .min()
            .unwrap_or(0)
    }

    fn add(&self, place: u64) -> u8 {
        // The remainder is less than `COUNTERS`.
        let place = usize::try_from(place % COUNTERS as u64).unwrap_or_default();
        let more = |count: u8| Some(count.saturating_add(1));
        let (counter, relaxed) = (&self.counters[place], Ordering::Relaxed);
        let before = counter.fetch_update(relaxed, relaxed, more);
        before.unwrap_or_else(|count| count).saturating_add(1)
    }

    fn halve(&self) {
        for counter in &self.counters {
            let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n / 2));
        }
    }
}
