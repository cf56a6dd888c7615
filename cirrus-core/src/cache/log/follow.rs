//! Follows a log, and has the store do what it says.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Fence, LogPosition, LogUpdate, PurgeLog};
use crate::cache::purge::{Purge, Purged, Selection};
use crate::cache::purger::Doer;
use crate::config::Backoff;
use crate::error::BoxError;
use crate::server::Drain;

/// How long whoever purges waits for this edge to have done what was appended.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a log that can be read may say nothing: twice what it is allowed.
const SILENCE: Duration = Duration::from_secs(2);

/// For how long a log that cannot be read is taken for one without purges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grace(pub(crate) Duration);

/// How far an edge is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) position: Option<LogPosition>,
    /// When it was known to have read everything; `None` before it has for the first time.
    pub(crate) current: Option<Instant>,
}

/// Reads a log in the background.
pub(crate) struct Reader {
    log: Arc<dyn PurgeLog>,
    fence: Arc<Fence>,
    doer: Arc<Doer>,
    grace: Grace,
    progress: watch::Sender<Progress>,
}

/// A log that is being followed.
#[derive(Clone)]
pub(crate) struct Following {
    log: Arc<dyn PurgeLog>,
    fence: Arc<Fence>,
    progress: watch::Receiver<Progress>,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(
        log: Arc<dyn PurgeLog>,
        fence: Arc<Fence>,
        doer: Arc<Doer>,
        grace: Grace,
    ) -> (Self, Following) {
        let (progress, seen) = watch::channel(Progress::default());
        let following = Following {
            log: Arc::clone(&log),
            fence: Arc::clone(&fence),
            progress: seen,
        };
        let reader = Self {
            log,
            fence,
            doer,
            grace,
            progress,
        };
        (reader, following)
    }

    /// Reads until draining begins, and again after every failure.
    pub(crate) async fn run(self, drain: Drain) {
        self.fence.close().await;
        let mut backoff = Backoff::new();
        loop {
            let ended = tokio::select! {
                ended = self.read(&mut backoff) => ended,
                () = drain.begun() => return,
            };
            let error = ended.err().unwrap_or_else(|| "it has ended".into());
            tracing::warn!(%error, "the purge log cannot be read; trying again");
            let rest = backoff.rest(&drain);
            let waited = tokio::select! {
                rested = rest => rested,
                never = self.watch_grace() => match never {},
            };
            if waited.is_err() {
                return;
            }
        }
    }

    /// Until the log fails.
    async fn read(&self, backoff: &mut Backoff) -> Result<(), BoxError> {
        let known = self.progress.borrow().position.clone();
        let after = match known {
            Some(known) => Some(known),
            None => self.log.position().await?,
        };
        let mut updates = self.log.follow(after);
        loop {
            let update = match self.deadline(self.grace.0.max(SILENCE)) {
                Some(deadline) => match timeout_at(deadline, updates.next()).await {
                    Ok(update) => update,
                    Err(_) => {
                        self.lose_sight().await;
                        continue;
                    }
                },
                None => updates.next().await,
            };
            let Some(update) = update.transpose()? else {
                return Ok(());
            };
            self.heed(update).await?;
            *backoff = Backoff::new();
        }
    }

    /// When the fence closes unless everything has been read once more; `None` while it is closed.
    fn deadline(&self, grace: Duration) -> Option<Instant> {
        let current = self.progress.borrow().current?;
        self.fence.is_open().then(|| current + grace)
    }

    /// Closes the fence in time while nobody reads.
    async fn watch_grace(&self) -> std::convert::Infallible {
        if let Some(deadline) = self.deadline(self.grace.0) {
            tokio::time::sleep_until(deadline).await;
            self.lose_sight().await;
        }
        std::future::pending().await
    }

    async fn lose_sight(&self) {
        tracing::warn!(
            grace = ?self.grace.0,
            "the purge log cannot be read for too long; what is stored is not used until it can"
        );
        self.fence.close().await;
    }

    async fn heed(&self, update: LogUpdate) -> Result<(), BoxError> {
        match update {
            LogUpdate::Purges { purges, position } => {
                for purge in &purges {
                    self.carry_out(purge).await?;
                }
                self.reached(position).await
            }
            LogUpdate::Lost(position) => {
                tracing::info!(%position, "where this edge was in the purge log is not known; everything stored is purged");
                self.carry_out(&Purge::hard(Selection::All)).await?;
                self.reached(position).await
            }
            LogUpdate::Current => {
                if !self.fence.is_open() {
                    tracing::info!("all purges in the log have been done");
                    self.fence.open();
                }
                self.progress.send_modify(|progress| {
                    progress.current = Some(Instant::now());
                });
                Ok(())
            }
        }
    }

    /// A purge that cannot be done must not be passed over: nothing stored is used until it can.
    async fn carry_out(&self, purge: &Purge) -> Result<(), BoxError> {
        match self.doer.carry_out(purge, "log").await {
            Ok(Purged { .. }) => Ok(()),
            Err(error) => {
                self.fence.close().await;
                Err(error.into())
            }
        }
    }

    async fn reached(&self, position: LogPosition) -> Result<(), BoxError> {
        // Purges done twice do no harm, purges left out do: the position is behind, never ahead.
        if let Err(error) = self.log.applied(&position).await {
            tracing::warn!(%error, "how far this edge is in the purge log cannot be kept");
        }
        self.progress
            .send_modify(|progress| progress.position = Some(position));
        Ok(())
    }
}

// === impl Following ===

impl Following {
    /// Until everything in the log has been done for the first time; `false` if that takes longer than `limit`.
    pub(crate) async fn caught_up(&self, limit: Duration) -> bool {
        let mut progress = self.progress.clone();
        let current = progress.wait_for(|progress| progress.current.is_some());
        matches!(timeout(limit, current).await, Ok(Ok(_)))
    }

    /// Appends, and waits for this edge to have done it. `false`: it is in the log, and this edge is not so far yet.
    pub(crate) async fn append(&self, purges: &[Purge]) -> Result<bool, BoxError> {
        let position = self.log.append(purges).await?;
        let mut progress = self.progress.clone();
        let done = progress.wait_for(|progress| {
            let reached = progress.position.as_ref();
            reached.is_some_and(|reached| reached.has_reached(&position))
        });
        Ok(matches!(timeout(PATIENCE, done).await, Ok(Ok(_))))
    }

    pub(crate) fn position(&self) -> Option<LogPosition> {
        self.progress.borrow().position.clone()
    }

    /// How long ago everything was known to be read.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.progress.borrow().current.map(|at| at.elapsed())
    }

    /// What is stored is hidden.
    pub(crate) fn is_fenced(&self) -> bool {
        !self.fence.is_open()
    }
}
