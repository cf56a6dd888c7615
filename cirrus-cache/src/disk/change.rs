//! What becomes of records later: they are refreshed, purged and forgotten.

use std::io;
use std::sync::Arc;

use cirrus_core::cache::epochs::{Recorded, Verdict};
use cirrus_core::cache::{
    CacheKey, Meta, Mode, Moment, ObjectId, Purge, Purged, Selection, StoreError,
};

use super::fills::Object;
use super::index::Slot;
use super::intact::Intact;
use super::record::Record;
use super::store::Inner;

// === impl Inner ===

impl Inner {
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
            intact: Intact::of(record.layout.checks.len()),
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
}
