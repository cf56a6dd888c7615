//! A store in memory.
//!
//! Whole objects are in the [`index`], which finds room for new ones by S3-FIFO; those being filled are in
//! [`growing`], whose exclusive lock is also what every change to a key takes; purges are [`Epochs`], looked at
//! whenever an object is found.

mod budget;
mod fill;
mod growing;
mod index;
mod object;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::cache::buffer;
use cirrus_core::cache::epochs::{Epochs, Verdict};
use cirrus_core::cache::{
    CacheKey, CacheStore, Fill, Meta, Mode, Moment, ObjectId, Purge, Purged, Selection, StoreError,
    Stored, Usage,
};
use cirrus_core::{Clock, SystemClock};

use self::budget::{Budget, Reservation};
use self::fill::{GROWING_OVERHEAD, MemoryFill};
use self::growing::Growing;
use self::index::Index;
use self::object::{Content, OBJECT_OVERHEAD, Object};

/// Most variants of one URL that are kept: 64.
const MOST_VARIANTS: usize = 64;

/// How often objects are freed that a purge by tag, prefix, host or all has left behind: every minute.
const SWEEP: Duration = Duration::from_secs(60);

/// Keeps responses in memory, up to a number of bytes.
///
/// Three quarters of the capacity are for whole objects, which are evicted by S3-FIFO; one quarter is for those being
/// filled. A fill that finds no room there is passed on to its readers without being stored. Bytes are counted with
/// keys, metadata and an allowance for bookkeeping; an object that was removed while a client still reads it is
/// no longer counted. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

/// Makes a [`MemoryStore`].
#[must_use]
pub struct MemoryStoreBuilder {
    capacity: u64,
    max_object: Option<u64>,
    clock: Arc<dyn Clock>,
}

struct Inner {
    index: Index,
    growing: Growing,
    epochs: Epochs,
    fills: Arc<Budget>,
    clock: Arc<dyn Clock>,
    last_id: AtomicU64,
    capacity: u64,
    max_object: u64,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// Keeps up to this many bytes.
    #[must_use]
    pub fn sized(bytes: u64) -> Self {
        Self::builder().capacity(bytes).build()
    }

    /// To say more than its size.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder {
            capacity: 256 << 20,
            max_object: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Frees the memory of what purges have removed, and forgets purges that concern nobody any more.
    ///
    /// Never needed for a purge to hold: what is purged is not found, and sooner or later evicted. Looks at every
    /// object, a few hundred at a time and without holding up anybody, so it is for the background. Gives how many
    /// objects it freed.
    pub async fn sweep(&self) -> u64 {
        self.0.sweep().await
    }
}

#[async_trait]
impl CacheStore for MemoryStore {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        Ok(self.0.lookup(key))
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        Ok(Box::new(self.0.insert(key, meta)?))
    }

    fn moment(&self) -> Moment {
        self.0.epochs.moment()
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        Ok(self.0.refresh(key, id, meta))
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        Ok(self.0.purge(purge))
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.0.usage())
    }

    async fn maintain(&self) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            self.sweep().await;
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryStore").field(&self.0.usage()).finish()
    }
}

// === impl MemoryStoreBuilder ===

impl MemoryStoreBuilder {
    /// Keeps up to this many bytes: 256 MiB by default.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// Keeps no body larger than this: an eighth of the capacity by default, a quarter at most.
    ///
    /// The index is cut into parts that each can hold such a body, so a smaller one means less waiting for each other
    /// on machines with many cores.
    pub fn max_object(mut self, bytes: u64) -> Self {
        self.max_object = Some(bytes);
        self
    }

    /// Takes the time from `clock`.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The store, empty.
    #[must_use]
    pub fn build(self) -> MemoryStore {
        let fills = self.capacity / 4;
        let max_object = self.max_object.unwrap_or(self.capacity / 8).min(fills);
        MemoryStore(Arc::new(Inner {
            index: Index::new(self.capacity - fills, max_object),
            growing: Growing::new(),
            epochs: Epochs::new(),
            fills: Arc::new(Budget::new(fills)),
            clock: self.clock,
            last_id: AtomicU64::new(0),
            capacity: self.capacity,
            max_object,
        }))
    }
}

