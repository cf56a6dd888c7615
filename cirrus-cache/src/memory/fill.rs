//! One response being stored.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cirrus_core::cache::buffer::Writer;
use cirrus_core::cache::{CacheKey, Fill, StoreError, Stored};
use http::HeaderMap;

use super::Inner;
use super::budget::Reservation;
use super::object::Object;

/// Most bytes that are reserved in advance for a body of unknown length.
const STEP: u64 = 64 * 1024;

/// Allowed for what it takes to have a body grow.
pub(super) const GROWING_OVERHEAD: u64 = 512;

/// One response being stored.
pub(super) struct MemoryFill {
    store: Arc<Inner>,
    key: CacheKey,
    stored: Stored,
    /// Taken by `finish`.
    writer: Option<Writer>,
    reserved: Reservation,
    /// All bytes so far, with those of the metadata.
    weight: u64,
    body: u64,
    /// Among the growing, and to be stored; else only passed on to its readers.
    kept: bool,
}

// === impl MemoryFill ===

impl MemoryFill {
    pub(super) fn new(
        store: Arc<Inner>,
        key: CacheKey,
        object: &Arc<Object>,
        writer: Writer,
        reserved: Reservation,
    ) -> Self {
        let fixed = GROWING_OVERHEAD + key.weight() as u64;
        let (stored, weight) = (object.stored(), object.weight + fixed);
        Self {
            store,
            key,
            stored,
            writer: Some(writer),
            reserved,
            weight,
            body: 0,
            kept: true,
        }
    }

    fn take_room(&mut self, bytes: usize) -> bool {
        self.body += bytes as u64;
        self.weight += bytes as u64;
        if self.body > self.store.max_object {
            return false;
        }
        // A quarter more than is needed, so that not every chunk asks; but rather as little as is needed than none.
        let step = self.weight + STEP.min(self.weight / 4);
        let fits = self.weight <= self.reserved.bytes();
        fits || self.reserved.raise_to(step) || self.reserved.raise_to(self.weight)
    }

    /// It will not be stored: it is no longer found.
    fn forget(&mut self) {
        if std::mem::replace(&mut self.kept, false) {
            let id = self.stored.id;
            self.store
                .growing
                .change(&self.key, |fills| fills.retain(|object| object.id != id));
        }
    }

    fn detach(&mut self) {
        self.forget();
        if let Some(writer) = &mut self.writer {
            writer.detach();
        }
    }
}

#[async_trait]
impl Fill for MemoryFill {
    fn stored(&self) -> Stored {
        self.stored.clone()
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        if self.kept && !self.take_room(chunk.len()) {
            self.detach();
        }
        let Some(writer) = &mut self.writer else {
            return Err(StoreError::Full);
        };
        let written = writer.write(chunk).await;
        if written.is_err() {
            self.forget();
        }
        written
    }

    async fn finish(mut self: Box<Self>, trailers: HeaderMap) -> Result<(), StoreError> {
        let bytes = self.body + trailers_weight(&trailers);
        let Some(writer) = self.writer.take() else {
            return Err(StoreError::Full);
        };
        writer.finish(trailers)?;
        if self.kept {
            self.store.settle(&self.key, self.stored.id, bytes);
            self.kept = false;
        }
        Ok(())
    }
}

impl Drop for MemoryFill {
    fn drop(&mut self) {
        // Before its readers hear of it, which they do when the writer is dropped.
        self.forget();
    }
}

fn trailers_weight(trailers: &HeaderMap) -> u64 {
    trailers
        .iter()
        .map(|(name, value)| (name.as_str().len() + value.len() + 64) as u64)
        .sum()
}
