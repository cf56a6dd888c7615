//! What is known of the purges that all edges share.
//!
//! Redis numbers them, and keeps the last of them in one hash, so that they are lost together or not at all. Every
//! look-up also tells how many there are: whoever knows fewer reads the others before it judges what it has found.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cirrus_core::Timestamp;
use cirrus_core::cache::epochs::{Epochs, Era, Recorded, Verdict};
use cirrus_core::cache::{CacheKey, Meta, Moment, Purge};
use parking_lot::RwLock;

/// URLs share as many marks of their last removal: who was asked for before it is not stored after it.
pub(super) const BUCKETS: u64 = 4096;

/// Bits of a moment for the number of a purge; the others are for the incarnation.
const CLOCK_BITS: u32 = 44;

/// The state of the log in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Another one, if everything was lost: whatever was stored before is void.
    pub(super) incarnation: u64,
    /// The number of the last purge.
    pub(super) clock: u64,
    /// How many purges were logged; removals of URLs are not.
    pub(super) logged: u64,
    /// The first one that the log still has.
    pub(super) oldest: u64,
}

/// What is known of one incarnation.
pub(super) struct Ledger {
    pub(super) incarnation: u64,
    /// Counts the incarnations that this store has seen.
    number: u64,
    clock: AtomicU64,
    /// What is older may have been purged by what the log has forgotten.
    floor: AtomicU64,
    /// How many logged purges are applied.
    applied: AtomicU64,
    epochs: Epochs,
    removed: Box<[AtomicU64]>,
}

/// The ledger in force.
#[derive(Default)]
pub(super) struct Ledgers {
    current: RwLock<Option<Arc<Ledger>>>,
    /// One reads the log, the others wait for it.
    pub(super) reading: tokio::sync::Mutex<()>,
}

// === impl Ledgers ===

impl Ledgers {
    pub(super) fn current(&self) -> Option<Arc<Ledger>> {
        self.current.read().clone()
    }

    /// The ledger of this incarnation; a new one if that is another than before.
    pub(super) fn of(&self, head: Head) -> Arc<Ledger> {
        if let Some(ledger) = self.current()
            && ledger.is_of(head)
        {
            return ledger;
        }
        let mut current = self.current.write();
        let number = match &*current {
            Some(ledger) if ledger.is_of(head) => return Arc::clone(ledger),
            Some(ledger) => ledger.number + 1,
            None => 1,
        };
        let ledger = Arc::new(Ledger::new(head.incarnation, number));
        *current = Some(Arc::clone(&ledger));
        ledger
    }
}

// === impl Ledger ===

impl Ledger {
    fn new(incarnation: u64, number: u64) -> Self {
        Self {
            incarnation,
            number,
            clock: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            epochs: Epochs::new(),
            removed: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn is_of(&self, head: Head) -> bool {
        self.incarnation == head.incarnation
    }

    /// A purge has this number.
    pub(super) fn advance(&self, clock: u64) {
        self.clock.fetch_max(clock, Ordering::AcqRel);
    }

    pub(super) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Only by whoever holds [`Ledgers::reading`].
    pub(super) fn apply(&self, place: u64, clock: u64, purge: &Purge, at: Timestamp) {
        self.epochs.replay(&Recorded {
            purge: purge.clone(),
            moment: Moment(clock),
            at,
        });
        self.advance(clock);
        self.applied.store(place, Ordering::Release);
    }

    /// What began before `clock` counts as purged; the log goes on behind `place`.
    pub(super) fn forget(&self, place: u64, clock: u64) {
        self.floor.fetch_max(clock, Ordering::AcqRel);
        self.applied.store(place, Ordering::Release);
    }

    pub(super) fn note_removal(&self, bucket: u64, clock: u64) {
        // The bucket is a remainder.
        let bucket = usize::try_from(bucket).unwrap_or_default();
        self.removed[bucket].fetch_max(clock, Ordering::AcqRel);
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    pub(super) fn moment(&self) -> Moment {
        self.moment_of(self.now())
    }

    /// When the purge with this number came, as this store tells it.
    pub(super) fn moment_of(&self, clock: u64) -> Moment {
        Moment(self.number << CLOCK_BITS | clock)
    }

    /// When that was, in this incarnation.
    pub(super) fn time_of(&self, moment: Moment) -> Option<u64> {
        (moment.0 >> CLOCK_BITS == self.number).then_some(moment.0 & ((1 << CLOCK_BITS) - 1))
    }

    /// What the purges mean for an object that Redis has.
    pub(super) fn judge(&self, era: &Era, key: &CacheKey, meta: &Meta) -> Verdict {
        if era.born() < self.floor.load(Ordering::Acquire) {
            return Verdict::Dead;
        }
        self.epochs.check(era, key, &meta.tags)
    }

    /// What they mean for one that is being filled here.
    pub(super) fn judge_growing(
        &self,
        era: &Era,
        key: &CacheKey,
        bucket: u64,
        meta: &Meta,
    ) -> Verdict {
        let bucket = usize::try_from(bucket).unwrap_or_default();
        if era.born() < self.removed[bucket].load(Ordering::Acquire) {
            return Verdict::Dead;
        }
        self.judge(era, key, meta)
    }

    pub(super) fn renew(&self, era: &Era, key: &CacheKey, old: &Meta, asked: u64) -> Option<Era> {
        if self.judge(era, key, old) == Verdict::Dead {
            return None;
        }
        self.epochs.renew(era, key, &old.tags, Moment(asked))
    }
}
