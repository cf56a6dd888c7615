//! Follows the configuration source: each good configuration is published, a bad one changes nothing and is reported.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::compile::Compiler;
use super::faults::Faults;
use super::model::{CacheConfig, Config};
use super::snapshot::Snapshot;
use super::source::ConfigSource;
use crate::cache::{Purge, Selection};
use crate::clock::Timestamp;
use crate::discovery::follow as discovery;
use crate::error::BoxError;
use crate::metrics::Counter;
use crate::server::{Drain, Engine, Tasks};
use crate::upstream::Cluster;

/// The waits before a watch that ended is started again: doubled each time, up to the longest.
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(100);
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Drives the watches on the configuration and on every service it names.
pub(crate) struct Follower {
    source: Arc<dyn ConfigSource>,
    compiler: Compiler,
    tasks: Tasks,
    drain: Drain,
    status: Arc<Status>,
    /// The configuration of the start, by which everything runs that is read only once.
    started: OnceLock<Arc<Config>>,
    /// The clusters whose services are watched; the watch ends with its cluster.
    watched: Mutex<HashMap<Arc<str>, Weak<Cluster>>>,
}

/// How following goes, for operators.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(crate) rejected: Counter,
    pub(crate) source_errors: Counter,
    /// The last configuration that was refused, until a later one is applied.
    refusal: Mutex<Option<Refusal>>,
}

/// Why the last configuration, or the attempt to get one, changed nothing.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) at: Timestamp,
    pub(crate) error: String,
    pub(crate) faults: Option<Faults>,
}

// === impl Follower ===

impl Follower {
    pub(crate) fn new(
        source: Arc<dyn ConfigSource>,
        compiler: Compiler,
        tasks: Tasks,
        drain: Drain,
    ) -> Arc<Self> {
        Arc::new(Self {
            source,
            compiler,
            tasks,
            drain,
            status: Arc::default(),
            started: OnceLock::new(),
            watched: Mutex::default(),
        })
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// The first configuration, without which nothing starts.
    pub(crate) async fn first(&self, now: Timestamp) -> Result<Snapshot, BoxError> {
        let config = self
            .source
            .watch()
            .next()
            .await
            .ok_or("the configuration source ended without a configuration")??;
        let (snapshot, warnings) = self.compiler.compile(config, None, now)?;
        warn(&warnings);
        let _ = self.started.set(Arc::clone(&snapshot.config));
        Ok(snapshot)
    }

    /// Follows until draining begins.
    pub(crate) async fn run(self: Arc<Self>, engine: Arc<Engine>) {
        let mut wait = Backoff::new();
        loop {
            let mut updates = self.source.watch();
            loop {
                let update = tokio::select! {
                    update = updates.next() => update,
                    () = self.drain.begun() => return,
                };
                match update {
                    Some(Ok(config)) => {
                        wait = Backoff::new();
                        self.apply(&engine, config);
                    }
                    Some(Err(error)) => {
                        self.refuse(&engine, error);
                        // A source that fails at once must not keep a core busy.
                        if wait.rest(&self.drain).await.is_err() {
                            return;
                        }
                    }
                    None => break,
                }
            }
            tracing::warn!("the watch on the configuration ended; starting it again");
            if wait.rest(&self.drain).await.is_err() {
                return;
            }
        }
    }

    /// Puts a configuration into force, or reports why not.
    fn apply(self: &Arc<Self>, engine: &Arc<Engine>, config: Config) {
        let before = engine.live.now();
        if *before.config == config {
            // What is in force is wanted again: nothing is being refused any more.
            *self.status.refusal.lock() = None;
            return;
        }
        let begun = Instant::now();
        match self
            .compiler
            .compile(config, Some(&before), engine.clock.now())
        {
            Ok((snapshot, warnings)) => {
                warn(&warnings);
                if let Some(started) = self.started.get() {
                    warn_of_restart(started, &before.config, &snapshot.config);
                }
                let revision = snapshot.revision;
                let outdated = snapshot.outdates(&before);
                engine.live.publish(snapshot);
                engine.checks.look_again();
                if outdated {
                    self.empty_cache(engine);
                }
                *self.status.refusal.lock() = None;
                self.watch_services(engine);
                tracing::info!(revision, took = ?begun.elapsed(), "a new configuration is in force");
            }
            Err(faults) => self.refuse(engine, faults.into()),
        }
    }

    /// What is stored may be for origins that the same requests do not reach any more.
    fn empty_cache(&self, engine: &Arc<Engine>) {
        let Some(store) = engine.store.clone() else {
            return;
        };
        engine.purges.begin_anew();
        tracing::info!(
            "hosts have moved, or routes are chosen by other fields: the cache is emptied"
        );
        self.tasks.spawn(async move {
            if let Err(error) = store.purge(&Purge::hard(Selection::All)).await {
                tracing::error!(%error, "responses for other origins stay in the store");
            }
        });
    }

    fn refuse(&self, engine: &Engine, error: BoxError) {
        let faults = match error.downcast_ref::<Faults>() {
            Some(faults) => {
                self.status.rejected.add(1);
                Some(faults.clone())
            }
            None => {
                self.status.source_errors.add(1);
                None
            }
        };
        let error = error.to_string();
        tracing::error!("the configuration in force stays; the new one cannot be used:\n{error}");
        *self.status.refusal.lock() = Some(Refusal {
            at: engine.clock.now(),
            error,
            faults,
        });
    }

    /// Watches the services of clusters that are new.
    pub(crate) fn watch_services(self: &Arc<Self>, engine: &Arc<Engine>) {
        let Some(feeds) = &engine.feeds else {
            return;
        };
        let snapshot = engine.live.now();
        let mut watched = self.watched.lock();
        watched.retain(|_, cluster| cluster.strong_count() > 0);
        for named in snapshot.clusters.values() {
            let Some(service) = &named.cluster.service else {
                continue;
            };
            let cluster = Arc::downgrade(&named.cluster);
            if watched
                .get(&named.cluster.name)
                .is_some_and(|known| known.ptr_eq(&cluster))
            {
                continue;
            }
            watched.insert(Arc::clone(&named.cluster.name), Weak::clone(&cluster));
            let feed = feeds.follow(service);
            let endpoints = feed.subscribe();
            named.cluster.fed_by(feed);
            self.tasks
                .spawn(discovery::run(endpoints, cluster, self.drain.clone()));
        }
    }
}

// === impl Status ===

impl Status {
    /// Why the last attempt changed nothing, if it did not.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().clone()
    }
}

