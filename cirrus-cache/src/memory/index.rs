//! The whole objects, by key, and which of them make room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cirrus_core::cache::CacheKey;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::object::Object;

/// Allowed for a key's bookkeeping.
pub(super) const ENTRY_OVERHEAD: u64 = 128;

/// Most parts that the index is cut into.
const MOST_SHARDS: u64 = 64;

/// In parts per hundred, what of a part one entry may take: quick_cache refuses more.
const ENTRY_SHARE: u64 = 97;

/// Allowed for the metadata of the largest object.
const LARGEST_META: u64 = 16 * 1024;

/// The whole objects.
pub(super) struct Index {
    cache: Cache<CacheKey, Arc<Entry>, Weigh, DefaultHashBuilder, Evict>,
    counters: Arc<Counters>,
    largest_entry: u64,
}

/// The whole variants of one URL, newest first. Never changes: another takes its place.
pub(super) struct Entry {
    objects: Vec<Arc<Object>>,
    weight: u64,
    /// Another takes its place, so that its leaving is no eviction.
    replaced: AtomicBool,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    objects: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Clone)]
struct Weigh;

/// Counts what is evicted, and keeps it until it can be freed without a lock.
#[derive(Clone)]
struct Evict(Arc<Counters>);

// === impl Index ===

impl Index {
    /// An index of this many bytes, cut into as many parts as each can hold a body of `max_object`.
    pub(super) fn new(capacity: u64, max_object: u64) -> Self {
        let fits = |shards: u64| capacity / shards / 100 * ENTRY_SHARE >= max_object + LARGEST_META;
        let mut shards = MOST_SHARDS;
        while shards > 1 && !fits(shards) {
            shards /= 2;
        }
        let counters = Arc::<Counters>::default();
        let items = (capacity / 4096).clamp(64, 1 << 22);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1))
            // Parts of equal size: rounded up, they would be more than the whole.
            .weight_capacity(capacity / MOST_SHARDS * MOST_SHARDS)
            .estimated_items_capacity(usize::try_from(items).unwrap_or(64))
            .build()
            .expect("both capacities are set");
        let cache = Cache::with_options(
            options,
            Weigh,
            DefaultHashBuilder::default(),
            Evict(Arc::clone(&counters)),
        );
        let largest_entry = cache.shard_capacity() / 100 * ENTRY_SHARE;
        Self {
            cache,
            counters,
            largest_entry,
        }
    }

    /// Takes a shared lock, and notes that the key is in use.
    pub(super) fn get(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        self.cache.get(key)
    }

    /// Without noting that the key is in use.
    pub(super) fn peek(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        self.cache.peek(key)
    }

    /// Has `objects`, newest first, take the place of `entry`. The oldest that are too much for one key are left out.
    pub(super) fn replace(
        &self,
        key: &CacheKey,
        entry: Option<&Entry>,
        mut objects: Vec<Arc<Object>>,
    ) {
        let fixed = ENTRY_OVERHEAD + key.weight() as u64;
        let mut weight = fixed + objects.iter().map(|object| object.weight).sum::<u64>();
        while weight > self.largest_entry {
            let Some(oldest) = objects.pop() else { break };
            weight -= oldest.weight;
            self.counters.evicted.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(entry) = entry {
            entry.replaced.store(true, Ordering::Relaxed);
        }
        if objects.is_empty() {
            self.cache.remove(key);
        } else {
            self.cache.insert(
                key.clone(),
                Arc::new(Entry::new(objects, weight, &self.counters)),
            );
        }
    }

    /// All entries, those that come or go meanwhile perhaps. Holds no lock between two of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CacheKey, Arc<Entry>)> + Send {
        self.cache.iter()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    pub(super) fn objects(&self) -> u64 {
        self.counters.objects.load(Ordering::Relaxed)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.counters.evicted.load(Ordering::Relaxed)
    }
}

// === impl Entry ===

impl Entry {
    fn new(objects: Vec<Arc<Object>>, weight: u64, counters: &Arc<Counters>) -> Self {
        counters
            .objects
            .fetch_add(objects.len() as u64, Ordering::Relaxed);
        Self {
            objects,
            weight,
            replaced: AtomicBool::new(false),
            counters: Arc::clone(counters),
        }
    }

    /// Newest first.
    pub(super) fn objects(&self) -> &[Arc<Object>] {
        &self.objects
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.counters
            .objects
            .fetch_sub(self.objects.len() as u64, Ordering::Relaxed);
    }
}

// === impl Weigh ===

impl Weighter<CacheKey, Arc<Entry>> for Weigh {
    fn weight(&self, _: &CacheKey, entry: &Arc<Entry>) -> u64 {
        entry.weight
    }
}

// === impl Evict ===

impl Lifecycle<CacheKey, Arc<Entry>> for Evict {
    type RequestState = Vec<Arc<Entry>>;

    fn on_evict(&self, evicted: &mut Self::RequestState, _: CacheKey, entry: Arc<Entry>) {
        // It also hears of what is replaced.
        if !entry.replaced.load(Ordering::Relaxed) {
            self.0
                .evicted
                .fetch_add(entry.objects.len() as u64, Ordering::Relaxed);
        }
        evicted.push(entry);
    }
}
