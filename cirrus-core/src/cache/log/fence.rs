//! Keeps from being found what missed purges may concern.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::cache::key::CacheKey;
use crate::cache::meta::Meta;
use crate::cache::purge::{Purge, Purged, Selection};
use crate::cache::store::{CacheStore, Fill, Moment, ObjectId, StoreError, Stored, Usage};

/// No response has it: labels have no control characters.
const NOBODYS_TAG: &str = "\0fence";

/// While the fence is closed and the store cannot be asked for its moment, nothing is new enough.
const NOTHING: u64 = u64::MAX;

/// A store of which, while purges may be missing, only that is found that the origin was asked for since.
///
/// Open, it costs one atomic load.
pub(crate) struct Fence {
    inner: Arc<dyn CacheStore>,
    /// 0 while it is open; else one more than the moment before which everything is hidden.
    hidden: AtomicU64,
}

// === impl Fence ===

impl Fence {
    /// Closed to everything.
    pub(crate) fn around(inner: Arc<dyn CacheStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            hidden: AtomicU64::new(NOTHING),
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.hidden.load(Ordering::Acquire) == 0
    }

    /// Hides what is stored. What the origin is asked for from now on is found.
    pub(crate) async fn close(&self) {
        // A purge that concerns nothing moves the store's moment on: what is asked for later has a later one.
        let nothing = Purge::hard(Selection::Tag(NOBODYS_TAG.into()));
        let hidden = match self.inner.purge(&nothing).await {
            Ok(_) => self.inner.moment().0.saturating_add(1),
            Err(_) => NOTHING,
        };
        self.hidden.store(hidden, Ordering::Release);
    }

    /// Everything has been purged that had to be.
    pub(crate) fn open(&self) {
        self.hidden.store(0, Ordering::Release);
    }

    async fn lookup_new(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        let hidden = self.hidden.load(Ordering::Acquire);
        if hidden == 0 {
            return self.inner.lookup(key).await;
        }
        if hidden == NOTHING {
            return Ok(Vec::new());
        }
        let found = self.inner.lookup_since(key, Moment(hidden - 1)).await?;
        // It may have been closed anew while the store looked.
        let is_same =
            matches!(self.hidden.load(Ordering::Acquire), now if now == 0 || now == hidden);
        Ok(if is_same { found } else { Vec::new() })
    }
}

#[async_trait]
impl CacheStore for Fence {
    // By hand, so that an open fence adds no allocation to a hit.
    fn lookup<'life0, 'life1, 'async_trait>(
        &'life0 self,
        key: &'life1 CacheKey,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Stored>, StoreError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        if self.is_open() {
            self.inner.lookup(key)
        } else {
            Box::pin(self.lookup_new(key))
        }
    }

    async fn lookup_rest(
        &self,
        key: &CacheKey,
        found: &[Stored],
    ) -> Result<Vec<Stored>, StoreError> {
        let rest = self.inner.lookup_rest(key, found).await;
        // Asked again only now: it may have been closed meanwhile.
        if self.is_open() { rest } else { Ok(Vec::new()) }
    }

    fn moment(&self) -> Moment {
        self.inner.moment()
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        self.inner.insert(key, meta).await
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        // What was found before the fence closed must not come out renewed.
        if !self.is_open() {
            let found = self.lookup_new(key).await?;
            if !found.iter().any(|stored| stored.id == id) {
                return Ok(false);
            }
        }
        self.inner.refresh(key, id, meta).await
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.inner.purge(purge).await
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }

    async fn maintain(&self) {
        self.inner.maintain().await;
    }
}