/// Waits that grow, with jitter so that a fleet does not come back all at once.
pub(crate) struct Backoff(Duration);

// === impl Backoff ===

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(FIRST_WAIT)
    }

    /// Waits; `Err` if draining begins meanwhile.
    pub(crate) async fn rest(&mut self, drain: &Drain) -> Result<(), ()> {
        let wait = self.0.mul_f64(0.5 + jitter());
        self.0 = (self.0 * 2).min(LONGEST_WAIT);
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = drain.begun() => Err(()),
        }
    }
}

/// Between 0 and 1. Spreads waits over a fleet; nothing else depends on it.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::AtomicU64;
    static TURN: AtomicU64 = AtomicU64::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    (RandomState::new().hash_one(turn) >> 11) as f64 / (1u64 << 53) as f64
}

fn warn(warnings: &Faults) {
    for warning in warnings.iter() {
        tracing::warn!("{warning}");
    }
}

/// What is read once, at the start.
fn warn_of_restart(started: &Config, before: &Config, now: &Config) {
    let differ = |other: &Config| {
        [
            ("listen", other.listen != now.listen),
            ("admin", other.admin != now.admin),
            ("server.workers", other.server.workers != now.server.workers),
            (
                "limits.connections",
                other.limits.connections != now.limits.connections,
            ),
            (
                "limits.handshake_time",
                other.limits.handshake_time != now.limits.handshake_time,
            ),
            ("cache", at_start(other) != at_start(now)),
            ("discovery", other.discovery != now.discovery),
            ("registry", other.registry != now.registry),
            ("certificates", other.certificates != now.certificates),
            ("access_log", other.access_log != now.access_log),
        ]
    };
    // Said once, with the change itself; and not when it is taken back.
    let news = differ(started).into_iter().zip(differ(before));
    for ((field, _), _) in news.filter(|((_, since_start), (_, now))| *since_start && *now) {
        tracing::warn!("`{field}` has changed: that takes effect at the next start");
    }
}

/// What of the cache is read at a start only.
fn at_start(config: &Config) -> CacheConfig {
    CacheConfig {
        peers: None,
        ..config.cache.clone()
    }
}
