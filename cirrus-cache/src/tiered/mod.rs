//! Several stores as one: what is asked for often is near, what is large is far.
//!
//! A response is looked for in the nearest tier first, and filled into all of them at once ([`fill`]). What is found
//! farther away is copied to the nearer ones ([`promote`]). A purge begins with the farthest tier, so that nothing it
//! has removed can be copied back; one that a tier does not take shuts that tier out until it does ([`tier`]).

mod fill;
mod moments;
mod place;
mod promote;
mod spare;
#[cfg(test)]
mod tests;
mod tier;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cirrus_core::cache::{
    CacheKey, CacheStore, Fill, Meta, Moment, ObjectId, Purge, Purged, StoreError, Stored, Usage,
};
use futures_util::future::join_all;

use self::fill::{Part, TieredFill};
use self::moments::{Dials, Moments};
use self::place::{MOST_TIERS, Place, inner, outer};
pub use self::promote::Promote;
use self::promote::Promotions;
use self::spare::Spares;
use self::tier::Tier;

/// The largest body that is copied to a nearer tier, unless said otherwise: 16 MiB.
const MAX_PROMOTED: u64 = 16 << 20;

/// Several stores, asked in turn, the nearest first.
///
/// One that fails, is full or cannot be asked is passed over; the others go on. [`CacheStore::maintain`] must run:
/// it copies what was found far away, and repeats purges that failed. A hit in the nearest tier costs one call and one
/// allocation more than it does there.
///
/// ```
/// use cirrus_cache::{MemoryStore, TieredStore};
///
/// // In practice the second one is larger, and slower.
/// let store = TieredStore::new(MemoryStore::sized(16 << 20))
///     .then(MemoryStore::sized(64 << 20))
///     .build();
/// assert_eq!(store.tiers().count(), 2);
/// ```
#[derive(Clone)]
pub struct TieredStore(Arc<Shared>);

/// Makes a [`TieredStore`].
#[must_use]
pub struct TieredStoreBuilder {
    tiers: Vec<Arc<dyn CacheStore>>,
    promote: Promote,
    max_promoted: u64,
}

struct Shared {
    tiers: Box<[Tier]>,
    moments: Moments,
    spares: Spares,
    promotions: Promotions,
    /// Counts the beginnings of purges.
    purges: AtomicU64,
}

// === impl TieredStore ===

impl TieredStore {
    /// Begins with the nearest tier.
    #[expect(clippy::new_ret_no_self, reason = "a tier alone is no tiered store")]
    pub fn new(first: impl CacheStore) -> TieredStoreBuilder {
        TieredStoreBuilder {
            tiers: vec![Arc::new(first)],
            promote: Promote::default(),
            max_promoted: MAX_PROMOTED,
        }
    }

    /// How much each tier holds, the nearest first; `None` for one that does not know.
    pub fn tiers(&self) -> impl Iterator<Item = Option<Usage>> + '_ {
        self.0.tiers.iter().map(Tier::usage)
    }
}

impl fmt::Debug for TieredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tiers()).finish()
    }
}

#[async_trait]
impl CacheStore for TieredStore {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        self.0.lookup(key).await
    }

    async fn lookup_rest(
        &self,
        key: &CacheKey,
        found: &[Stored],
    ) -> Result<Vec<Stored>, StoreError> {
        Ok(self.0.lookup_rest(key, found).await)
    }

    async fn lookup_since(
        &self,
        key: &CacheKey,
        moment: Moment,
    ) -> Result<Vec<Stored>, StoreError> {
        self.0.lookup_since(key, moment).await
    }

    fn moment(&self) -> Moment {
        self.0.moments.give(self.0.dials())
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        Ok(Box::new(self.0.insert(key, meta).await?))
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        self.0.refresh(key, id, meta).await
    }

    /// [`StoreError::Unavailable`] if one of the tiers did not take it: that one is not asked again before it has, but
    /// others may share it.
    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.0.purge(purge).await
    }

    /// The sum of those that know.
    fn usage(&self) -> Option<Usage> {
        self.tiers().flatten().reduce(|sum, usage| {
            Usage::new(
                sum.objects + usage.objects,
                sum.bytes + usage.bytes,
                sum.capacity + usage.capacity,
                sum.evicted + usage.evicted,
            )
        })
    }

    async fn maintain(&self) {
        let tiers = join_all(self.0.tiers.iter().map(|tier| tier.store.maintain()));
        let purges = join_all(self.0.tiers.iter().map(Tier::catch_up));
        let copies = self.0.promotions.run(&self.0);
        tokio::join!(tiers, purges, copies);
    }
}

