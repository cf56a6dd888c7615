//! The store itself: what becomes of keys, records and purges.
//!
//! Three kinds of locks, always taken in this order: a key's stripe, held by threads of the pool while they read and
//! write; those of segments and logs, likewise; and those of the maps in memory, held for a few instructions, which
//! are the only ones that workers take.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cirrus_core::cache::epochs::{Epochs, Recorded, Verdict};
use cirrus_core::cache::{
    CacheKey, Meta, Mode, Moment, ObjectId, Purge, Purged, Selection, StoreError, Stored, Usage,
};
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::body::{Unreadable, Whole, WholeBody, read};
use super::fills::{Fills, Object};
use super::growing::Growing;
use super::index::{Index, Slot};
use super::io::Io;
use super::pool::Pool;
use super::purges::PurgeLog;
use super::record::{Layout, Record, hash_key, hash_variant};
use super::segment::Segment;
use super::segments::{Place, Segments};
use super::sketch::Sketch;

/// Most variants of one URL that are kept: 64.
const MOST_VARIANTS: usize = 64;

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

    fn stripe(&self, hash: u64) -> &Mutex<()> {
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
                Verdict::Soft(at) => found.push(object.expired(at)),
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
    fn load(&self, key: &CacheKey, slot: Slot) -> Result<Option<Arc<Record>>, Unreadable> {
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

    fn segments_of(&self, layout: &Layout) -> Option<Vec<Arc<Segment>>> {
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

    /// Puts an object where it is found while it grows.
    pub(super) fn begin(
        &self,
        key: &CacheKey,
        hash: u64,
        meta: Meta,
        body: impl FnOnce(ObjectId) -> Arc<super::body::GrowingBody>,
    ) -> Result<Stored, StoreError> {
        let id = ObjectId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        self.fills.change(key, hash, |fills, removals| {
            let era = match meta.asked {
                Some(asked) if removals.since(hash, asked) => return Err(StoreError::Purged),
                Some(asked) => self.epochs.begin_at(asked),
                None => self.epochs.begin(),
            };
            if self.epochs.check(&era, key, &meta.tags) == Verdict::Dead {
                return Err(StoreError::Purged);
            }
            let object = Object {
                id,
                era,
                meta: meta.into(),
                body: body(id),
            };
            let stored = object.stored();
            fills.push(object);
            Ok(stored)
        })
    }

    /// Writes what waits; with `rest` everything.
    pub(super) fn flush(&self, id: ObjectId, growing: &Growing, rest: bool) -> io::Result<()> {
        let _one_at_a_time = growing.disk.lock();
        while let Some(batch) = growing.batch(self.segments.unit(), rest) {
            let first = batch.start / super::record::BLOCK;
            let checks = Layout::checks_of(id.0, first, &batch.bytes);
            match self.write(&batch.bytes) {
                Ok(Place { segment, at }) => {
                    growing.written(&segment, at, batch.bytes.len() as u64, &checks);
                }
                Err(error) => {
                    self.report("a response cannot be written", &error);
                    growing.spoil();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Place> {
        let place = self.allocate(bytes.len() as u64)?;
        let written = self.with_room(|| place.segment.write(bytes, place.at));
        written.map(|()| place)
    }

    fn allocate(&self, bytes: u64) -> io::Result<Place> {
        self.with_room(|| {
            let mut evicted = Vec::new();
            let place = self.segments.allocate(bytes, &mut evicted);
            self.drop_segments(evicted);
            place
        })
    }

    /// On a full disk the oldest segment makes room, once.
    fn with_room<T>(&self, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let Some(oldest) = self.segments.evict_oldest() else {
                    return Err(error);
                };
                self.drop_segments(vec![oldest]);
                write()
            }
            result => result,
        }
    }

    pub(super) fn drop_segments(&self, segments: Vec<Arc<Segment>>) {
        for segment in segments {
            let hashes = segment.remove();
            let removed = hashes
                .iter()
                .map(|hash| self.index.remove_of(*hash, segment.id));
            let removed = removed.sum();
            self.evicted.fetch_add(removed, Ordering::Relaxed);
        }
    }

    /// A fill has ended: its object takes the place of the variant before it. Without effect if it was purged.
    pub(super) fn settle(&self, key: &CacheKey, id: ObjectId, growing: &Growing) -> io::Result<()> {
        let hash = self.hash(key);
        let settled = self.flush(id, growing, true);
        let settled = settled.and_then(|()| self.keep(key, hash, id, growing));
        self.fills.forget(key, hash, id);
        settled
    }

    fn keep(&self, key: &CacheKey, hash: u64, id: ObjectId, growing: &Growing) -> io::Result<()> {
        let Some((layout, _held, trailers)) = growing.on_disk() else {
            return Ok(());
        };
        let place = self.allocate(0)?;
        let _stripe = self.stripe(hash).lock();
        let fills = self.fills.find(key, hash);
        let Some(object) = fills.into_iter().find(|object| object.id == id) else {
            return Ok(());
        };
        let verdict = self.epochs.check(&object.era, key, &object.meta.tags);
        if verdict == Verdict::Dead || self.segments_of(&layout).is_none() {
            return Ok(());
        }
        let Some(before) = self.before(key, hash, &object) else {
            return Ok(());
        };
        let record = Arc::new(Record {
            key: key.clone(),
            era: object.era,
            meta: object.meta,
            trailers,
            layout,
        });
        self.put(&place.segment, hash, record)?;
        before.into_iter().for_each(|slot| {
            self.index.remove(slot);
        });
        Ok(())
    }

    /// What an object takes the place of; `None` if that is newer.
    fn before(&self, key: &CacheKey, hash: u64, object: &Object) -> Option<Vec<Slot>> {
        let (mut before, mut others) = (Vec::new(), Vec::new());
        let variant = hash_variant(&object.meta.vary);
        for slot in self.index.slots(hash) {
            if slot.variant != variant {
                others.push(slot);
                continue;
            }
            if slot.len == 0 {
                before.push(slot);
                continue;
            }
            let Ok(Some(record)) = self.load(key, slot) else {
                continue;
            };
            if record.meta.vary != object.meta.vary {
                continue;
            }
            if record.id() > object.id {
                return None;
            }
            before.push(slot);
        }
        if others.len() >= MOST_VARIANTS {
            // Slots further down were written earlier.
            others.sort_by_key(|slot| (slot.segment, slot.at));
            let most = others.len() + 1 - MOST_VARIANTS;
            others
                .iter()
                .take(most)
                .for_each(|slot| self.condemn(*slot));
        }
        Some(before)
    }

    /// Writes a record into the log of `segment`, and gives it a slot.
    fn put(&self, segment: &Segment, hash: u64, record: Arc<Record>) -> io::Result<()> {
        let slot = self.append(segment, hash, &record)?;
        self.hot.insert((slot.segment, slot.at), record);
        self.index.insert(slot);
        if segment.is_gone() {
            self.index.remove(slot);
        }
        Ok(())
    }

    fn append(&self, segment: &Segment, hash: u64, record: &Record) -> io::Result<Slot> {
        let payload = record.encode(hash, self.log.last());
        let mut evicted = Vec::new();
        let bytes = (super::frame::HEADER + payload.len()) as u64;
        self.segments.charge(segment, bytes, &mut evicted);
        self.drop_segments(evicted);
        let born = record.era.born();
        let (at, len) = self.with_room(|| segment.append(&payload, hash, born))?;
        Ok(Slot {
            hash,
            segment: segment.id,
            at,
            len,
            variant: hash_variant(&record.meta.vary),
        })
    }

    pub(super) fn refresh(
        &self,
        key: &CacheKey,
        id: ObjectId,
        meta: Meta,
    ) -> Result<bool, StoreError> {
        let hash = self.hash(key);
        let asked = meta.asked.unwrap_or_else(|| self.epochs.moment());
        let meta = Arc::new(meta);
        let _stripe = self.stripe(hash).lock();
        if let Some(renewed) = self.refresh_growing(key, hash, id, &meta, asked) {
            return Ok(renewed);
        }
        for slot in self.index.slots(hash) {
            if slot.len == 0 {
                continue;
            }
            match self.load(key, slot) {
                Ok(Some(record)) if record.id() == id => {
                    return self.renew(slot, &record, meta, asked);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    fn refresh_growing(
        &self,
        key: &CacheKey,
        hash: u64,
        id: ObjectId,
        meta: &Arc<Meta>,
        asked: Moment,
    ) -> Option<bool> {
        self.fills.change(key, hash, |fills, _| {
            let object = fills.iter_mut().find(|object| object.id == id)?;
            let era = self
                .epochs
                .renew(&object.era, key, &object.meta.tags, asked);
            let Some(era) = era else { return Some(false) };
            object.era = era;
            object.meta = Arc::clone(meta);
            Some(true)
        })
    }

    fn renew(
        &self,
        slot: Slot,
        record: &Record,
        meta: Arc<Meta>,
        asked: Moment,
    ) -> Result<bool, StoreError> {
        let tags = &record.meta.tags;
        let era = self.epochs.renew(&record.era, &record.key, tags, asked);
        let (Some(era), Some(segment)) = (era, self.segments.get(slot.segment)) else {
            return Ok(false);
        };
        if !self.segments.takes_news(&segment) {
            self.condemn(slot);
            return Ok(false);
        }
        let renewed = Record {
            key: record.key.clone(),
            era,
            meta,
            trailers: record.trailers.clone(),
            layout: record.layout.clone(),
        };
        let new = self
            .append(&segment, slot.hash, &renewed)
            .map_err(|error| {
                self.report("a response cannot be refreshed", &error);
                StoreError::Unavailable(error.into())
            })?;
        self.hot.insert((new.segment, new.at), Arc::new(renewed));
        self.hot.remove(&(slot.segment, slot.at));
        let replaced = self.index.replace(slot, new);
        if segment.is_gone() {
            self.index.remove(new);
        }
        Ok(replaced && !segment.is_gone())
    }

    pub(super) fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let purged = match &purge.what {
            Selection::Url(key) if purge.mode == Mode::Hard => self.remove(key),
            _ => self.mark(purge),
        };
        purged.map_err(|error| {
            self.report("a purge cannot be written down", &error);
            StoreError::Unavailable(error.into())
        })
    }

    /// It holds in memory even if it cannot be written down.
    fn mark(&self, purge: &Purge) -> io::Result<Purged> {
        let at = self.io.now();
        let moment = self.epochs.record(purge, at);
        let recorded = Recorded {
            purge: purge.clone(),
            moment,
            at,
        };
        self.with_room(|| self.log.mark(&self.io, recorded.clone()))?;
        if (&purge.what, purge.mode) == (&Selection::All, Mode::Hard) {
            self.drop_segments(self.segments.evict_before(moment.0));
        }
        Ok(Purged::default())
    }

    /// Removes all variants; fills in progress go on, but are not found.
    fn remove(&self, key: &CacheKey) -> io::Result<Purged> {
        let hash = self.hash(key);
        let _stripe = self.stripe(hash).lock();
        let (moment, mut objects) = self.fills.change(key, hash, |fills, removals| {
            let moment = self.epochs.next();
            removals.note(hash, moment);
            let live = |object: &&Object| {
                self.epochs.check(&object.era, key, &object.meta.tags) != Verdict::Dead
            };
            let count = fills.iter().filter(live).count() as u64;
            fills.clear();
            (moment, count)
        });
        let slots = self.index.slots(hash);
        // What is not on the disk cannot come back from there: most purges by URL write nothing.
        if slots.is_empty() {
            return Ok(Purged::counted(objects));
        }
        for slot in slots.iter().filter(|slot| slot.len > 0) {
            if let Ok(Some(record)) = self.load(key, *slot) {
                let verdict = self.epochs.check(&record.era, key, &record.meta.tags);
                objects += u64::from(verdict != Verdict::Dead);
            }
            self.condemn(*slot);
        }
        self.with_room(|| self.log.remove(&self.io, hash, moment))?;
        for slot in slots {
            self.index.remove(Slot { len: 0, ..slot });
        }
        Ok(Purged::counted(objects))
    }

    /// Forgets purges that concern nobody any more.
    pub(super) fn forget(&self) {
        // In this order: what moves on meanwhile is seen where it comes to.
        let horizon = self.epochs.horizon();
        let growing = self.fills.oldest().unwrap_or(u64::MAX);
        let oldest = horizon.min(growing).min(self.segments.oldest());
        self.epochs.forget_before(oldest);
        if let Err(error) = self.log.compact(&self.epochs, oldest) {
            self.report("the log of purges cannot be written anew", &error);
        }
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
