//! The bytes that fills in progress may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes, for all fills together.
pub(super) struct Budget {
    used: AtomicU64,
    limit: u64,
}

/// A part of a budget; given back when dropped.
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit,
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }
}

// === impl Reservation ===

impl Reservation {
    /// Nothing yet.
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: 0,
        }
    }

    /// Makes it this many bytes at least; `false` if there are not so many left.
    #[must_use]
    pub(super) fn raise_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let taken = more == 0 || self.budget.take(more);
        if taken {
            self.bytes += more;
        }
        taken
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn give_back(&mut self) {
        self.budget
            .used
            .fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back();
    }
}
