//! The objects being filled, by key, and the latest removals by URL.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cirrus_core::cache::epochs::Era;
use cirrus_core::cache::{CacheKey, Meta, ObjectId, Stored, StoredBody};
use parking_lot::RwLock;

use crate::removals::Removals;

const SHARDS: usize = 64;

/// One response being stored. Never changes: another takes its place.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) id: ObjectId,
    pub(super) era: Era,
    pub(super) meta: Arc<Meta>,
    pub(super) body: Arc<dyn StoredBody>,
}

/// The objects being filled. Its locks are held for a few instructions at a time.
pub(super) struct Fills(Box<[Shard]>);

#[derive(Default)]
struct Shard {
    /// How many there are: most look-ups see that there is none, and take no lock.
    count: AtomicUsize,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    fills: HashMap<CacheKey, Vec<Object>, foldhash::fast::RandomState>,
    removals: Removals,
}

// === impl Fills ===

impl Fills {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Shard::default()).collect())
    }

    fn shard(&self, hash: u64) -> &Shard {
        &self.0[usize::try_from(hash >> 32).unwrap_or_default() % SHARDS]
    }

    pub(super) fn find(&self, key: &CacheKey, hash: u64) -> Vec<Object> {
        let shard = self.shard(hash);
        // Counted down only after the object is in the index, which is looked at after this.
        if shard.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let state = shard.state.read();
        state.fills.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn change<T>(
        &self,
        key: &CacheKey,
        hash: u64,
        change: impl FnOnce(&mut Vec<Object>, &mut Removals) -> T,
    ) -> T {
        let shard = self.shard(hash);
        let mut state = shard.state.write();
        let State { fills, removals } = &mut *state;
        let mut objects = fills.remove(key).unwrap_or_default();
        let before = objects.len();
        let result = change(&mut objects, removals);
        let count = shard.count.load(Ordering::Relaxed) + objects.len() - before;
        if !objects.is_empty() {
            fills.insert(key.clone(), objects);
        }
        shard.count.store(count, Ordering::Release);
        result
    }

    /// No more to be found here.
    pub(super) fn forget(&self, key: &CacheKey, hash: u64, id: ObjectId) {
        self.change(key, hash, |fills, _| fills.retain(|object| object.id != id));
    }

    pub(super) fn len(&self) -> u64 {
        let counts = self
            .0
            .iter()
            .map(|shard| shard.count.load(Ordering::Relaxed) as u64);
        counts.sum()
    }

    /// When the oldest of them began.
    pub(super) fn oldest(&self) -> Option<u64> {
        let born = |shard: &Shard| {
            let state = shard.state.read();
            let fills = state.fills.values().flatten();
            fills.map(|object| object.era.born()).min()
        };
        self.0.iter().filter_map(born).min()
    }
}

// === impl Object ===

impl Object {
    pub(super) fn stored(&self) -> Stored {
        Stored::new(self.id, Arc::clone(&self.meta), Arc::clone(&self.body))
    }
}
