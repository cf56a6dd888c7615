//! The whole objects, by key, and which of them make room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cirrus_core::cache::CacheKey;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::object::Object;

/// Allowed for a key's bookkeeping: its place in the tables, with their spare room, and its count.
pub(super) const ENTRY_OVERHEAD: u64 = 96;

/// Most parts that the index is cut into.
const MOST_SHARDS: u64 = 64;

/// In parts per hundred, what of a part one entry may take: quick_cache refuses more.
const ENTRY_SHARE: u64 = 97;

/// Allowed for the metadata of the largest object.
const LARGEST_META: u64 = 16 * 1024;

/// The whole objects.
pub(super) struct Index {
    cache: Cache<CacheKey, Entry, Weigh, DefaultHashBuilder, Evict>,
    objects: AtomicU64,
    evicted: AtomicU64,
    largest_entry: u64,
}

/// The whole variants of one URL, newest first. Never changes: another takes its place.
#[derive(Clone)]
pub(super) enum Entry {
    One(Arc<Object>),
    Several(Arc<[Arc<Object>]>),
}

#[derive(Clone)]
struct Weigh;

/// Gives back what is evicted, so that it is counted, and freed without a lock.
#[derive(Clone)]
struct Evict;

// === impl Index ===

impl Index {
    /// An index of this many bytes, cut into as many parts as each can hold a body of `max_object`.
    pub(super) fn new(capacity: u64, max_object: u64) -> Self {
        let fits = |shards: u64| capacity / shards / 100 * ENTRY_SHARE >= max_object + LARGEST_META;
        let mut shards = MOST_SHARDS;
        while shards > 1 && !fits(shards) {
            shards /= 2;
        }
        let items = (capacity / 4096).clamp(64, 1 << 22);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1))
            // Parts of equal size: rounded up, they would be more than the whole.
            .weight_capacity(capacity / MOST_SHARDS * MOST_SHARDS)
            .estimated_items_capacity(usize::try_from(items).unwrap_or(64))
            .build()
            .expect("both capacities are set");
        let cache = Cache::with_options(options, Weigh, DefaultHashBuilder::default(), Evict);
        let largest_entry = cache.shard_capacity() / 100 * ENTRY_SHARE;
        Self {
            cache,
            objects: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            largest_entry,
        }
    }

    /// Takes a shared lock, and notes that the key is in use.
    pub(super) fn get(&self, key: &CacheKey) -> Option<Entry> {
        self.cache.get(key)
    }

    /// Without noting that the key is in use.
    pub(super) fn peek(&self, key: &CacheKey) -> Option<Entry> {
        self.cache.peek(key)
    }

    /// Has `objects`, newest first, take the place of those that the key has. The oldest that are too much for one key
    /// are left out. Never twice at a time for one key.
    pub(super) fn replace(&self, key: &CacheKey, mut objects: Vec<Arc<Object>>) {
        let mut weight = weight(key, &objects);
        while weight > self.largest_entry {
            let Some(oldest) = objects.pop() else { break };
            weight -= oldest.weight;
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        match Entry::new(objects) {
            Some(entry) => self.insert(key, entry),
            None => {
                let before = self.cache.remove(key);
                self.count_out(before.as_ref().map_or(0, |(_, entry)| entry.len()));
            }
        }
    }

    fn insert(&self, key: &CacheKey, entry: Entry) {
        self.objects.fetch_add(entry.len(), Ordering::Relaxed);
        let mut gone = Vec::new();
        self.cache
            .insert_with_lifecycle(key.clone(), entry.clone(), &mut gone);
        for (other, left) in &gone {
            self.count_out(left.len());
            // What was replaced is among them: that is no eviction.
            if other != key || left.is(&entry) {
                self.evicted.fetch_add(left.len(), Ordering::Relaxed);
            }
        }
    }

    fn count_out(&self, objects: u64) {
        self.objects.fetch_sub(objects, Ordering::Relaxed);
    }

    /// All entries, those that come or go meanwhile perhaps. Holds no lock between two of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CacheKey, Entry)> + Send {
        self.cache.iter()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    pub(super) fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

// === impl Entry ===

impl Entry {
    /// `None` of none.
    fn new(mut objects: Vec<Arc<Object>>) -> Option<Self> {
        match objects.len() {
            0 | 1 => objects.pop().map(Self::One),
            _ => Some(Self::Several(objects.into())),
        }
    }

    /// Newest first.
    pub(super) fn objects(&self) -> &[Arc<Object>] {
        match self {
            Self::One(object) => std::slice::from_ref(object),
            Self::Several(objects) => objects,
        }
    }

    fn len(&self) -> u64 {
        self.objects().len() as u64
    }

    /// Whether both are the same, not only alike.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(one), Self::One(other)) => Arc::ptr_eq(one, other),
            (Self::Several(some), Self::Several(others)) => Arc::ptr_eq(some, others),
            _ => false,
        }
    }
}

// === impl Weigh ===

impl Weighter<CacheKey, Entry> for Weigh {
    fn weight(&self, key: &CacheKey, entry: &Entry) -> u64 {
        weight(key, entry.objects())
    }
}

fn weight(key: &CacheKey, objects: &[Arc<Object>]) -> u64 {
    let objects: u64 = objects.iter().map(|object| object.weight).sum();
    ENTRY_OVERHEAD + key.weight() as u64 + objects
}

// === impl Evict ===

impl Lifecycle<CacheKey, Entry> for Evict {
    type RequestState = Vec<(CacheKey, Entry)>;

    fn on_evict(&self, gone: &mut Self::RequestState, key: CacheKey, entry: Entry) {
        gone.push((key, entry));
    }
}
