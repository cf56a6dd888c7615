//! The trait for stores, and the words it speaks in.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;

use super::key::CacheKey;
use super::meta::Meta;
use super::purge::{Purge, Purged};
use crate::body::Body;
use crate::clock::Timestamp;
use crate::error::BoxError;

/// Keeps responses. Knows bytes, keys and tags; knows nothing of HTTP caching rules.
///
/// The engine fails open: whatever a store answers, clients get their responses. It does not wait for ever either: a
/// look-up, insert or refresh that takes longer than half a second or so is dropped, and the store left alone for a
/// while. What was dropped must leave nothing behind.
/// `cirrus_core::testing::store_suite!` checks a backend against this contract.
#[async_trait]
pub trait CacheStore: Send + Sync + 'static {
    /// Every live variant of `key`, newest first, growing ones too; empty is a miss. The engine picks by `Vary`.
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError>;

    /// Variants that [`lookup`](Self::lookup) left out because a nearer place had some of `key`, newest first: asked when
    /// none of those it `found` fits. A store of one place has none.
    async fn lookup_rest(
        &self,
        key: &CacheKey,
        found: &[Stored],
    ) -> Result<Vec<Stored>, StoreError> {
        let _ = (key, found);
        Ok(Vec::new())
    }

    /// [`lookup`](Self::lookup) for a time in which purges may be missing: leaves out what the origin was asked for before
    /// `moment`, or nobody knows when. A store of several places copies nothing from one to another meanwhile: the copy
    /// would pass for newer than it is. A store of one place gives [`Meta::asked`] back as it got it, and needs no more.
    async fn lookup_since(
        &self,
        key: &CacheKey,
        moment: Moment,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut found = self.lookup(key).await?;
        found.retain(|stored| stored.meta.asked.is_some_and(|asked| asked >= moment));
        Ok(found)
    }

    /// Now, in the order of this store's purges: taken before the origin is asked, and given back in [`Meta::asked`],
    /// so that a purge that comes while the origin answers concerns the answer. From memory, without I/O: a store that
    /// follows a log of purges gives the last one it has applied.
    /// Every purge moves it on, also over a restart that the store survives: what is asked for later has a later one.
    fn moment(&self) -> Moment;

    /// Begins to store a response: readable at once while it grows; only [`Fill::finish`] retires the variant
    /// (same [`Meta::vary`]) before it.
    ///
    /// [`StoreError::Full`] when `meta.length` says that it will not fit; [`StoreError::Purged`] when a purge since
    /// `meta.asked` removes it.
    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError>;

    /// Replaces the metadata of that very object after a revalidation; `false` if it is gone.
    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError>;

    /// Removes or expires by URL, prefix, tag, host or all.
    ///
    /// Once it resolves, no lookup finds an object whose insert began before the call, fills in progress included.
    /// O(1) or O(objects named); never a scan on the hit path.
    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError>;

    /// How much is in use, for metrics; `None` where that is not known at once.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Frees what purges have left behind; runs beside the listeners until they end.
    async fn maintain(&self) {
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl<S: CacheStore + ?Sized> CacheStore for Arc<S> {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        (**self).lookup(key).await
    }

    async fn lookup_rest(
        &self,
        key: &CacheKey,
        found: &[Stored],
    ) -> Result<Vec<Stored>, StoreError> {
        (**self).lookup_rest(key, found).await
    }

    async fn lookup_since(
        &self,
        key: &CacheKey,
        moment: Moment,
    ) -> Result<Vec<Stored>, StoreError> {
        (**self).lookup_since(key, moment).await
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        (**self).insert(key, meta).await
    }

    fn moment(&self) -> Moment {
        (**self).moment()
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        (**self).refresh(key, id, meta).await
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        (**self).purge(purge).await
    }

    fn usage(&self) -> Option<Usage> {
        (**self).usage()
    }

    async fn maintain(&self) {
        (**self).maintain().await;
    }
}

