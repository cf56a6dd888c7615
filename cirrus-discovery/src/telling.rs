//! When something is said of records: not too often, and never the same bad news twice.

use std::time::Duration;

use cirrus_core::BoxError;
use cirrus_core::discovery::{Endpoints, UnknownService};
use tokio::time::Instant;

use crate::records::Records;

/// The shortest time from one item to the next, and from one attempt to the next.
pub(crate) const PACE: Duration = Duration::from_millis(100);

/// What a watch has said, and when it says more.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    at: Option<Instant>,
    last: Option<Instant>,
    /// The last item said so.
    said_unknown: bool,
}

// === impl Telling ===

impl Telling {
    /// Everything was read: it is said, even if nothing has changed, so that its age tells how old it may be.
    pub(crate) fn now(&mut self) {
        self.at = Some(Instant::now());
    }

    /// Something has changed: it is said at once, unless there was something a moment ago. Many changes are one.
    pub(crate) fn soon(&mut self) {
        let now = Instant::now();
        let earliest = self.last.map_or(now, |last| last + PACE);
        self.at.get_or_insert(earliest.max(now));
    }

    /// The watch has failed, which is an item of its own.
    pub(crate) fn failed(&mut self) {
        (self.at, self.said_unknown) = (None, false);
    }

    /// When there is something to say, if there is anything.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }

    pub(crate) fn is_due(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// What is said now. That a service is unknown is said only once.
    pub(crate) fn say(&mut self, records: &Records) -> Option<Result<Endpoints, BoxError>> {
        (self.at, self.last) = (None, Some(Instant::now()));
        let said = records.said();
        let is_unknown = matches!(&said, Err(error) if error.is::<UnknownService>());
        let is_new = !(is_unknown && self.said_unknown);
        self.said_unknown = is_unknown;
        is_new.then_some(said)
    }
}
