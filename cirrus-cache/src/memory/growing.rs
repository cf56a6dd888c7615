//! The objects being filled, by key.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cirrus_core::cache::{CacheKey, Moment};
use parking_lot::RwLock;

use super::object::Object;
use crate::removals::Removals;

const SHARDS: usize = 64;

type Fills = HashMap<CacheKey, Vec<Arc<Object>>, foldhash::fast::RandomState>;

/// The objects being filled. Their locks also keep changes to one key apart, in the index as well.
pub(super) struct Growing {
    shards: Box<[Shard]>,
    hasher: foldhash::fast::RandomState,
}

/// The removals of one key.
pub(super) struct Removed<'a> {
    hash: u64,
    removals: &'a mut Removals,
}

#[derive(Default)]
struct State {
    fills: Fills,
    removals: Removals,
}

#[derive(Default)]
struct Shard {
    /// How many there are: most look-ups see that there is none, and take no lock.
    count: AtomicUsize,
    state: RwLock<State>,
}

// === impl Growing ===

impl Growing {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    fn shard(&self, hash: u64) -> &Shard {
        // The remainder is less than `SHARDS`.
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }

    /// The objects being filled for `key`.
    pub(super) fn find(&self, key: &CacheKey) -> Vec<Arc<Object>> {
        let shard = self.shard(self.hasher.hash_one(key));
        // Counted down only after the object is in the index, which is looked at after this.
        if shard.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        shard
            .state
            .read()
            .fills
            .get(key)
            .cloned()
            .unwrap_or_default()
    }

    /// Changes what is filled for `key`, or kept in the index for it, with nobody else doing so.
    pub(super) fn change<T>(
        &self,
        key: &CacheKey,
        change: impl FnOnce(&mut Vec<Arc<Object>>) -> T,
    ) -> T {
        self.change_noting(key, |objects, _| change(objects))
    }

    /// [`change`](Self::change), with the key's removals.
    pub(super) fn change_noting<T>(
        &self,
        key: &CacheKey,
        change: impl FnOnce(&mut Vec<Arc<Object>>, &mut Removed<'_>) -> T,
    ) -> T {
        let hash = self.hasher.hash_one(key);
        let shard = self.shard(hash);
        let mut state = shard.state.write();
        let State { fills, removals } = &mut *state;
        let mut objects = fills.remove(key).unwrap_or_default();
        let before = objects.len();
        let result = change(&mut objects, &mut Removed { hash, removals });
        let count = shard.count.load(Ordering::Relaxed) + objects.len() - before;
        if !objects.is_empty() {
            fills.insert(key.clone(), objects);
        }
        shard.count.store(count, Ordering::Release);
        result
    }

    pub(super) fn len(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.count.load(Ordering::Relaxed) as u64)
            .sum()
    }

    /// When the oldest of them began.
    pub(super) fn oldest(&self) -> Option<u64> {
        let born = |shard: &Shard| {
            shard
                .state
                .read()
                .fills
                .values()
                .flatten()
                .map(|object| object.era.born())
                .min()
        };
        self.shards.iter().filter_map(born).min()
    }
}

// === impl Removed ===

impl Removed<'_> {
    /// The key is removed now.
    pub(super) fn note(&mut self, number: Moment) {
        self.removals.note(self.hash, number);
    }

    /// Whether the key was removed after `moment`; also if that is no longer known.
    pub(super) fn since(&self, moment: Moment) -> bool {
        self.removals.since(self.hash, moment)
    }
}
