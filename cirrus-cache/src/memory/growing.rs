//! The objects being filled, by key.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cirrus_core::cache::CacheKey;
use parking_lot::RwLock;

use super::object::Object;

const SHARDS: usize = 64;

type Fills = HashMap<CacheKey, Vec<Arc<Object>>, foldhash::fast::RandomState>;

/// The objects being filled. Their locks also keep changes to one key apart, in the index as well.
pub(super) struct Growing {
    shards: Box<[Shard]>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Default)]
struct Shard {
    /// How many there are: most look-ups see that there is none, and take no lock.
    count: AtomicUsize,
    fills: RwLock<Fills>,
}

// === impl Growing ===

impl Growing {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    fn shard(&self, key: &CacheKey) -> &Shard {
        // The remainder is less than `SHARDS`.
        let hash = self.hasher.hash_one(key) % SHARDS as u64;
        &self.shards[usize::try_from(hash).unwrap_or_default()]
    }

    /// The objects being filled for `key`.
    pub(super) fn find(&self, key: &CacheKey) -> Vec<Arc<Object>> {
        let shard = self.shard(key);
        // Counted down only after the object is in the index, which is looked at after this.
        if shard.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        shard.fills.read().get(key).cloned().unwrap_or_default()
    }

    /// Changes what is filled for `key`, or kept in the index for it, with nobody else doing so.
    pub(super) fn change<T>(
        &self,
        key: &CacheKey,
        change: impl FnOnce(&mut Vec<Arc<Object>>) -> T,
    ) -> T {
        let shard = self.shard(key);
        let mut fills = shard.fills.write();
        let mut objects = fills.remove(key).unwrap_or_default();
        let before = objects.len();
        let result = change(&mut objects);
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
                .fills
                .read()
                .values()
                .flatten()
                .map(|object| object.era.born())
                .min()
        };
        self.shards.iter().filter_map(born).min()
    }
}
