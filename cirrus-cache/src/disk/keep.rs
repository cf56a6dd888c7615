//! From a fill to a record: what the store does with what it is given.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cirrus_core::cache::epochs::Verdict;
use cirrus_core::cache::{CacheKey, Meta, ObjectId, StoreError, Stored};

use super::body::GrowingBody;
use super::fills::Object;
use super::frame::HEADER;
use super::growing::Growing;
use super::index::Slot;
use super::intact::Intact;
use super::record::{BLOCK, Layout, Record, hash_variant};
use super::segment::Segment;
use super::segments::Place;
use super::store::Inner;

/// Most variants of one URL that are kept: 64.
const MOST_VARIANTS: usize = 64;

// === impl Inner ===

impl Inner {
    /// Puts an object where it is found while it grows.
    pub(super) fn begin(
        &self,
        key: &CacheKey,
        hash: u64,
        meta: Meta,
        body: impl FnOnce(ObjectId) -> Arc<GrowingBody>,
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
            let first = batch.start / BLOCK;
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
    pub(super) fn with_room<T>(&self, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
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
            intact: Intact::of(layout.checks.len()),
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

    pub(super) fn append(&self, segment: &Segment, hash: u64, record: &Record) -> io::Result<Slot> {
        let payload = record.encode(hash, self.log.last());
        let mut evicted = Vec::new();
        let bytes = (HEADER + payload.len()) as u64;
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
}
