//! One response being stored.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cirrus_core::cache::buffer::Writer;
use cirrus_core::cache::{ByteRange, CacheKey, Fill, StoreError, Stored, StoredBody};
use http::HeaderMap;
use http_body_util::BodyExt;

use super::Inner;
use super::growing::Object;

/// One response being stored: gathered here, and sent to Redis at its end.
pub(super) struct RedisFill {
    store: Arc<Inner>,
    key: CacheKey,
    stored: Stored,
    /// Taken by `finish`.
    writer: Option<Writer>,
    /// Bytes so far; as many are taken from the store's room while it is kept.
    body: u64,
    taken: u64,
    kept: bool,
}

// === impl RedisFill ===

impl RedisFill {
    pub(super) fn new(store: Arc<Inner>, key: CacheKey, object: &Object, writer: Writer) -> Self {
        let body = Arc::new(object.body.clone());
        let stored = Stored::new(object.id, Arc::clone(&object.meta), body);
        Self {
            store,
            key,
            stored,
            writer: Some(writer),
            body: 0,
            taken: 0,
            kept: true,
        }
    }

    fn take_room(&mut self, bytes: u64) -> bool {
        self.body += bytes;
        if self.body > self.store.max_object || !self.store.growing.take(bytes) {
            return false;
        }
        self.taken += bytes;
        true
    }

    /// It will not be stored: it is no longer found.
    fn forget(&mut self) {
        if std::mem::replace(&mut self.kept, false) {
            self.store.growing.remove(&self.key, self.stored.id);
            self.store
                .growing
                .give_back(std::mem::take(&mut self.taken));
        }
    }
}

#[async_trait]
impl Fill for RedisFill {
    fn stored(&self) -> Stored {
        self.stored.clone()
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        if self.kept && !self.take_room(chunk.len() as u64) {
            self.forget();
            if let Some(writer) = &mut self.writer {
                writer.detach();
            }
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
        let Some(writer) = self.writer.take() else {
            return Err(StoreError::Full);
        };
        writer.finish(trailers.clone())?;
        // Purged by URL meanwhile, it is not among the growing any more.
        let Some(object) = self.store.growing.get(&self.key, self.stored.id) else {
            return Ok(());
        };
        let body = object.body.read(ByteRange::ALL).collect().await;
        let body = body.map_err(StoreError::Damaged)?;
        let sent = self
            .store
            .send(&self.key, object, body.to_bytes(), trailers)
            .await;
        // Only now: it stays to be found here until it is found there.
        self.forget();
        sent
    }
}

impl Drop for RedisFill {
    fn drop(&mut self) {
        // Before its readers hear of it, which they do when the writer is dropped.
        self.forget();
    }
}
