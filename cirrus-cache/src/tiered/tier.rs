//! One store among several, and whether it may be asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cirrus_core::cache::{
    CacheKey, CacheStore, Moment, Purge, Purged, Selection, StoreError, Stored, Usage,
};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a tier that cannot be asked is left alone, and how often overdue purges are tried again: 1 s.
pub(super) const RESPITE: Duration = Duration::from_secs(1);

/// Beyond as many overdue purges, everything is purged instead.
const MOST_OVERDUE: usize = 4096;

/// One store among several.
pub(super) struct Tier {
    pub(super) store: Arc<dyn CacheStore>,
    /// Milliseconds after `start` until which it is left alone.
    rests_until: AtomicU64,
    start: Instant,
    /// A purge has failed: what was purged may be in here.
    behind: AtomicBool,
    overdue: Mutex<VecDeque<Purge>>,
}

// === impl Tier ===

impl Tier {
    pub(super) fn new(store: Arc<dyn CacheStore>) -> Self {
        Self {
            store,
            rests_until: AtomicU64::new(0),
            start: Instant::now(),
            behind: AtomicBool::new(false),
            overdue: Mutex::default(),
        }
    }

    /// It answers, and knows of every purge.
    pub(super) fn is_open(&self) -> bool {
        if self.behind.load(Ordering::Acquire) {
            return false;
        }
        let until = self.rests_until.load(Ordering::Relaxed);
        until == 0 || self.elapsed() >= until
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What it has of `key`; `None` if it cannot be asked.
    pub(super) async fn lookup(&self, key: &CacheKey) -> Option<Vec<Stored>> {
        if !self.is_open() {
            return None;
        }
        self.answered(self.store.lookup(key).await)
    }

    /// The same, of what was asked for since its own `moment`.
    pub(super) async fn lookup_since(&self, key: &CacheKey, moment: Moment) -> Option<Vec<Stored>> {
        if !self.is_open() {
            return None;
        }
        self.answered(self.store.lookup_since(key, moment).await)
    }

    fn answered(&self, found: Result<Vec<Stored>, StoreError>) -> Option<Vec<Stored>> {
        // A purge may have failed meanwhile.
        if self.behind.load(Ordering::Acquire) {
            return None;
        }
        match found {
            Ok(found) => {
                self.recover();
                Some(found)
            }
            Err(error) => self.note(&error).then(Vec::new),
        }
    }

    /// Whether it can be asked again at once after this error.
    pub(super) fn note(&self, error: &StoreError) -> bool {
        if !matches!(error, StoreError::Unavailable(_)) {
            return true;
        }
        let until = self.elapsed() + RESPITE.as_millis() as u64;
        if self.rests_until.swap(until, Ordering::Relaxed) == 0 {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "a tier of the cache is bypassed"
            );
        }
        false
    }

    /// It answers. Mostly it did before, and nothing is written.
    fn recover(&self) {
        if self.rests_until.load(Ordering::Relaxed) != 0
            && self.rests_until.swap(0, Ordering::Relaxed) != 0
        {
            tracing::info!("a tier of the cache answers again");
        }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.store.usage()
    }

    /// Purges, now or, if that fails, before it is asked again.
    pub(super) async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        if self.behind.load(Ordering::Acquire) && self.defer(purge, false) {
            return Err(StoreError::Unavailable(
                "earlier purges have not reached it".into(),
            ));
        }
        let purged = self.store.purge(purge).await;
        if purged.is_err() {
            self.defer(purge, true);
        }
        purged
    }

    /// Adds to what is overdue; `begin`s that, or else does so only if something is.
    fn defer(&self, purge: &Purge, begin: bool) -> bool {
        let mut overdue = self.overdue.lock();
        if !begin && !self.behind.load(Ordering::Acquire) {
            return false;
        }
        if !self.behind.swap(true, Ordering::AcqRel) {
            tracing::warn!("a purge failed: a tier of the cache is bypassed until it was repeated");
        }
        if overdue.len() >= MOST_OVERDUE {
            overdue.clear();
            overdue.push_back(Purge::hard(Selection::All));
        } else {
            overdue.push_back(purge.clone());
        }
        true
    }

    /// Repeats purges that have failed, for as long as the store lives.
    pub(super) async fn catch_up(&self) {
        let mut ticks = tokio::time::interval(RESPITE);
        loop {
            ticks.tick().await;
            if self.behind.load(Ordering::Acquire) {
                self.repeat().await;
            }
        }
    }

    async fn repeat(&self) {
        while let Some(next) = self.next_overdue() {
            if self.store.purge(&next).await.is_err() {
                return;
            }
            let mut overdue = self.overdue.lock();
            // It may have become one of everything meanwhile, which is repeated then.
            if overdue.front() == Some(&next) {
                overdue.pop_front();
            }
        }
        tracing::info!("a tier of the cache has caught up with all purges");
    }

    /// What is to be repeated next; if nothing is, the tier is open again.
    fn next_overdue(&self) -> Option<Purge> {
        let overdue = self.overdue.lock();
        let next = overdue.front().cloned();
        if next.is_none() {
            self.behind.store(false, Ordering::Release);
        }
        next
    }
}
