//! The store itself: what becomes of keys, records and purges.
//!
//! Three kinds of locks, always taken in this order: a key's stripe, held by threads of the pool while they read and
//! write; those of segments and logs, likewise; and those of the maps in memory, held for a few instructions, which
//! are the only ones that workers take.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cirrus_core::cache::epochs::{Epochs, Verdict};
use cirrus_core::cache::{CacheKey, StoreError, Stored, Usage};
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::body::{Unreadable, Whole, WholeBody, read};
use super::fills::Fills;
use super::index::{Index, Slot};
use super::io::Io;
use super::pool::Pool;
use super::purges::PurgeLog;
use super::record::{Layout, Record, hash_key};
use super::segment::Segment;
use super::segments::Segments;
use super::sketch::Sketch;

pub(super) const STRIPES: usize = 256;

/// The store.
pub(super) struct Inner {
    pub(super) io: Arc<Io>,
    pub(super) segments: Segments,
    pub(super) index: Index,
    pub(super) fills: Fills,
    pub(super) epochs: Epochs,
    pub(super) log: PurgeLog,
    /// Records read lately.
    pub(super) hot: Cache<(u32, u32), Arc<Record>, Weigh>,
    pub(super) admission: Admission,
    /// Held while a key's records change.
    pub(super) stripes: Box<[Mutex<()>]>,
    pub(super) readers: Pool,
    pub(super) writers: Pool,
    /// Bytes of all bodies that wait to be written.
    pub(super) backlog: Arc<AtomicU64>,
    pub(super) last_id: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) seed: u64,
    pub(super) capacity: u64,
    /// Keeps other processes out.
    pub(super) _lock: File,
}

/// What is worth the disk.
pub(super) struct Admission {
    pub(super) max_object: u64,
    pub(super) min_uses: u8,
    pub(super) sketch: Option<Sketch>,
}

#[derive(Clone)]
pub(super) struct Weigh;

/// An object on the disk, for those who look for it.
struct Found {
    slot: Slot,
    record: Arc<Record>,
    first: Option<Bytes>,
}

// === impl Inner ===

impl Inner {
    pub(super) fn hash(&self, key: &CacheKey) -> u64 {
        hash_key(self.seed, key)
    }

