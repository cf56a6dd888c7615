//! Purges by generation: recording one costs the same however many objects it concerns.
//!
//! A purge is a mark with a number; an object remembers the number at its beginning, and is gone if a mark that
//! concerns it is higher. Nothing is ever searched for what a purge concerns.

mod marks;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use self::marks::{Mark, Marks};
use super::key::CacheKey;
use super::purge::Purge;
use super::store::Moment;
use super::tag::Tags;
use crate::clock::Timestamp;

/// Most purges that are remembered one by one: 65,536.
pub const MOST_MARKS: usize = 65_536;

/// Most different lengths of a host's prefixes: 64.
pub const MOST_LENGTHS: usize = 64;

/// The purges that may still concern an object.
///
/// # Cost
///
/// [`check`](Self::check) is one atomic load and a comparison for an object that was checked since the last purge.
/// Otherwise it takes a shared lock, and one hash look-up for the host, the URL and each tag, and for each different
/// *length* (not number) of the host's purged prefixes, of which there are at most [`MOST_LENGTHS`].
///
/// # Memory
///
/// A purge repeated takes the place of the one before. Beyond [`MOST_MARKS`] the older half of those by URL and
/// prefix become one of their whole host, and if that is not enough the older half of the others one of everything:
/// more is removed than was asked for, never less.
pub struct Epochs {
    /// Numbers the beginnings of objects, and purges.
    sequence: AtomicU64,
    /// The last purge's number; moves only under the exclusive lock.
    latest: AtomicU64,
    marks: RwLock<Marks>,
    most: usize,
}

/// What an object remembers for [`Epochs`] to judge it by.
#[derive(Debug)]
pub struct Era {
    born: u64,
    /// Soft purges before this have been answered by a revalidation.
    renewed: u64,
    /// The last purge that is known not to concern it.
    checked: AtomicU64,
}

/// A purge as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What was purged.
    pub purge: Purge,
    /// Its number.
    pub moment: Moment,
    /// When that was; matters to soft ones only.
    pub at: Timestamp,
}

/// What the purges mean for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Live,
    /// It is stale since then.
    Soft(Timestamp),
    /// It is not to be found any more.
    Dead,
}

// === impl Epochs ===

impl Epochs {
    /// Nothing has been purged.
    #[must_use]
    pub fn new() -> Self {
        Self::holding(MOST_MARKS)
    }

    fn holding(most: usize) -> Self {
        let latest = AtomicU64::new(0);
        Self {
            sequence: AtomicU64::new(0),
            latest,
            marks: RwLock::default(),
            most,
        }
    }

    /// An object begins: purges from now on concern it.
    #[must_use]
    pub fn begin(&self) -> Era {
        let born = self.number();
        Era {
            born,
            renewed: born,
            checked: AtomicU64::new(0),
        }
    }

    /// Now, in the order of beginnings and purges.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.sequence.load(Ordering::Acquire))
    }

    /// Numbers a purge that is remembered elsewhere.
    #[must_use]
    pub fn next(&self) -> Moment {
        Moment(self.number())
    }

    /// An object begins that was asked for at `moment`: purges since then concern it.
    #[must_use]
    pub fn begin_at(&self, moment: Moment) -> Era {
        Era {
            born: moment.0,
            renewed: moment.0,
            checked: AtomicU64::new(0),
        }
    }

    /// A number that no purge in progress precedes: whatever is numbered lower can be seen by [`check`](Self::check).
    #[must_use]
    pub fn horizon(&self) -> u64 {
        let _none_in_progress = self.marks.read();
        self.number()
    }

    fn number(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Records a purge. Every [`check`](Self::check) that begins after it has returned heeds it.
    pub fn record(&self, purge: &Purge, now: Timestamp) -> Moment {
        let mut marks = self.marks.write();
        let number = self.number();
        marks.record(&purge.what, Mark::new(purge.mode, number, now));
        marks.bound(self.most);
        self.latest.store(number, Ordering::Release);
        Moment(number)
    }

    /// Records a purge of an earlier life of the store, under the number that it had.
    pub fn replay(&self, past: &Recorded) {
        let mut marks = self.marks.write();
        let number = past.moment.0;
        let mark = Mark::new(past.purge.mode, number, past.at);
        marks.record(&past.purge.what, mark);
        marks.bound(self.most);
        self.resume_after(past.moment);
        self.latest.fetch_max(number, Ordering::AcqRel);
    }

    /// Numbers from now on are higher: for objects and purges of an earlier life of the store.
    pub fn resume_after(&self, moment: Moment) {
        self.sequence.fetch_max(moment.0, Ordering::AcqRel);
    }

    /// The purges that are remembered, for [`replay`](Self::replay) in the store's next life.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.marks.read().recorded()
    }

    /// What the purges so far mean for an object with this key and these tags.
    pub fn check(&self, era: &Era, key: &CacheKey, tags: &Tags) -> Verdict {
        if era.checked.load(Ordering::Relaxed) >= self.latest.load(Ordering::Acquire) {
            return Verdict::Live;
        }
        let marks = self.marks.read();
        let verdict = era.judge(marks.concerning(key, tags), marks.forgotten);
        if verdict == Verdict::Live {
            era.checked
                .store(self.latest.load(Ordering::Acquire), Ordering::Relaxed);
        }
        verdict
    }

    /// The era of an object after a revalidation that was asked for at `asked`; `None` if it is dead.
    ///
    /// Soft purges until then are answered. One that came while the origin was being asked is not: what it confirmed
    /// may be from before.
    #[must_use]
    pub fn renew(&self, era: &Era, key: &CacheKey, tags: &Tags, asked: Moment) -> Option<Era> {
        let marks = self.marks.read();
        if era.judge(marks.concerning(key, tags), marks.forgotten) == Verdict::Dead {
            return None;
        }
        let renewed = era.renewed.max(asked.0);
        Some(Era {
            born: era.born,
            renewed,
            checked: AtomicU64::new(0),
        })
    }

    /// Forgets purges that concern nobody, given that every object begins at `oldest` ([`Era::born`]) or later.
    pub fn forget_before(&self, oldest: u64) {
        self.marks.write().forget_before(oldest);
    }

    /// How many purges are remembered, that of everything not counted.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.marks.read().count
    }
}

impl Default for Epochs {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latest = self.latest.load(Ordering::Relaxed);
        f.debug_struct("Epochs")
            .field("latest", &latest)
            .field("remembered", &self.remembered())
            .finish()
    }
}

// === impl Era ===

impl Era {
    /// Of an object that was kept over a restart.
    #[must_use]
    pub fn restored(born: u64, renewed: u64) -> Self {
        Self {
            born,
            renewed,
            checked: AtomicU64::new(0),
        }
    }

    /// Soft purges up to this number are answered.
    #[must_use]
    pub fn renewed(&self) -> u64 {
        self.renewed
    }

    /// Its number among all beginnings and purges.
    #[must_use]
    pub fn born(&self) -> u64 {
        self.born
    }

    /// `forgotten`: the last purge that is not remembered. One that an older object may not have heeded removes it.
    fn judge(&self, mark: Mark, forgotten: u64) -> Verdict {
        if mark.hard > self.born || forgotten > self.born {
            Verdict::Dead
        } else if mark.soft > self.renewed {
            Verdict::Soft(mark.soft_at)
        } else {
            Verdict::Live
        }
    }
}

impl Clone for Era {
    fn clone(&self) -> Self {
        let checked = AtomicU64::new(self.checked.load(Ordering::Relaxed));
        Self {
            born: self.born,
            renewed: self.renewed,
            checked,
        }
    }
}
