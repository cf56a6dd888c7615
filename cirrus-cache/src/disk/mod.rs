//! A store on a disk.
//!
//! Bodies and the records about them are appended to [`segment`]s, the oldest of which makes room as a whole; the
//! [`index`] in memory knows where each record is, and is made from the records when the store is opened. Nothing that
//! is read is trusted: records and blocks of bodies carry checksums, and a record its key, which is compared in full.
//! Purges are [`Epochs`](cirrus_core::cache::epochs::Epochs), whose log in [`purges`] outlives the process. All
//! waiting for the disk is done by threads of a [`pool`].

mod body;
mod change;
mod codec;
mod fill;
mod fills;
mod frame;
mod growing;
mod index;
mod intact;
mod io;
mod keep;
mod open;
mod pool;
mod purges;
mod record;
mod segment;
mod segments;
mod sketch;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::cache::{
    CacheKey, CacheStore, Fill, Meta, Moment, ObjectId, Purge, Purged, StoreError, Stored, Usage,
};
use cirrus_core::{Clock, SystemClock};

use self::fill::DiskFill;
use self::open::{Settings, open};
use self::pool::Pool;
use self::store::Inner;

/// How often purges are forgotten that concern nobody any more: every minute.
const SWEEP: Duration = Duration::from_secs(60);

/// The least capacity: 4 MiB.
const LEAST: u64 = 4 << 20;

/// Keeps responses on a disk, up to a number of bytes, over restarts.
///
/// After a crash at any moment nothing wrong is served, and nothing that was purged comes back: a purge resolves once
/// it has reached the disk. What was stored whole is there again, unless the machine itself failed before the
/// operating system had written it. Errors of the disk make misses, never wrong answers. Clones are the same store.
///
/// # Memory
///
/// Some 46 bytes for each object (37 to 65), records read lately, and bodies that wait to be written: 64 MiB at most.
#[derive(Clone)]
pub struct DiskStore(Arc<Inner>);

/// Makes a [`DiskStore`].
#[must_use]
pub struct DiskStoreBuilder {
    path: PathBuf,
    capacity: u64,
    max_object: Option<u64>,
    min_uses: u8,
    metadata: u64,
    threads: usize,
    clock: Arc<dyn Clock>,
}

/// A directory cannot become a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It holds something else, which would be in danger there.
    #[error("{} is neither empty nor a disk cache: it holds `{found}`", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Something in it.
        found: String,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{} cannot be used as a disk cache", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

// === impl DiskStore ===

impl DiskStore {
    /// Keeps responses in this directory, which is made if need be, and must be for nothing else.
    pub fn builder(path: impl Into<PathBuf>) -> DiskStoreBuilder {
        DiskStoreBuilder {
            path: path.into(),
            capacity: 10 << 30,
            max_object: None,
            min_uses: 1,
            metadata: 32 << 20,
            threads: 8,
            clock: Arc::new(SystemClock),
        }
    }

    /// Errors of the disk and damages so far.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.0.io.errors()
    }
}

#[async_trait]
impl CacheStore for DiskStore {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        self.0.lookup(key).await
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        Ok(Box::new(DiskFill::begin(&self.0, key, meta)?))
    }

    fn moment(&self) -> Moment {
        self.0.epochs.moment()
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        let (store, key) = (Arc::clone(&self.0), key.clone());
        let refreshed = self.0.writers.run(move || store.refresh(&key, id, meta));
        refreshed.await.unwrap_or_else(|gone| Err(given_up(gone)))
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let (store, purge) = (Arc::clone(&self.0), purge.clone());
        let purged = self.0.writers.run(move || store.purge(&purge));
        purged.await.unwrap_or_else(|gone| Err(given_up(gone)))
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.0.usage())
    }

    async fn maintain(&self) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            let store = Arc::clone(&self.0);
            // A job that panicked was told already.
            let _ = self.0.writers.run(move || store.forget()).await;
        }
    }
}

fn given_up(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable(error.into())
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DiskStore").field(&self.0.usage()).finish()
    }
}

// === impl DiskStoreBuilder ===

impl DiskStoreBuilder {
    /// Uses up to this many bytes of the disk: 10 GiB by default, 4 MiB at least.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes.max(LEAST);
        self
    }

    /// Keeps no body larger than this: an eighth of the capacity by default, a quarter at most.
    pub fn max_object(mut self, bytes: u64) -> Self {
        self.max_object = Some(bytes);
        self
    }

    /// Keeps a response only when it is given to the store for this time, at least: 1 by default. Until then it is
    /// found only while it grows. Counts are approximate, forget what is long ago, and begin anew with the process.
    pub fn min_uses(mut self, uses: u8) -> Self {
        self.min_uses = uses;
        self
    }

    /// Memory for records read lately: 32 MiB by default.
    pub fn metadata(mut self, bytes: u64) -> Self {
        self.metadata = bytes;
        self
    }

    /// Threads that read: 8 by default. There are a quarter as many that write, and one more.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Takes the time from `clock`.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The store, with what it had when it was closed. Reads the records of all objects, a million in a few seconds.
    ///
    /// # Errors
    ///
    /// The directory is not ours, still in use after a second, or cannot be written.
    pub async fn open(self) -> Result<DiskStore, OpenError> {
        let path = self.path.clone();
        let opening = Pool::start("cirrus-disk-open", 1).map(|pool| pool.run(|| self.open_now()));
        let opening = opening.map_err(|source| OpenError::Io {
            path: path.clone(),
            source,
        })?;
        let given_up = |gone| OpenError::Io {
            path,
            source: std::io::Error::other(gone),
        };
        opening.await.map_err(given_up)?
    }

    /// [`open`](Self::open), for callers that may wait.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_now(self) -> Result<DiskStore, OpenError> {
        let quarter = self.capacity / 4;
        let max_object = self.max_object.unwrap_or(self.capacity / 8).min(quarter);
        let settings = Settings {
            path: self.path,
            capacity: self.capacity,
            max_object,
            min_uses: self.min_uses,
            metadata: self.metadata,
            threads: self.threads,
            clock: self.clock,
        };
        Ok(DiskStore(Arc::new(open(settings)?)))
    }
}

impl fmt::Debug for DiskStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStoreBuilder")
            .field("path", &self.path)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
