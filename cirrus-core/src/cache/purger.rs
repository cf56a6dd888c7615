//! The one way to purge, whoever asks for it: by API, by method, or by the log.

use std::sync::Arc;

use super::key::CacheKey;
use super::log::Following;
use super::peer::purges::Purges;
use super::purge::{Mode, Purge, Purged, Selection};
use super::selection::PurgeKind;
use super::store::{CacheStore, StoreError};
use crate::error::BoxError;
use crate::metrics::Counter;

/// Everything that may be stored for a URL, whose plain key is given: routes make keys of more than that.
pub(crate) type Meaning = Box<dyn Fn(&CacheKey) -> Vec<Selection> + Send + Sync>;

/// Purges the store, counts it and says so in the log.
pub(crate) struct Doer {
    store: Arc<dyn CacheStore>,
    meaning: Meaning,
    /// For those that are in no log.
    unlogged: Arc<Purges>,
    /// By kind.
    counts: [Counter; PurgeKind::ALL.len()],
}

/// Purges this edge, or, through a log, all that follow it.
pub(crate) struct Purger {
    doer: Arc<Doer>,
    log: Option<Following>,
}

/// How a purge that was asked for went.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It is done.
    Done(Purged),
    /// It is in the log, and done here as well.
    Logged,
    /// It is in the log, which this edge has not read so far yet.
    Pending,
    /// The store could not.
    Failed(String),
}

// === impl Doer ===

impl Doer {
    pub(crate) fn new(
        store: Arc<dyn CacheStore>,
        meaning: Meaning,
        unlogged: Arc<Purges>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            meaning,
            unlogged,
            counts: Default::default(),
        })
    }

    /// `who` asks for it, for those who read the log.
    pub(crate) async fn carry_out(&self, purge: &Purge, who: &str) -> Result<Purged, StoreError> {
        let purged = self.purge(purge).await?;
        let kind = purge.what.kind();
        self.counts[kind as usize].add(1);
        let (kind, what) = (kind.word(), purge.what.to_string());
        let (soft, objects) = (purge.mode == Mode::Soft, purged.objects);
        tracing::info!(who, kind, ?what, soft, objects, "purged");
        Ok(purged)
    }

    /// No other edge hears of it: what those have from before must not come back from them.
    fn note(&self, purge: &Purge) {
        let Selection::Url(key) = &purge.what else {
            return self.unlogged.note(purge);
        };
        for what in (self.meaning)(key) {
            let mode = purge.mode;
            self.unlogged.note(&Purge { what, mode });
        }
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let Selection::Url(key) = &purge.what else {
            return self.store.purge(purge).await;
        };
        let mut objects = Some(0);
        for what in (self.meaning)(key) {
            let mode = purge.mode;
            let purged = self.store.purge(&Purge { what, mode }).await?;
            // What is named by more than its URL is found by a label, and nobody counts by label: then it is not known.
            objects = objects.zip(purged.objects).map(|(all, more)| all + more);
        }
        Ok(Purged { objects })
    }
}

// === impl Purger ===

impl Purger {
    pub(crate) fn new(doer: Arc<Doer>, log: Option<Following>) -> Self {
        Self { doer, log }
    }

    /// Purges, in order; an outcome for each.
    ///
    /// # Errors
    ///
    /// The log takes nothing: then nothing has been purged.
    pub(crate) async fn purge(
        &self,
        purges: &[Purge],
        who: &str,
    ) -> Result<Vec<Outcome>, BoxError> {
        if let Some(log) = &self.log {
            for purge in purges {
                let (kind, what) = (purge.what.kind().word(), purge.what.to_string());
                tracing::info!(who, kind, ?what, "a purge for the log");
            }
            let is_done = log.append(purges).await?;
            let each = || match is_done {
                true => Outcome::Logged,
                false => Outcome::Pending,
            };
            return Ok(purges.iter().map(|_| each()).collect());
        }
        let mut outcomes = Vec::with_capacity(purges.len());
        for purge in purges {
            self.doer.note(purge);
            outcomes.push(match self.doer.carry_out(purge, who).await {
                Ok(purged) => Outcome::Done(purged),
                Err(error) => Outcome::Failed(error.to_string()),
            });
        }
        Ok(outcomes)
    }

    pub(crate) fn log(&self) -> Option<&Following> {
        self.log.as_ref()
    }

    /// How many purges there were, by kind.
    pub(crate) fn counts(&self) -> [(&'static str, u64); PurgeKind::ALL.len()] {
        PurgeKind::ALL.map(|kind| (kind.word(), self.doer.counts[kind as usize].get()))
    }
}
