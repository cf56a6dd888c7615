//! One response being stored.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cirrus_core::cache::{CacheKey, Fill, Meta, StoreError, Stored};
use http::HeaderMap;

use super::body::GrowingBody;
use super::growing::{Growing, MOST_WAITING, WINDOW};
use super::store::Inner;

/// How long a disk that falls behind holds up a fill: a quarter of a second. Then its object is not stored.
const PATIENCE: Duration = Duration::from_millis(250);

/// Bytes of all bodies that may wait to be written: 64 MiB.
const MOST_BACKLOG: u64 = 64 << 20;

/// One response being stored.
pub(super) struct DiskFill {
    store: Arc<Inner>,
    key: CacheKey,
    hash: u64,
    stored: Stored,
    growing: Arc<Growing>,
    len: u64,
    /// Found by its key; else only passed on to its readers.
    kept: bool,
    /// To be written; else it is found only while it grows.
    admitted: bool,
}

// === impl DiskFill ===

impl DiskFill {
    pub(super) fn begin(
        store: &Arc<Inner>,
        key: &CacheKey,
        meta: Meta,
    ) -> Result<Self, StoreError> {
        let declared = meta.length;
        let too_large = declared.is_some_and(|len| len > store.admission.max_object);
        if too_large || store.backlog.load(Ordering::Relaxed) > MOST_BACKLOG {
            return Err(StoreError::Full);
        }
        let hash = store.hash(key);
        let mut body = None;
        let stored = store.begin(key, hash, meta, |id| {
            let backlog = Arc::clone(&store.backlog);
            let growing = Arc::new(Growing::new(id.0, declared, backlog));
            body = Some(Arc::clone(&growing));
            let store = Arc::clone(store);
            Arc::new(GrowingBody { store, growing })
        })?;
        Ok(Self {
            store: Arc::clone(store),
            key: key.clone(),
            hash,
            growing: body.ok_or(StoreError::Full)?,
            stored,
            len: 0,
            kept: true,
            admitted: store.admission.admits(hash),
        })
    }

    /// Whether so many more bytes can be kept.
    async fn has_room(&mut self, bytes: usize) -> bool {
        self.len += bytes as u64;
        if self.len > self.store.admission.max_object {
            return false;
        }
        if !self.admitted {
            return self.len <= WINDOW;
        }
        let backlog = self.store.backlog.load(Ordering::Relaxed);
        let most = if backlog > MOST_BACKLOG {
            WINDOW
        } else {
            MOST_WAITING
        };
        let written = poll_fn(|cx| self.growing.poll_waiting(most, cx));
        // In time, or it is passed on only: the origin and the readers are not to wait for the disk.
        tokio::time::timeout(PATIENCE, written)
            .await
            .unwrap_or(false)
    }

    fn write_behind(&self) {
        if !self.growing.begin_flush(self.store.segments.unit()) {
            return;
        }
        let (store, growing) = (Arc::clone(&self.store), Arc::clone(&self.growing));
        let id = self.stored.id;
        drop(
            self.store
                .writers
                .run(move || store.flush(id, &growing, false)),
        );
    }

    /// It will not be stored: it is no longer found.
    fn forget(&mut self) {
        if std::mem::replace(&mut self.kept, false) {
            self.store
                .fills
                .forget(&self.key, self.hash, self.stored.id);
        }
    }

    fn detach(&mut self) {
        self.forget();
        self.growing.detach();
    }
}

#[async_trait]
impl Fill for DiskFill {
    fn stored(&self) -> Stored {
        self.stored.clone()
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        if self.kept && !self.has_room(chunk.len()).await {
            self.detach();
        }
        poll_fn(|cx| self.growing.poll_detached(cx)).await?;
        if let Err(error) = self.growing.push(chunk) {
            self.forget();
            return Err(error);
        }
        if self.kept && self.admitted {
            self.write_behind();
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, trailers: HeaderMap) -> Result<(), StoreError> {
        self.growing.finish(trailers)?;
        if !self.admitted {
            self.forget();
        }
        // From here on the thread sees to it, whoever waits for that.
        if !std::mem::replace(&mut self.kept, false) {
            return Ok(());
        }
        let (store, growing) = (Arc::clone(&self.store), Arc::clone(&self.growing));
        let (key, id) = (self.key.clone(), self.stored.id);
        let settled = self
            .store
            .writers
            .run(move || store.settle(&key, id, &growing));
        match settled.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StoreError::Unavailable(error.into())),
            Err(gone) => Err(StoreError::Unavailable(gone.into())),
        }
    }
}

impl Drop for DiskFill {
    fn drop(&mut self) {
        // Before its readers hear of it.
        self.forget();
        self.growing.fail();
    }
}
