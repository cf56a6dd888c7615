//! Purges in the order of a log that several edges follow.
//!
//! ```text
//! append ─► log ─► follow ─► store, position ─► fence opens
//! ```
//!
//! An edge that was away has a store that knows nothing of the purges it missed. The [`fence`] keeps what is older than
//! that from being found until the log has been read to its end; if the log does not reach back so far, everything is
//! purged.

mod fence;
mod follow;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub(crate) use fence::Fence;
pub(crate) use follow::{Following, Grace, Reader};

use super::purge::Purge;
use crate::Updates;
use crate::error::BoxError;

/// An ordered, durable list of purges.
///
/// Backends live in crates of their own. The engine drives the streams: it begins again with back-off when one ends or
/// fails, applies every purge in order, and tells how far it is.
#[async_trait]
pub trait PurgeLog: Send + Sync + 'static {
    /// How far this edge's store was when the edge ended; `None` if that is not known, or if the store did not survive:
    /// then everything stored is purged.
    async fn position(&self) -> Result<Option<LogPosition>, BoxError>;

    /// What comes after this position, in order and without gaps, then what is appended later.
    ///
    /// Without a position, and with one that the log does not reach back to, [`LogUpdate::Lost`] comes first. Whenever
    /// everything has been given that was in the log a moment ago, [`LogUpdate::Current`] says so: at least every second.
    /// An error is an item; the engine asks again.
    fn follow(&self, after: Option<LogPosition>) -> Updates<LogUpdate>;

    /// Appends purges, and says where the last one stands. Once it resolves they are durable.
    async fn append(&self, purges: &[Purge]) -> Result<LogPosition, BoxError>;

    /// The store has done everything up to this position. Kept for [`position`](Self::position), and never ahead of it.
    async fn applied(&self, position: &LogPosition) -> Result<(), BoxError>;
}

#[async_trait]
impl<L: PurgeLog + ?Sized> PurgeLog for Arc<L> {
    async fn position(&self) -> Result<Option<LogPosition>, BoxError> {
        (**self).position().await
    }

    fn follow(&self, after: Option<LogPosition>) -> Updates<LogUpdate> {
        (**self).follow(after)
    }

    async fn append(&self, purges: &[Purge]) -> Result<LogPosition, BoxError> {
        (**self).append(purges).await
    }

    async fn applied(&self, position: &LogPosition) -> Result<(), BoxError> {
        (**self).applied(position).await
    }
}

/// What a log says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LogUpdate {
    /// These come next.
    Purges {
        /// In their order.
        purges: Vec<Purge>,
        /// Where the last of them stands.
        position: LogPosition,
    },
    /// What came before this position, or some of it, cannot be had: everything stored has to go.
    Lost(LogPosition),
    /// That was everything, a moment ago.
    Current,
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogPosition {
    /// Which log: another one, though it be in the same place, has another name.
    pub log: Arc<str>,
    /// The number of a purge in it. They grow by one.
    pub number: u64,
}

// === impl LogPosition ===

impl LogPosition {
    /// A place in a log.
    #[must_use]
    pub fn new(log: impl Into<Arc<str>>, number: u64) -> Self {
        Self {
            log: log.into(),
            number,
        }
    }

    /// Whether a reader that is at `self` has what stands at `other`.
    #[must_use]
    pub fn has_reached(&self, other: &Self) -> bool {
        self.log == other.log && self.number >= other.number
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.log, self.number)
    }
}