impl fmt::Debug for MemoryStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStoreBuilder")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    fn verdict(&self, key: &CacheKey, object: &Object) -> Verdict {
        self.epochs.check(&object.era, key, &object.meta.tags)
    }

    fn is_live(&self, key: &CacheKey, object: &Object) -> bool {
        self.verdict(key, object) != Verdict::Dead
    }

    fn lookup(&self, key: &CacheKey) -> Vec<Stored> {
        // In this order, because a fill that ends goes from there to here: it may be seen twice, but is never missed.
        let growing = self.growing.find(key);
        let entry = self.index.get(key);
        let whole = entry.as_ref().map_or(&[][..], index::Entry::objects);

        let mut dead = false;
        let mut found = Vec::with_capacity(growing.len() + whole.len());
        for object in growing.iter().chain(whole) {
            match self.verdict(key, object) {
                Verdict::Live => found.push(object.stored()),
                Verdict::Soft(at) => found.push(object.stored().expired(at)),
                Verdict::Dead => dead = true,
            }
        }
        if !growing.is_empty() {
            found.sort_by_key(|stored| std::cmp::Reverse(stored.id));
            found.dedup_by_key(|stored| stored.id);
        }
        if dead {
            self.discard_dead(key);
        }
        found
    }

    fn insert(self: &Arc<Self>, key: &CacheKey, meta: Meta) -> Result<MemoryFill, StoreError> {
        let fixed = OBJECT_OVERHEAD + meta.weight() as u64;
        let declared = meta.length.unwrap_or(0);
        if declared > self.max_object {
            return Err(StoreError::Full);
        }
        let mut reserved = Reservation::of(&self.fills);
        if !reserved.raise_to(fixed + GROWING_OVERHEAD + key.weight() as u64 + declared) {
            return Err(StoreError::Full);
        }

        let (writer, body) = buffer::growing(meta.length);
        let id = ObjectId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let object = self.growing.change_noting(key, |fills, removals| {
            let era = match meta.asked {
                Some(asked) if removals.since(asked) => return Err(StoreError::Purged),
                Some(asked) => self.epochs.begin_at(asked),
                None => self.epochs.begin(),
            };
            let object = Arc::new(Object {
                id,
                era,
                meta: meta.into(),
                content: Content::Pieces(body),
                weight: fixed,
            });
            if !self.is_live(key, &object) {
                return Err(StoreError::Purged);
            }
            fills.push(Arc::clone(&object));
            Ok(object)
        })?;
        Ok(MemoryFill::new(
            Arc::clone(self),
            key.clone(),
            &object,
            writer,
            reserved,
        ))
    }

    /// A fill of `body` bytes has ended: its object takes the place of the variant before it. Without effect if it was purged.
    fn settle(&self, key: &CacheKey, id: ObjectId, body: u64) {
        self.growing.change(key, |fills| {
            let Some(place) = fills.iter().position(|object| object.id == id) else {
                return;
            };
            // It stays to be found here until it is found there.
            let object = fills[place].with_body(body);
            if self.is_live(key, &object) {
                self.place(key, object);
            }
            fills.remove(place);
        });
    }

    /// Only under the key's lock.
    fn place(&self, key: &CacheKey, object: Object) {
        let entry = self.index.peek(key);
        let before = entry.as_ref().map_or(&[][..], index::Entry::objects);
        // A fill that began later, and was faster, is the newer one.
        if before
            .iter()
            .any(|other| other.id > object.id && other.meta.vary == object.meta.vary)
        {
            return;
        }
        let mut objects: Vec<_> = before
            .iter()
            .filter(|other| other.meta.vary != object.meta.vary)
            .map(Arc::clone)
            .collect();
        let place = objects.partition_point(|other| other.id > object.id);
        objects.insert(place, Arc::new(object));
        self.replace(key, objects);
    }

    /// Has these objects, newest first, take the place of the key's. Only under the key's lock.
    fn replace(&self, key: &CacheKey, mut objects: Vec<Arc<Object>>) {
        // Also lets `sweep` rely on no purged object coming back.
        objects.retain(|object| self.is_live(key, object));
        objects.truncate(MOST_VARIANTS);
        self.index.replace(key, objects);
    }

    fn discard_dead(&self, key: &CacheKey) {
        self.growing.change(key, |fills| {
            fills.retain(|object| self.is_live(key, object));
            if let Some(entry) = self.index.peek(key) {
                self.replace(key, entry.objects().to_vec());
            }
        });
    }

    fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> bool {
        self.growing.change(key, |fills| {
            if let Some(object) = fills.iter_mut().find(|object| object.id == id) {
                let Some(renewed) = object.renewed(&self.epochs, key, meta) else {
                    return false;
                };
                *object = Arc::new(renewed);
                return true;
            }
            let Some(entry) = self.index.peek(key) else {
                return false;
            };
            let mut objects = entry.objects().to_vec();
            let Some(object) = objects.iter_mut().find(|object| object.id == id) else {
                return false;
            };
            let Some(renewed) = object.renewed(&self.epochs, key, meta) else {
                return false;
            };
            *object = Arc::new(renewed);
            self.replace(key, objects);
            true
        })
    }

    fn purge(&self, purge: &Purge) -> Purged {
        match &purge.what {
            Selection::Url(key) if purge.mode == Mode::Hard => Purged::counted(self.remove(key)),
            what => {
                self.epochs.record(purge, self.clock.now());
                match what {
                    Selection::Url(key) => Purged::counted(self.lookup(key).len() as u64),
                    _ => Purged::default(),
                }
            }
        }
    }

    /// Removes all variants; fills in progress go on, but are not found.
    fn remove(&self, key: &CacheKey) -> u64 {
        self.growing.change_noting(key, |fills, removals| {
            removals.note(self.epochs.next());
            let entry = self.index.peek(key);
            let whole = entry.as_ref().map_or(&[][..], index::Entry::objects);
            let live = fills
                .iter()
                .chain(whole)
                .filter(|object| self.is_live(key, object))
                .count();
            fills.clear();
            self.index.replace(key, Vec::new());
            live as u64
        })
    }

    async fn sweep(&self) -> u64 {
        const AT_A_TIME: usize = 256;
        // Whatever is put into the index behind our back was judged after this, by all purges before it.
        let mut oldest = self.epochs.horizon();
        oldest = self
            .growing
            .oldest()
            .map_or(oldest, |born| born.min(oldest));
        let mut freed = 0;
        for (n, (key, entry)) in self.index.iter().enumerate() {
            let live = entry
                .objects()
                .iter()
                .filter(|object| self.is_live(&key, object));
            let (count, born) = live.fold((0, oldest), |(n, born), object| {
                (n + 1, born.min(object.era.born()))
            });
            oldest = born;
            if count < entry.objects().len() {
                self.discard_dead(&key);
                freed += (entry.objects().len() - count) as u64;
            }
            if n % AT_A_TIME == AT_A_TIME - 1 {
                tokio::task::yield_now().await;
            }
        }
        self.epochs.forget_before(oldest);
        freed
    }

    fn usage(&self) -> Usage {
        let objects = self.index.objects() + self.growing.len();
        Usage::new(
            objects,
            self.index.bytes() + self.fills.used(),
            self.capacity,
            self.index.evicted(),
        )
    }
}