// === impl TieredStoreBuilder ===

impl TieredStoreBuilder {
    /// With one more tier, farther than those before.
    ///
    /// # Panics
    ///
    /// With more than eight.
    pub fn then(mut self, next: impl CacheStore) -> Self {
        assert!(self.tiers.len() < MOST_TIERS, "at most eight tiers");
        self.tiers.push(Arc::new(next));
        self
    }

    /// Which hits are copied to nearer tiers; every one by default.
    pub fn promote(mut self, promote: Promote) -> Self {
        self.promote = promote;
        self
    }

    /// The largest body that is copied to nearer tiers: 16 MiB by default.
    pub fn max_promoted(mut self, bytes: u64) -> Self {
        self.max_promoted = bytes;
        self
    }

    /// The store.
    #[must_use]
    pub fn build(self) -> TieredStore {
        TieredStore(Arc::new(Shared {
            tiers: self.tiers.into_iter().map(Tier::new).collect(),
            moments: Moments::default(),
            spares: Spares::default(),
            promotions: Promotions::new(self.promote, self.max_promoted),
            purges: AtomicU64::new(0),
        }))
    }
}

impl fmt::Debug for TieredStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TieredStoreBuilder")
            .field("tiers", &self.tiers.len())
            .field("promote", &self.promote)
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    fn dials(&self) -> Dials {
        Dials::read(self.tiers.iter().map(|tier| tier.store.moment()))
    }

    fn unavailable() -> StoreError {
        StoreError::Unavailable("no tier of the cache can be asked".into())
    }

    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        let mut answered = false;
        for place in 0..self.tiers.len() {
            let Some(found) = self.look_in(place, key).await else {
                continue;
            };
            answered = true;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        answered.then(Vec::new).ok_or_else(Self::unavailable)
    }

    /// Each tier by its own clock. Nothing is copied: the copy would be newer than it is.
    async fn lookup_since(
        &self,
        key: &CacheKey,
        moment: Moment,
    ) -> Result<Vec<Stored>, StoreError> {
        let since = self.moments.since(moment);
        let mut answered = false;
        for (place, tier) in self.tiers.iter().enumerate() {
            let Some(mut found) = tier.lookup_since(key, since.of(place)).await else {
                continue;
            };
            answered = true;
            if !found.is_empty() {
                self.take(place, &mut found);
                return Ok(found);
            }
        }
        answered.then(Vec::new).ok_or_else(Self::unavailable)
    }

    /// What one tier has, by the ids of the whole; `None` if it cannot be asked.
    async fn look_in(&self, place: Place, key: &CacheKey) -> Option<Vec<Stored>> {
        // Before it is asked, so that a purge meanwhile concerns what is copied.
        let asked = (place > 0).then(|| self.dials());
        let mut found = self.tiers[place].lookup(key).await?;
        if let Some(asked) = asked {
            self.promotions.found(key, place, asked, &found);
        }
        self.take(place, &mut found);
        Some(found)
    }

    fn take(&self, place: Place, found: &mut [Stored]) {
        for stored in found {
            stored.id = outer(place, stored.id);
            self.spares.cover(stored);
        }
    }

    async fn lookup_rest(&self, key: &CacheKey, found: &[Stored]) -> Vec<Stored> {
        let near = found.first().map_or(0, |stored| inner(stored.id).0);
        for place in near + 1..self.tiers.len() {
            let mut rest = self.look_in(place, key).await.unwrap_or_default();
            rest.retain(|stored| !found.iter().any(|near| near.meta.vary == stored.meta.vary));
            if !rest.is_empty() {
                return rest;
            }
        }
        Vec::new()
    }

    async fn insert(
        self: &Arc<Self>,
        key: &CacheKey,
        meta: Meta,
    ) -> Result<TieredFill, StoreError> {
        let asked = meta.asked.map(|asked| self.moments.at(asked));
        let purges = self.purges.load(Ordering::Acquire);
        let (mut parts, mut without, mut refusal) = (Vec::new(), Vec::new(), None);
        for (place, tier) in self.tiers.iter().enumerate() {
            if !tier.is_open() {
                without.push(place);
                continue;
            }
            let mut meta = meta.clone();
            meta.asked = asked.map(|asked| asked.of(place));
            match tier.store.insert(key, meta).await {
                Ok(fill) => parts.push(Part::new(place, fill)),
                Err(StoreError::Purged) => return Err(StoreError::Purged),
                Err(error) => {
                    tier.note(&error);
                    without.push(place);
                    refusal = Some(error);
                }
            }
        }
        // Given to one tier before a purge and to another one after it.
        if asked.is_none() && self.purges.load(Ordering::Acquire) != purges {
            return Err(StoreError::Purged);
        }
        if parts.is_empty() {
            return Err(refusal.unwrap_or_else(Self::unavailable));
        }
        Ok(TieredFill::new(self, key, parts, without, None))
    }

    /// Of that very object, and of its copies: what has the same header is what the origin has confirmed.
    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        let (at, id) = inner(id);
        let asked = meta.asked.map(|asked| self.moments.at(asked));
        let Some(tier) = self.tiers.get(at).filter(|tier| tier.is_open()) else {
            return Ok(false);
        };
        let old = tier.lookup(key).await.unwrap_or_default();
        let Some(old) = old.into_iter().find(|stored| stored.id == id) else {
            return Ok(false);
        };
        let of = |place: Place| {
            let mut meta = meta.clone();
            meta.asked = asked.map(|asked| asked.of(place));
            meta
        };
        let refreshed = tier.store.refresh(key, id, of(at)).await?;
        if refreshed {
            for place in (0..self.tiers.len()).filter(|place| *place != at) {
                self.tiers[place].refresh_copy(key, &old, of(place)).await;
            }
        }
        Ok(refreshed)
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.purges.fetch_add(1, Ordering::AcqRel);
        let (mut objects, mut failed) = (None, None);
        // The farthest first: what is copied from there is concerned by the nearer one's purge, which comes later.
        for tier in self.tiers.iter().rev() {
            match tier.purge(purge).await {
                Ok(purged) => objects = objects.max(purged.objects),
                Err(error) => failed = Some(error),
            }
        }
        match (failed, objects) {
            (Some(error), _) => Err(error),
            (None, Some(objects)) => Ok(Purged::counted(objects)),
            (None, None) => Ok(Purged::default()),
        }
    }
}

// === impl Tier ===

impl Tier {
    async fn refresh_copy(&self, key: &CacheKey, old: &Stored, meta: Meta) {
        let found = self.lookup(key).await.unwrap_or_default();
        let is_copy = |stored: &&Stored| {
            stored.meta.vary == old.meta.vary
                && stored.meta.status == old.meta.status
                && stored.meta.headers == old.meta.headers
        };
        // One made since the origin was asked is stale by every soft purge until then, which this does not answer.
        let is_older = |stored: &&Stored| meta.asked.is_none() || stored.meta.asked <= meta.asked;
        let Some(copy) = found.iter().find(is_copy).filter(is_older) else {
            return;
        };
        if let Err(error) = self.store.refresh(key, copy.id, meta).await {
            self.note(&error);
        }
    }
}
