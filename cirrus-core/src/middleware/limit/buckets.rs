//! What each key owes, in a table of fixed size that all workers share.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::pace::{Pace, TIME_BITS};
use crate::config::Rate;

/// How many buckets a key may be in: one cache line.
const WAYS: usize = 8;

/// A rate limit for any number of keys, in memory that never grows. Nobody waits for anybody: a request costs one hash,
/// a look at one cache line, and one compare-and-exchange in it.
///
/// A key is told by 24 bits of its hash within its set; the hash is seeded anew for each table, so nobody can aim at
/// another's set or bucket. In a set with no room for a new key, the one that owes least gives way: one that owes nothing
/// loses nothing, and otherwise it is forgiven what it owed. So with more keys in debt than there are buckets, somebody
/// may get more than its share (at the most a burst for every time that seven others in its set owed more than it), but
/// nobody gets less.
#[derive(Debug)]
pub struct Buckets {
    pace: Pace,
    /// Moments are counted from here.
    began: Instant,
    hasher: RandomState,
    sets: Box<[Set]>,
}

/// The key has asked too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooMany {
    /// How long until it may ask again.
    pub wait: Duration,
}

/// In each word the key's fingerprint above its theoretical arrival time; zero if there is none.
///
/// A key stands in one place only. Two threads that bring the same new key see the same words and so choose the same
/// place, and one of them fails; words only ever grow, except in a set full of debtors.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// Where a key stands, or would.
struct Place<'a> {
    bucket: &'a AtomicU64,
    word: u64,
    debt: i64,
}

/// A key as the table sees it.
#[derive(Clone, Copy)]
struct Mark {
    set: usize,
    fingerprint: u64,
}

// === impl Buckets ===

impl Buckets {
    /// A table for so many keys, rounded up to a power of two and at least 8. `burst` is at least 1.
    #[must_use]
    pub fn new(rate: Rate, burst: u32, entries: u32) -> Self {
        let sets = (entries as usize).div_ceil(WAYS).next_power_of_two();
        Self {
            pace: Pace::new(rate, burst),
            began: Instant::now(),
            hasher: RandomState::new(),
            sets: (0..sets).map(|_| Set::default()).collect(),
        }
    }

    /// The rate that is allowed in the long run.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.pace.rate
    }

    /// Whether the key may ask now; nothing is charged.
    ///
    /// # Errors
    ///
    /// [`TooMany`] if it may not.
    pub fn check(&self, key: &impl Hash, now: Instant) -> Result<(), TooMany> {
        let (mark, now) = (self.mark(key), self.steps(now));
        let debt = self.place(mark, now).debt;
        self.pace
            .after(debt, now)
            .map(drop)
            .map_err(|early| self.too_many(early))
    }

    /// Charges the key for one request.
    ///
    /// # Errors
    ///
    /// [`TooMany`] if it may not ask now; nothing is charged then.
    pub fn take(&self, key: &impl Hash, now: Instant) -> Result<(), TooMany> {
        let (mark, now) = (self.mark(key), self.steps(now));
        loop {
            let Place { bucket, word, debt } = self.place(mark, now);
            let kept = self.pace.after(debt, now);
            let next = mark.word(kept.map_err(|early| self.too_many(early))?);
            // Failed, because somebody else was faster: everything is looked at again.
            let taken = bucket.compare_exchange(word, next, Ordering::SeqCst, Ordering::SeqCst);
            if taken.is_ok() {
                return Ok(());
            }
        }
    }

    fn steps(&self, now: Instant) -> u64 {
        self.pace.steps(now.saturating_duration_since(self.began))
    }

    fn too_many(&self, early: u64) -> TooMany {
        TooMany {
            wait: self.pace.duration(early),
        }
    }

    fn mark(&self, key: &impl Hash) -> Mark {
        let hash = self.hasher.hash_one(key);
        Mark {
            // A power of two.
            set: hash as usize & (self.sets.len() - 1),
            // Never zero: that is an empty bucket.
            fingerprint: (hash >> TIME_BITS).max(1),
        }
    }

    /// The key's own bucket; if it has none, the one that owes least, as if it owed nothing.
    fn place(&self, mark: Mark, now: u64) -> Place<'_> {
        let Set(buckets) = &self.sets[mark.set];
        let (mut least, mut victim) = (i64::MAX, (&buckets[0], 0));
        for bucket in buckets {
            let word = bucket.load(Ordering::SeqCst);
            let debt = match word {
                0 => i64::MIN,
                _ => self.pace.debt(word, now),
            };
            if word >> TIME_BITS == mark.fingerprint {
                return Place { bucket, word, debt };
            }
            if debt < least {
                (least, victim) = (debt, (bucket, word));
            }
        }
        let (bucket, word) = victim;
        Place {
            bucket,
            word,
            debt: 0,
        }
    }
}

// === impl Mark ===

impl Mark {
    fn word(self, kept: u64) -> u64 {
        self.fingerprint << TIME_BITS | kept
    }
}

#[cfg(test)]
mod tests;
