//! What a connection is doing, and for how long it may.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::{KnownClaims, KnownHost};
use crate::server::Admission;

/// How long a connection may do nothing but wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a request's header, from its first byte (or from the connection's beginning).
    pub(crate) header: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
    /// For a client that takes nothing of what is to be sent.
    pub(crate) send: Duration,
}

/// What a connection is doing. Shared by its socket, its requests and its watchdog; one coarse timer for a connection
/// instead of one for each request.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    patience: Patience,
    /// How many requests may still come.
    left: AtomicU32,
    /// Its room among all connections; a tunnel keeps it for as long as it lasts.
    _admission: Admission,
    /// The host that its requests are for, most likely.
    pub(crate) host: KnownHost,
    /// What origins are told about who sends them.
    pub(crate) claims: KnownClaims,
    /// Requests whose responses are not finished.
    in_flight: AtomicU32,
    /// Milliseconds after `began` at which the present wait began, shifted left by one; the lowest bit is set while a
    /// header is being read.
    wait: AtomicU64,
    /// One more than the milliseconds after `began` since when a write finds no room; 0 while there is room.
    blocked: AtomicU64,
}

// === impl Activity ===

impl Activity {
    pub(crate) fn new(patience: Patience, requests: u32, admission: Admission) -> Self {
        Self {
            began: Instant::now(),
            patience,
            left: AtomicU32::new(requests),
            _admission: admission,
            host: KnownHost::default(),
            claims: KnownClaims::default(),
            in_flight: AtomicU32::new(0),
            wait: AtomicU64::new(READING),
            blocked: AtomicU64::new(0),
        }
    }

    /// A request's header is complete. Whether it is the last one that this connection may bring: then its response says
    /// `Connection: close`.
    pub(crate) fn begin(&self) -> bool {
        self.hold();
        // HTTP/2 clients may have sent some more before they heard that it was the last one.
        let less = |left: u32| Some(left.saturating_sub(1));
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        left.is_ok_and(|left| left <= 1)
    }

    /// Whether the last request that this connection may bring has begun.
    pub(crate) fn is_worn(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Something else is under way that is no request any more, such as a tunnel; until [`end`](Self::end).
    pub(crate) fn hold(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A response is finished, or given up.
    pub(crate) fn end(&self, now: Instant) {
        if self.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            let millis = (now - self.began).as_millis() as u64;
            self.wait.store(millis << 1, Ordering::Relaxed);
        }
    }

    /// When the present wait began, to the millisecond: with the connection or the last response's end.
    pub(crate) fn since(&self) -> Instant {
        self.began + Duration::from_millis(self.wait.load(Ordering::Relaxed) >> 1)
    }

    /// There is something to be written, and no room for it: the client does not read.
    pub(crate) fn blocked(&self) {
        if self.blocked.load(Ordering::Relaxed) == 0 {
            self.blocked.store(self.millis() + 1, Ordering::Relaxed);
        }
    }

    /// Something was written.
    pub(crate) fn unblocked(&self) {
        if self.blocked.load(Ordering::Relaxed) != 0 {
            self.blocked.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the client has read nothing for too long.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalls_at().is_some_and(|at| at <= Instant::now())
    }

    fn stalls_at(&self) -> Option<Instant> {
        let since = self.blocked.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.began + Duration::from_millis(since) + self.patience.send)
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
        let Patience { header, idle, send } = self.patience;
        let now = Instant::now();
        let next = self.deadline().unwrap_or(now + header.min(idle));
        // Whoever is not blocked now may be right after this look.
        next.min(self.stalls_at().unwrap_or(now + send))
    }

    fn millis(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

const READING: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        header: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        send: Duration::from_secs(40),
    };

    fn left(activity: &Activity) -> Option<u64> {
        activity
            .deadline()
            .map(|deadline| (deadline - Instant::now()).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_header_then_for_requests() {
        let activity = Activity::new(PATIENCE, 100, Admission::testing());
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

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_given_up() {
        let activity = Activity::new(PATIENCE, 100, Admission::testing());
        activity.begin();
        activity.blocked();
        tokio::time::advance(Duration::from_secs(39)).await;
        activity.blocked();
        assert!(!activity.is_stalled());
        assert_eq!((activity.next_look() - Instant::now()).as_secs(), 1);
        activity.unblocked();
        activity.blocked();
        tokio::time::advance(Duration::from_secs(39)).await;
        assert!(!activity.is_stalled(), "every byte counts");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(activity.is_stalled());
    }

    #[tokio::test]
    async fn the_last_request_is_known_as_such() {
        let activity = Activity::new(PATIENCE, 2, Admission::testing());
        assert!(!activity.begin() && !activity.is_worn());
        activity.end(Instant::now());
        assert!(activity.begin() && activity.is_worn());
        assert!(activity.begin(), "one that comes all the same is last too");
    }
}
