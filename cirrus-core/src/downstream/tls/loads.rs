//! Cold certificates: one load for each name at a time, and a short memory of names that have none.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Spawn;
use crate::downstream::cert::{CertError, CertProvider, Certificate, ServerName};

/// Everybody who waits for the same name waits for the same load.
#[derive(Clone)]
pub(super) struct Loads {
    provider: Arc<dyn CertProvider>,
    spawn: Spawn,
    /// Locked only for names that are not in the provider's memory.
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    flights: HashMap<ServerName, watch::Receiver<Progress>>,
    refused: Refused,
}

/// Names that were refused a moment ago. All are remembered equally long, so the oldest stands in front.
#[derive(Default)]
struct Refused {
    until: HashMap<ServerName, Instant>,
    order: VecDeque<ServerName>,
}

/// One load. However it ends, its name is free again: dropped unfinished, those who wait get nothing.
struct Flight {
    name: ServerName,
    state: Arc<Mutex<State>>,
    progress: watch::Sender<Progress>,
}

#[derive(Clone)]
enum Progress {
    Flying,
    Landed(Arc<Certificate>),
    Failed,
}

/// Longest time for one load.
const LIMIT: Duration = Duration::from_secs(5);

/// Loads at the same time: names are the client's choice, so their number has to have an end.
const MAX_FLIGHTS: usize = 256;

/// How long a refusal is remembered, and how many are.
const REFUSED_FOR: Duration = Duration::from_secs(10);
const MAX_REFUSED: usize = 4096;

// === impl Loads ===

impl Loads {
    pub(super) fn new(provider: Arc<dyn CertProvider>, spawn: Spawn) -> Self {
        Self {
            provider,
            spawn,
            state: Arc::default(),
        }
    }

    /// The certificate for a cold name; `None` if there is none, or it cannot be had now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the load running: the next client finds its result.
    pub(super) async fn load(&self, name: ServerName) -> Option<Arc<Certificate>> {
        let mut progress = self.join(name)?;
        let landed = progress
            .wait_for(|progress| !matches!(progress, Progress::Flying))
            .await;
        match &*landed.ok()? {
            Progress::Landed(certificate) => Some(Arc::clone(certificate)),
            Progress::Flying | Progress::Failed => None,
        }
    }

    fn join(&self, name: ServerName) -> Option<watch::Receiver<Progress>> {
        let mut state = self.state.lock();
        if let Some(flight) = state.flights.get(&name) {
            return Some(flight.clone());
        }
        if state.flights.len() >= MAX_FLIGHTS || state.refused.contains(&name, Instant::now()) {
            return None;
        }
        let (progress, waiting) = watch::channel(Progress::Flying);
        state.flights.insert(name.clone(), waiting.clone());
        drop(state);
        let flight = Flight {
            name,
            state: Arc::clone(&self.state),
            progress,
        };
        self.spawn.start(flight.fly(Arc::clone(&self.provider)));
        Some(waiting)
    }
}

impl fmt::Debug for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loads")
    }
}

// === impl Flight ===

impl Flight {
    async fn fly(self, provider: Arc<dyn CertProvider>) {
        match tokio::time::timeout(LIMIT, provider.load(&self.name)).await {
            Ok(Ok(certificate)) => self.land(Progress::Landed(certificate)),
            Ok(Err(error)) => self.fail(&error),
            Err(_) => {
                tracing::warn!(name = %self.name, limit = ?LIMIT, "loading the certificate took too long");
                self.land(Progress::Failed);
            }
        }
    }

    fn fail(self, error: &CertError) {
        match error {
            CertError::NotFound(_) => self.refuse(),
            CertError::Invalid { .. } => {
                tracing::error!(%error, "an operator has to look at this certificate");
                self.refuse();
            }
            CertError::Unavailable { source, .. } => {
                tracing::warn!(%error, cause = %source, "the next handshake asks again");
            }
        }
        self.land(Progress::Failed);
    }

    fn refuse(&self) {
        self.state
            .lock()
            .refused
            .insert(self.name.clone(), Instant::now());
    }

    fn land(self, progress: Progress) {
        self.progress.send_replace(progress);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.state.lock().flights.remove(&self.name);
    }
}

// === impl Refused ===

impl Refused {
    fn contains(&self, name: &ServerName, now: Instant) -> bool {
        self.until.get(name).is_some_and(|until| now < *until)
    }

    fn insert(&mut self, name: ServerName, now: Instant) {
        while self
            .order
            .front()
            .is_some_and(|oldest| !self.contains(oldest, now))
        {
            self.forget_oldest();
        }
        if self.order.len() >= MAX_REFUSED {
            self.forget_oldest();
        }
        if self.until.insert(name.clone(), now + REFUSED_FOR).is_none() {
            self.order.push_back(name);
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front() {
            self.until.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_bounded_and_the_oldest_goes_first() {
        let mut refused = Refused::default();
        let now = Instant::now();
        for n in 0..=MAX_REFUSED {
            refused.insert(name(n), now);
        }
        assert_eq!(
            (refused.until.len(), refused.order.len()),
            (MAX_REFUSED, MAX_REFUSED)
        );
        assert!(!refused.contains(&name(0), now));
        assert!(refused.contains(&name(1), now) && refused.contains(&name(MAX_REFUSED), now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_wears_off() {
        let mut refused = Refused::default();
        let now = Instant::now();
        refused.insert(name(1), now);
        assert!(refused.contains(&name(1), now + REFUSED_FOR - Duration::from_millis(1)));
        assert!(!refused.contains(&name(1), now + REFUSED_FOR));
        refused.insert(name(2), now + REFUSED_FOR);
        assert_eq!((refused.until.len(), refused.order.len()), (1, 1));
    }

    fn name(n: usize) -> ServerName {
        ServerName::new(&format!("n{n}.example")).unwrap()
    }
}
