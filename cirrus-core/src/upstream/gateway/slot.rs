//! One service of a gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::discovery::feed::Report;
use crate::upstream::Cluster;

/// One service: its cluster, and what discovery says of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) cluster: Arc<Cluster>,
    state: watch::Sender<State>,
    opened: Instant,
    /// When it was last asked for, in milliseconds after it was opened.
    used: AtomicU64,
}

/// What is known of a service. Once known it stays so for a while: the last good endpoints are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Discovery has not spoken yet.
    Asking,
    /// It has endpoints, or once had.
    Known,
    /// Nobody knows it.
    Unknown,
    /// Discovery cannot say.
    Failed,
}

// === impl Slot ===

impl Slot {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self {
            cluster: cluster.into(),
            state: watch::Sender::new(State::Asking),
            opened: Instant::now(),
            used: AtomicU64::new(0),
        }
    }

    /// Somebody asks for it.
    pub(super) fn touch(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(now, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// What discovery has said first, or that it says nothing in time.
    pub(super) async fn settled(&self, limit: Duration) -> State {
        let state = self.state();
        if state != State::Asking {
            return state;
        }
        let mut states = self.state.subscribe();
        let settled = states.wait_for(|state| *state != State::Asking);
        match timeout(limit, settled).await {
            Ok(Ok(state)) => *state,
            _ => State::Asking,
        }
    }

    /// Whether some endpoint is not ejected.
    pub(super) fn has_somebody(&self) -> bool {
        self.cluster.count().1 > 0
    }

    /// Why there is nobody, in words.
    pub(super) fn trouble(&self) -> String {
        let error = self.cluster.discovery().and_then(|report| report.error);
        error.map_or_else(
            || "discovery has not spoken yet".to_owned(),
            |error| error.to_string(),
        )
    }

    /// Takes what discovery says; `has_endpoints` if it ever told any. What was known stays so for `keep`.
    pub(super) fn hear(&self, report: &Report, has_endpoints: bool, keep: Duration) {
        let unknown = report.unknown_for();
        let state = match (unknown, &report.error) {
            (Some(time), _) if !has_endpoints || time >= keep => State::Unknown,
            _ if has_endpoints => State::Known,
            (_, Some(_)) => State::Failed,
            (_, None) => State::Asking,
        };
        self.state.send_if_modified(|known| {
            let before = std::mem::replace(known, state);
            before != state
        });
    }

    /// How long nobody has asked for it.
    pub(super) fn idle(&self) -> Duration {
        let used = Duration::from_millis(self.used.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(used)
    }

    /// How long it has been unknown, if it is.
    pub(super) fn unknown_for(&self) -> Option<Duration> {
        let report = self.cluster.discovery();
        report.and_then(|report| report.unknown_for())
    }
}

// === impl State ===

impl State {
    pub(super) const ALL: [Self; 4] = [Self::Known, Self::Unknown, Self::Asking, Self::Failed];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}
