//! One service of a gateway.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::discovery::{Endpoints, UnknownService};
use crate::error::BoxError;
use crate::upstream::Cluster;

/// One service: its cluster, and what discovery says of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) cluster: std::sync::Arc<Cluster>,
    state: watch::Sender<State>,
    opened: Instant,
    /// When it was last asked for, in milliseconds after it was opened.
    used: AtomicU64,
    /// What discovery said last, if that was an error, and since when the service is unknown.
    trouble: Mutex<Trouble>,
}

/// What is known of a service. Once known it stays so: the last good endpoints are used.
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

#[derive(Debug, Default)]
struct Trouble {
    error: Option<String>,
    unknown_since: Option<Instant>,
}

// === impl Slot ===

impl Slot {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self {
            cluster: cluster.into(),
            state: watch::Sender::new(State::Asking),
            opened: Instant::now(),
            used: AtomicU64::new(0),
            trouble: Mutex::default(),
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
        let error = self.trouble.lock().error.clone();
        error.unwrap_or_else(|| "discovery has not spoken yet".to_owned())
    }

    /// Takes what discovery says; whether it was good.
    pub(super) fn hear(&self, said: Result<Endpoints, BoxError>) -> bool {
        let mut trouble = self.trouble.lock();
        let is_good = said.is_ok();
        match said {
            Ok(endpoints) => {
                *trouble = Trouble::default();
                self.cluster.update(&endpoints);
                self.state.send_replace(State::Known);
            }
            Err(error) => {
                let is_unknown = error.is::<UnknownService>();
                let since = trouble.unknown_since.unwrap_or_else(Instant::now);
                trouble.unknown_since = is_unknown.then_some(since);
                trouble.error = Some(error.to_string());
                if self.state() != State::Known {
                    let state = if is_unknown {
                        State::Unknown
                    } else {
                        State::Failed
                    };
                    self.state.send_replace(state);
                }
            }
        }
        is_good
    }

    /// How long nobody has asked for it.
    pub(super) fn idle(&self) -> Duration {
        let used = Duration::from_millis(self.used.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(used)
    }

    /// How long it has been unknown, if it is.
    pub(super) fn unknown_for(&self) -> Option<Duration> {
        self.trouble
            .lock()
            .unknown_since
            .map(|since| since.elapsed())
    }
}
