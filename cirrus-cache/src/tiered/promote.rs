//! Copies what is found far away to where it is found sooner.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cirrus_core::cache::{BodyState, ByteRange, CacheKey, Fill, ObjectId, StoreError, Stored};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Shared;
use super::fill::{Part, TieredFill};
use super::moments::Dials;
use super::place::Place;
use super::tier::Tier;

/// Most copies that are made at the same time.
const AT_A_TIME: usize = 8;

/// Most copies that wait to be made; what comes then is copied when it is found again.
const WAITING: usize = 256;

/// Most variants of one URL that are copied at once, the newest first.
const VARIANTS: usize = 8;

/// How many keys found once are remembered.
const REMEMBERED: usize = 16_384;

/// Which hits of a farther tier are copied to the nearer ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promote {
    /// Every one.
    #[default]
    Always,
    /// The second one of those remembered, so that what is asked for once takes no room from what is asked for often.
    SecondHit,
    /// None: what is in a farther tier stays there.
    Never,
}

/// What is to be copied, and the copies under way.
pub(super) struct Promotions {
    policy: Promote,
    max_object: u64,
    hasher: foldhash::fast::RandomState,
    /// Hashes of keys that were found once, each where its remainder says.
    once: Box<[AtomicU64]>,
    under_way: Mutex<HashSet<CacheKey, foldhash::fast::RandomState>>,
    sender: mpsc::Sender<Promotion>,
    /// Taken by whoever runs them.
    jobs: tokio::sync::Mutex<mpsc::Receiver<Promotion>>,
}

/// What was found in a farther tier.
pub(super) struct Promotion {
    key: CacheKey,
    from: Place,
    /// Before it was looked up: a purge since then concerns the copy.
    asked: Dials,
    found: Vec<Stored>,
}

// === impl Promotions ===

impl Promotions {
    pub(super) fn new(policy: Promote, max_object: u64) -> Self {
        let remembered = match policy {
            Promote::SecondHit => REMEMBERED,
            _ => 0,
        };
        let (sender, jobs) = mpsc::channel(WAITING);
        Self {
            policy,
            max_object,
            hasher: foldhash::fast::RandomState::default(),
            once: (0..remembered).map(|_| AtomicU64::new(0)).collect(),
            under_way: Mutex::default(),
            sender,
            jobs: tokio::sync::Mutex::new(jobs),
        }
    }

    /// This was found in the tier `from`.
    pub(super) fn found(&self, key: &CacheKey, from: Place, asked: Dials, found: &[Stored]) {
        if self.policy == Promote::Never {
            return;
        }
        let found: Vec<_> = found
            .iter()
            .filter(|stored| self.suits(stored))
            .take(VARIANTS)
            .cloned()
            .collect();
        if found.is_empty() || !self.is_due(key) || !self.under_way.lock().insert(key.clone()) {
            return;
        }
        let job = Promotion {
            key: key.clone(),
            from,
            asked,
            found,
        };
        if self.sender.try_send(job).is_err() {
            self.under_way.lock().remove(key);
        }
    }

    fn suits(&self, stored: &Stored) -> bool {
        stored.body.state() == BodyState::Whole
            && stored
                .body
                .size()
                .is_some_and(|size| size <= self.max_object)
    }

    fn is_due(&self, key: &CacheKey) -> bool {
        if self.once.is_empty() {
            return true;
        }
        let hash = self.hasher.hash_one(key);
        // The remainder is an index.
        let place = usize::try_from(hash % self.once.len() as u64).unwrap_or_default();
        self.once[place].swap(hash, Ordering::Relaxed) == hash
    }

    /// Makes the copies, for as long as the store lives.
    pub(super) async fn run(&self, shared: &Arc<Shared>) {
        let mut jobs = self.jobs.lock().await;
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(job) = jobs.recv(), if running.len() < AT_A_TIME => {
                    running.push(self.copy(shared, job));
                }
                Some(()) = running.next() => {}
                else => return,
            }
        }
    }

    async fn copy(&self, shared: &Arc<Shared>, job: Promotion) {
        // The oldest first, so that the order among them stays.
        for stored in job.found.iter().rev() {
            if let Err(error) = job.copy(shared, stored).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    key = ?job.key,
                    "a stored response was not copied to a nearer tier"
                );
            }
        }
        self.under_way.lock().remove(&job.key);
    }
}

// === impl Promotion ===

impl Promotion {
    async fn copy(&self, shared: &Arc<Shared>, stored: &Stored) -> Result<(), StoreError> {
        let mut parts = Vec::with_capacity(self.from);
        for place in 0..self.from {
            parts.extend(self.begin(shared, place, stored).await);
        }
        if parts.is_empty() {
            return Ok(());
        }
        let source = Some(Arc::clone(&stored.body));
        let fill = TieredFill::new(shared, &self.key, parts, Vec::new(), source);
        copy_body(Box::new(fill), stored).await
    }

    /// `None` if the tier has that variant by now, or does not want it.
    async fn begin(&self, shared: &Shared, place: Place, stored: &Stored) -> Option<Part> {
        let tier = &shared.tiers[place];
        if self.is_in(tier, stored, None).await? {
            return None;
        }
        let meta = (*stored.meta).clone().with_asked(self.asked.of(place));
        let fill = tier.store.insert(&self.key, meta).await.ok()?;
        // Once more: what began after that look, and before this, is older by its id only.
        let own = fill.stored().id;
        let is_late = self.is_in(tier, stored, Some(own)).await?;
        (!is_late).then(|| Part::new(place, fill))
    }

    /// Whether the tier has that variant, but for its own copy; `None` if it cannot be asked.
    async fn is_in(&self, tier: &Tier, stored: &Stored, own: Option<ObjectId>) -> Option<bool> {
        let present = tier.lookup(&self.key).await?;
        let mut others = present.iter().filter(|other| Some(other.id) != own);
        Some(others.any(|other| other.meta.vary == stored.meta.vary))
    }
}

async fn copy_body(mut fill: Box<dyn Fill>, stored: &Stored) -> Result<(), StoreError> {
    let mut body = stored.body.read(ByteRange::ALL);
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(StoreError::Damaged)?;
        match frame.into_data() {
            Ok(data) => fill.write(data).await?,
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    fill.finish(trailers).await
}
