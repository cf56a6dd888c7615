//! Joins what checks and traffic say, and tells the endpoints.

use std::sync::Arc;
use std::time::Duration;

use super::checks::Means;
use super::condition::Facts;
use super::passive::Cause;
use super::rules::Watching;
use super::tally::Counts;
use crate::server::{Drain, Engine, Tasks};
use crate::upstream::gateway::Gateway;
use crate::upstream::{Backend, Cluster};

/// How often everything is looked through. News are looked at at once; this finds what nobody told.
const PERIOD: Duration = Duration::from_secs(1);

/// The shortest time between two looks, however much is new.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks through every cluster that wants to be watched. One for all workers, in the background.
pub(crate) struct Guard {
    means: Means,
    /// Of the revision in force.
    clusters: Vec<Arc<Cluster>>,
    /// Whether some gateway's clusters are watched, which come and go without a revision.
    has_gateways: bool,
    revision: u64,
}

// === impl Guard ===

impl Guard {
    pub(crate) fn new(engine: Arc<Engine>, tasks: Tasks, drain: Drain) -> Self {
        let means = Means {
            engine,
            tasks,
            drain,
        };
        Self {
            means,
            clusters: Vec::new(),
            has_gateways: false,
            revision: 0,
        }
    }

    /// Watches until draining begins.
    pub(crate) async fn run(mut self) {
        let drain = self.means.drain.clone();
        let engine = Arc::clone(&self.means.engine);
        let watching = async {
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                let whole = tokio::select! {
                    _ = ticks.tick() => true,
                    () = engine.checks.news.notified() => false,
                };
                self.look(whole);
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = watching => {}
            () = drain.begun() => {}
        }
    }

    fn look(&mut self, whole: bool) {
        let snapshot = self.means.engine.live.now();
        if snapshot.revision != self.revision {
            self.revision = snapshot.revision;
            self.has_gateways = snapshot.gateways().any(Gateway::is_watched);
            let all = snapshot.written_clusters();
            let (watched, other): (Vec<_>, Vec<_>) = all
                .cloned()
                .partition(|cluster| cluster.rules.watching.is_some());
            // Endpoints may have been watched until now.
            other.iter().for_each(|cluster| release(cluster));
            self.clusters = watched;
        }
        let mut found = Vec::new();
        if self.has_gateways {
            let gateways = snapshot.gateways().filter(|gateway| gateway.is_watched());
            found.extend(gateways.flat_map(Gateway::clusters));
        }
        for cluster in self.clusters.iter().chain(&found) {
            if let Some(watching) = &cluster.rules.watching {
                self.cluster(cluster, watching, whole);
            }
        }
    }

    fn cluster(&self, cluster: &Cluster, watching: &Watching, whole: bool) {
        let backends = cluster.backends();
        let checks = &self.means.engine.checks;
        let mut lately = Vec::new();
        for backend in &backends {
            checks.assign(
                &self.means,
                &watching.checks,
                &backend.transport,
                &backend.health,
            );
            let counts = watching
                .counts
                .then(|| backend.health.tally().lately(watching.window));
            judge(cluster, watching, backend, counts.as_ref());
            lately.extend(counts);
        }
        if whole && watching.outliers.need_counts() {
            for (index, cause) in watching.outliers.find(&lately, watching.min_requests) {
                if let Some(backend) = backends.get(index) {
                    cluster.eject(backend, cause, checks);
                }
            }
        }
        if let Some(breaker) = cluster.breaker() {
            let requests: u64 = lately.iter().map(Counts::requests).sum();
            let failures: u64 = lately.iter().map(Counts::failures).sum();
            let rate = 100.0 * failures as f64 / requests.max(1) as f64;
            if requests >= watching.min_requests && breaker.judge(rate, watching.window) {
                tracing::warn!(cluster = %cluster.name, error_rate = rate, "the circuit breaker is open");
            }
        }
        cluster.reckon();
    }
}

/// Nobody asks for checks any more.
fn release(cluster: &Cluster) {
    for backend in cluster.backends() {
        if backend.health.is_barred() || !backend.health.watches().is_empty() {
            backend.health.set_watches(Vec::new());
            backend.health.bar(None);
        }
    }
}

/// Says whether an endpoint may be asked, by its cluster's condition.
fn judge(cluster: &Cluster, watching: &Watching, backend: &Backend, lately: Option<&Counts>) {
    let watches = backend.health.watches();
    let checks: Vec<(&str, bool)> = watches
        .iter()
        .map(|(name, watch)| (&**name, watch.is_up()))
        .collect();
    let broken = watching.condition.broken(&Facts {
        checks: &checks,
        lately,
        min_requests: watching.min_requests,
        in_flight: backend.health.in_flight(),
    });
    let again_in = || {
        let patience = watches.iter().map(|(_, watch)| watch.patience()).min();
        patience.unwrap_or(PERIOD)
    };
    let changed = backend.health.bar(broken.as_ref().map(|_| again_in()));
    let (cluster, endpoint) = (&*cluster.name, backend.address());
    match broken {
        Some(why) if changed => tracing::warn!(cluster, endpoint, why, "down"),
        None if changed => tracing::info!(cluster, endpoint, "up"),
        _ => {}
    }
}

impl Cause {
    /// Whether the endpoints of a cluster may be spared it.
    pub(crate) fn is_capped(self) -> bool {
        self != Self::Failures
    }
}