    pub(super) fn report(&self, what: &str, error: &(dyn std::error::Error + 'static)) {
        self.io.report(what, error);
    }

    pub(super) fn stripe(&self, hash: u64) -> &Mutex<()> {
        &self.stripes[usize::try_from(hash >> 48).unwrap_or_default() % STRIPES]
    }

    pub(super) async fn lookup(
        self: &Arc<Self>,
        key: &CacheKey,
    ) -> Result<Vec<Stored>, StoreError> {
        let hash = self.hash(key);
        // In this order, because a fill that ends goes from there to here: it may be seen twice, but is never missed.
        let growing = self.fills.find(key, hash);
        let mut slots = self.index.slots(hash);
        slots.retain(|slot| slot.len > 0);

        let mut found = Vec::with_capacity(growing.len() + slots.len());
        for object in &growing {
            match self.epochs.check(&object.era, key, &object.meta.tags) {
                Verdict::Live => found.push(object.stored()),
                Verdict::Soft(at) => found.push(object.stored().expired(at)),
                Verdict::Dead => {}
            }
        }
        if !slots.is_empty() {
            let stored = self.find(key, slots).await;
            match stored {
                Ok(stored) => found.extend(stored.into_iter().filter_map(|one| self.judge(one))),
                Err(error) if found.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        found.sort_by_key(|stored| std::cmp::Reverse(stored.id));
        found.dedup_by_key(|stored| stored.id);
        Ok(found)
    }

    async fn find(
        self: &Arc<Self>,
        key: &CacheKey,
        slots: Vec<Slot>,
    ) -> Result<Vec<Found>, StoreError> {
        let hot = slots.iter().map(|slot| self.find_hot(key, *slot));
        if let Some(found) = hot.collect::<Option<_>>() {
            return Ok(found);
        }
        if self.readers.is_swamped() {
            return Err(StoreError::Unavailable("too many reads are waiting".into()));
        }
        let (store, key) = (Arc::clone(self), key.clone());
        let found = self.readers.run(move || store.find_on_disk(&key, slots));
        found
            .await
            .unwrap_or(Err(StoreError::Unavailable("a read was given up".into())))
    }

    fn find_hot(&self, key: &CacheKey, slot: Slot) -> Option<Found> {
        let record = self.hot.get(&(slot.segment, slot.at))?;
        (record.key == *key).then_some(Found {
            slot,
            record,
            first: None,
        })
    }

    fn find_on_disk(&self, key: &CacheKey, slots: Vec<Slot>) -> Result<Vec<Found>, StoreError> {
        let (mut found, mut failed) = (Vec::with_capacity(slots.len()), None);
        for slot in slots {
            match self.load_with_body(key, slot) {
                Ok(one) => found.extend(one),
                Err(error) => {
                    self.report("a stored response cannot be read", &error);
                    self.condemn(slot);
                    failed = Some(StoreError::Damaged(error.into()));
                }
            }
        }
        match failed {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }

    /// With the body's first block: what is damaged had better be noticed while there is time for a miss.
    fn load_with_body(&self, key: &CacheKey, slot: Slot) -> Result<Option<Found>, Unreadable> {
        let Some(record) = self.load(key, slot)? else {
            return Ok(None);
        };
        let piece = record.layout.piece(0);
        let first = piece.and_then(|piece| {
            let extent = record.layout.extents.get(piece.extent)?;
            let segment = self.segments.get(extent.segment)?;
            Some(read(&segment, &piece))
        });
        Ok(Some(Found {
            slot,
            record,
            first: first.transpose()?,
        }))
    }

    /// The record in `slot`; `None` if it is gone, or another key's.
    pub(super) fn load(
        &self,
        key: &CacheKey,
        slot: Slot,
    ) -> Result<Option<Arc<Record>>, Unreadable> {
        if let Some(record) = self.hot.get(&(slot.segment, slot.at)) {
            return Ok((record.key == *key).then_some(record));
        }
        let Some(segment) = self.segments.get(slot.segment) else {
            self.index.remove(slot);
            return Ok(None);
        };
        let payload = segment
            .record(slot.at, slot.len)?
            .ok_or(Unreadable::Damaged)?;
        let Some(record) = Record::decode(&payload, key).ok_or(Unreadable::Damaged)? else {
            return Ok(None);
        };
        let record = Arc::new(record);
        self.hot
            .insert((slot.segment, slot.at), Arc::clone(&record));
        Ok(Some(record))
    }

    fn judge(self: &Arc<Self>, found: Found) -> Option<Stored> {
        let Found {
            slot,
            record,
            first,
        } = found;
        let meta = match self
            .epochs
            .check(&record.era, &record.key, &record.meta.tags)
        {
            Verdict::Live => Arc::clone(&record.meta),
            Verdict::Soft(at) => record.expired(at),
            Verdict::Dead => {
                self.condemn(slot);
                return None;
            }
        };
        let Some(segments) = self.segments_of(&record.layout) else {
            // Its beginning was evicted; its end soon follows.
            self.condemn(slot);
            return None;
        };
        let id = record.id();
        let body = Whole(Arc::new(WholeBody {
            store: Arc::clone(self),
            record,
            slot,
            segments,
            first,
        }));
        Some(Stored::new(id, meta, Arc::new(body)))
    }

    pub(super) fn segments_of(&self, layout: &Layout) -> Option<Vec<Arc<Segment>>> {
        let extents = layout.extents.iter();
        extents
            .map(|extent| self.segments.get(extent.segment))
            .collect()
    }

    /// It is not found any more, until its segment is evicted or the store is opened again.
    pub(super) fn condemn(&self, slot: Slot) {
        self.index.condemn(slot);
        self.hot.remove(&(slot.segment, slot.at));
    }

    pub(super) fn usage(&self) -> Usage {
        let objects = self.index.objects() + self.fills.len();
        let bytes = self.segments.used() + self.log.len();
        let evicted = self.evicted.load(Ordering::Relaxed);
        Usage::new(objects, bytes, self.capacity, evicted)
    }
}

// === impl Admission ===

impl Admission {
    /// Whether a response to be stored for this key goes to the disk; counts it.
    pub(super) fn admits(&self, hash: u64) -> bool {
        let count = |sketch: &Sketch| sketch.count(hash) >= self.min_uses;
        self.sketch.as_ref().is_none_or(count)
    }
}

// === impl Weigh ===

impl Weighter<(u32, u32), Arc<Record>> for Weigh {
    fn weight(&self, _: &(u32, u32), record: &Arc<Record>) -> u64 {
        record.weight() as u64
    }
}