/// The body of a stored response, whole or still growing.
pub trait StoredBody: Send + Sync + 'static {
    /// How far it is.
    fn state(&self) -> BodyState;

    /// Its length in bytes, once that is known.
    fn size(&self) -> Option<u64>;

    /// Its bytes within `range`. Waits for bytes still to come; never ends early without an error.
    /// A range that reads to the end is followed by the trailers, if there are any.
    fn read(&self, range: ByteRange) -> Body;
}

/// A response being stored. Dropped unfinished: it was never there, and its readers get an error.
#[async_trait]
pub trait Fill: Send + 'static {
    /// The object as its readers see it.
    fn stored(&self) -> Stored;

    /// Appends to the body.
    ///
    /// Resolves as soon as more can be taken. A body that outgrows what the store can keep is no error: the object
    /// is no longer found, but those who read it already get every byte, at the pace of the slowest of them.
    /// With nobody left to read such a body: [`StoreError::Full`], and the rest need not be fetched.
    ///
    /// # Cancel safety
    ///
    /// None: drop the fill along with the future.
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError>;

    /// The body is complete: the object takes the place of the variant before it.
    async fn finish(self: Box<Self>, trailers: HeaderMap) -> Result<(), StoreError>;
}

/// One stored response.
#[derive(Clone)]
#[non_exhaustive]
pub struct Stored {
    /// Names this very object: another fill of the same variant is another object.
    pub id: ObjectId,
    /// Its status, header and freshness.
    pub meta: Arc<Meta>,
    /// Its body.
    pub body: Arc<dyn StoredBody>,
}

/// Names one object in a store; never used twice while the store lives. Less than 2^60, so that a store of several
/// places can say which one it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

/// A point in the order of a store's purges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// More is to come.
    Growing,
    /// It is all there.
    Whole,
    /// It broke off; what is there must not be taken for the whole.
    Failed,
}

/// A part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The byte behind the last one; `None` reads to the end.
    pub end: Option<u64>,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Objects.
    pub objects: u64,
    /// Bytes in use, metadata included.
    pub bytes: u64,
    /// Bytes that may be used.
    pub capacity: u64,
    /// Objects removed to make room, since the start.
    pub evicted: u64,
}

/// What a store can fail with; one variant for each thing that the engine does about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The object cannot be read: it is dropped, and the request is a miss.
    #[error("the stored object is damaged")]
    Damaged(#[source] BoxError),
    /// There is no room for it: it is served without being stored.
    #[error("the object does not fit into the store")]
    Full,
    /// It was purged while the origin was asked: it is served without being stored, and whoever waits asks anew.
    #[error("the object was purged before it was there")]
    Purged,
    /// The store cannot be asked: it is bypassed for a while.
    #[error("the store is unavailable")]
    Unavailable(#[source] BoxError),
}

// === impl Stored ===

impl Stored {
    /// An object as a store hands it out.
    #[must_use]
    pub fn new(id: ObjectId, meta: Arc<Meta>, body: Arc<dyn StoredBody>) -> Self {
        Self { id, meta, body }
    }

    /// As it is after a soft purge at `at`: stale.
    #[must_use]
    pub fn expired(mut self, at: Timestamp) -> Self {
        let meta = Arc::make_mut(&mut self.meta);
        meta.set_freshness(meta.freshness().expired(at));
        self
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored")
            .field("id", &self.id)
            .field("meta", &self.meta)
            .field("body", &self.body.state())
            .finish()
    }
}

// === impl ByteRange ===

impl ByteRange {
    /// The whole body.
    pub const ALL: Self = Self {
        start: 0,
        end: None,
    };
}

// === impl Usage ===

impl Usage {
    /// What a store holds.
    #[must_use]
    pub fn new(objects: u64, bytes: u64, capacity: u64, evicted: u64) -> Self {
        Self {
            objects,
            bytes,
            capacity,
            evicted,
        }
    }
}
