//! What a connection is doing, and for how long it may.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::KnownHost;
use crate::server::Admission;

/// How long a connection may do nothing but wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a request's header, from its first byte (or from the connection's beginning).
    pub(crate) header: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
}

/// What a connection is doing. Shared by its socket, its requests and its watchdog; one coarse timer for a connection
/// instead of one for each request.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    patience: Patience,
    /// Its room among all connections; a tunnel keeps it for as long as it lasts.
    _admission: Admission,
    /// The host that its requests are for, most likely.
    pub(crate) host: KnownHost,
    /// Requests whose responses are not finished.
    in_flight: AtomicU32,
    /// Milliseconds after `began` at which the present wait began, shifted left by one; the lowest bit is set while a
    /// header is being read.
    wait: AtomicU64,
}

// === impl Activity ===

impl Activity {
    pub(crate) fn new(patience: Patience, admission: Admission) -> Self {
        Self {
            began: Instant::now(),
            patience,
            _admission: admission,
            host: KnownHost::default(),
            in_flight: AtomicU32::new(0),
            wait: AtomicU64::new(READING),
        }
    }

    /// A request's header is complete.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A response is finished, or given up.
    pub(crate) fn end(&self, now: Instant) {
        if self.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            let millis = (now - self.began).as_millis() as u64;
            self.wait.store(millis << 1, Ordering::Relaxed);
        }
    }

    /// When the present wait began, to the millisecond: with the connection, a header or a response's end.
    pub(crate) fn since(&self) -> Instant {
        self.began + Duration::from_millis(self.wait.load(Ordering::Relaxed) >> 1)
    }

    /// When the present wait is over; `None` while requests are in flight.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let wait = self.wait.load(Ordering::Relaxed);
        let limit = if wait & READING == 0 {
            self.patience.idle
        } else {
            self.patience.header
        };
        Some(self.began + Duration::from_millis(wait >> 1) + limit)
    }

    /// The next moment worth looking at the deadline again.
    pub(crate) fn next_look(&self) -> Instant {
        let shortest = self.patience.header.min(self.patience.idle);
        self.deadline().unwrap_or_else(|| Instant::now() + shortest)
    }
}

const READING: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        header: Duration::from_secs(10),
        idle: Duration::from_secs(60),
    };

    fn left(activity: &Activity) -> Option<u64> {
        activity
            .deadline()
            .map(|deadline| (deadline - Instant::now()).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_header_then_for_requests() {
        let activity = Activity::new(PATIENCE, Admission::testing());
        assert_eq!(left(&activity), Some(10));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(left(&activity), Some(6));
        activity.begin();
        activity.begin();
        assert_eq!(left(&activity), None);
        activity.end(Instant::now());
        assert_eq!(left(&activity), None);
        activity.end(Instant::now());
        assert_eq!(left(&activity), Some(60));
        assert_eq!(activity.since(), Instant::now());
    }
}
