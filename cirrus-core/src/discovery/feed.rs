//! One watch for each service that somebody follows, however many do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::guard::{Floor, Guard, Verdict};
use super::state::StateDirectory;
use super::{Discovery, Endpoints, ServiceName, UnknownService};
use crate::config::Backoff;
use crate::error::BoxError;
use crate::server::{Drain, Tasks};

/// How long a watch is left alone after an error. Backends pace themselves; one that does not must not keep a core busy.
const PAUSE: Duration = Duration::from_millis(100);

/// How often, at the most, the endpoints of a service are written to the disk.
const WRITE_PAUSE: Duration = Duration::from_secs(1);

/// How soon after the start, and how often from then on, what nobody wants any more is removed from the disk.
const FIRST_SWEEP: Duration = Duration::from_secs(60);
const SWEEP_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// The services that are followed, one watch for each.
pub(crate) struct Feeds {
    source: Arc<dyn Discovery>,
    /// Where the last good endpoints are kept over restarts.
    state: Option<Arc<StateDirectory>>,
    floor: Floor,
    tasks: Tasks,
    drain: Drain,
    feeds: Mutex<HashMap<ServiceName, Weak<Feed>>>,
}

/// The last good endpoints of a service. Its watch ends with the last one who holds it.
#[derive(Debug)]
pub(crate) struct Feed {
    service: ServiceName,
    endpoints: watch::Sender<Option<Endpoints>>,
    report: watch::Sender<Report>,
    /// Whoever follows it has its name from a client: that nobody knows it is no news.
    is_asked_for: AtomicBool,
    life: CancellationToken,
}

/// How the watch on a service goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// When discovery last told endpoints.
    heard: Option<Instant>,
    /// What is wrong, since it last did.
    pub(crate) error: Option<Arc<str>>,
    /// How many errors there were.
    pub(crate) errors: u64,
    /// The endpoints are from before the restart: discovery has told none yet.
    pub(crate) is_restored: bool,
    /// Since when discovery says that nobody knows the service, if that was its last word.
    unknown_since: Option<Instant>,
    /// The set that waits for its confirmation, if one does.
    pub(crate) held: Option<Held>,
    /// How many sets have waited for it.
    pub(crate) holds: u64,
}

/// A set that is too small to be believed at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// How many endpoints it has.
    pub(crate) endpoints: usize,
    since: Instant,
}

// === impl Feeds ===

impl Feeds {
    pub(crate) fn new(
        source: Arc<dyn Discovery>,
        state: Option<StateDirectory>,
        floor: Floor,
        tasks: Tasks,
        drain: Drain,
    ) -> Arc<Self> {
        let feeds = Arc::new(Self {
            source,
            state: state.map(Arc::new),
            floor,
            tasks,
            drain,
            feeds: Mutex::default(),
        });
        if let Some(state) = &feeds.state {
            let tidying = tidy(Arc::clone(state), Arc::downgrade(&feeds));
            let drain = feeds.drain.clone();
            feeds.tasks.spawn(async move {
                tokio::select! {
                    () = tidying => {}
                    () = drain.begun() => {}
                }
            });
        }
        feeds
    }

    /// The feed of a service; the same one for all who follow it at the same time.
    ///
    /// If there is none yet, it begins with what was kept over the restart (blocking: a small file).
    pub(crate) fn follow(&self, service: &ServiceName) -> Arc<Feed> {
        let feed = self.feed(service);
        feed.is_asked_for.store(false, Ordering::Relaxed);
        feed
    }

    /// As [`follow`](Self::follow), for a service that a client has named: it may well be none.
    pub(crate) async fn follow_asked_for(self: &Arc<Self>, service: &ServiceName) -> Arc<Feed> {
        if self.state.is_none() {
            return self.feed(service);
        }
        let (feeds, name) = (Arc::clone(self), service.clone());
        let feed = tokio::task::spawn_blocking(move || feeds.feed(&name)).await;
        feed.unwrap_or_else(|_| self.feed(service))
    }

    /// Does not keep the endpoints of a service for the next start any more, unless somebody follows it.
    pub(crate) async fn forget(self: &Arc<Self>, service: &ServiceName) {
        if self.state.is_none() {
            return;
        }
        let (feeds, service) = (Arc::clone(self), service.clone());
        // Disks may hang.
        let forgetting = tokio::task::spawn_blocking(move || {
            let known = feeds.feeds.lock();
            let feed = known.get(&service);
            if let Some(state) = &feeds.state
                && feed.is_none_or(|feed| feed.strong_count() == 0)
            {
                state.remove(&service);
            }
        });
        let _ = forgetting.await;
    }

    fn feed(&self, service: &ServiceName) -> Arc<Feed> {
        let mut feeds = self.feeds.lock();
        if let Some(feed) = feeds.get(service).and_then(Weak::upgrade) {
            return feed;
        }
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let kept = self.state.as_ref().and_then(|state| state.load(service));
        let feed = Arc::new(Feed::new(service.clone(), kept));
        feeds.insert(service.clone(), Arc::downgrade(&feed));
        self.begin(&feed);
        feed
    }

    /// The services that are followed.
    fn followed(&self) -> Vec<ServiceName> {
        let feeds = self.feeds.lock();
        let alive = feeds.iter().filter(|(_, feed)| feed.strong_count() > 0);
        alive.map(|(service, _)| service.clone()).collect()
    }

    fn begin(&self, feed: &Arc<Feed>) {
        // Before the watch: its first word must not be missed.
        let endpoints = feed.subscribe();
        let driver = Driver {
            source: Arc::clone(&self.source),
            service: feed.service.clone(),
            feed: Arc::downgrade(feed),
            guard: Guard::new(self.floor),
            wait: Backoff::new(),
        };
        self.tasks
            .spawn(driver.run(feed.life.clone(), self.drain.clone()));
        if let Some(state) = &self.state {
            let (state, service) = (Arc::clone(state), feed.service.clone());
            self.tasks
                .spawn(keep(state, service, endpoints, self.drain.clone()));
        }
    }
}

// === impl Feed ===

impl Feed {
    fn new(service: ServiceName, kept: Option<Endpoints>) -> Self {
        let report = Report {
            is_restored: kept.is_some(),
            ..Report::default()
        };
        Self {
            service,
            endpoints: watch::Sender::new(kept),
            report: watch::Sender::new(report),
            is_asked_for: AtomicBool::new(true),
            life: CancellationToken::new(),
        }
    }

    /// What is known and every change of it. Does not keep the feed alive.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Endpoints>> {
        self.endpoints.subscribe()
    }

    pub(crate) fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// How it goes, and every word of discovery's. Endpoints are there before the word that tells of them.
    pub(crate) fn reports(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    fn heard(&self, endpoints: Endpoints) {
        let (service, count) = (&self.service, endpoints.len());
        tracing::debug!(%service, endpoints = count, "discovery spoke");
        self.endpoints.send_if_modified(|present| {
            let is_news = present.as_ref() != Some(&endpoints);
            *present = Some(endpoints);
            is_news
        });
        let (mut was_failing, mut held) = (false, None);
        self.report.send_modify(|report| {
            report.heard = Some(Instant::now());
            report.is_restored = false;
            report.unknown_since = None;
            was_failing = report.error.take().is_some();
            held = report.held.take();
        });
        if was_failing {
            tracing::info!(%service, endpoints = count, "discovery is back");
        }
        if let Some(held) = held {
            let after = held.since.elapsed();
            tracing::info!(%service, endpoints = count, ?after, "endpoints are not held back any more");
        }
    }

    /// Discovery spoke, and is not believed yet: what it said before stays in force, and grows old.
    fn doubted(&self, endpoints: &Endpoints) {
        let (service, offered) = (&self.service, endpoints.len());
        let present = self.endpoints.borrow().as_ref().map_or(0, Endpoints::len);
        self.report.send_modify(|report| {
            report.error = None;
            report.unknown_since = None;
            if let Some(held) = &mut report.held {
                held.endpoints = offered;
                return;
            }
            report.held = Some(Held {
                endpoints: offered,
                since: Instant::now(),
            });
            report.holds += 1;
            tracing::warn!(%service, present, offered, "suddenly few endpoints: held back until confirmed");
        });
    }

    fn failed(&self, error: &BoxError) {
        let is_unknown = error.is::<UnknownService>();
        let (service, error) = (&self.service, Arc::<str>::from(error.to_string()));
        let mut before = None;
        self.report.send_modify(|report| {
            report.errors += 1;
            let since = report.unknown_since.unwrap_or_else(Instant::now);
            report.unknown_since = is_unknown.then_some(since);
            before = report.error.replace(Arc::clone(&error));
        });
        // What is said again and again is worth one line.
        if before.as_ref() == Some(&error) {
            return;
        }
        if is_unknown && self.is_asked_for.load(Ordering::Relaxed) {
            tracing::debug!(%service, "nobody knows it");
        } else {
            tracing::warn!(%service, %error, "discovery failed; the last known endpoints stay");
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.life.cancel();
    }
}

// === impl Report ===

impl Report {
    /// How long ago discovery told endpoints, if it ever did.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.heard.map(|heard| heard.elapsed())
    }

    /// How long nobody has known the service, if that is what discovery says.
    pub(crate) fn unknown_for(&self) -> Option<Duration> {
        self.unknown_since.map(|since| since.elapsed())
    }
}

// === impl Held ===

impl Held {
    /// How long it has waited.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

/// Keeps the watch on one service going.
struct Driver {
    source: Arc<dyn Discovery>,
    service: ServiceName,
    feed: Weak<Feed>,
    guard: Guard,
    wait: Backoff,
}

/// Nobody wants the service any more.
struct Unwanted;

// === impl Driver ===

impl Driver {
    /// Follows until nobody wants it any more or draining begins.
    async fn run(mut self, life: CancellationToken, drain: Drain) {
        tokio::select! {
            Unwanted = self.follow(&drain) => {}
            () = drain.begun() => {}
            () = life.cancelled() => {}
        }
    }

    /// An end is a new beginning.
    async fn follow(&mut self, drain: &Drain) -> Unwanted {
        loop {
            if let Err(unwanted) = self.listen().await {
                return unwanted;
            }
            tracing::debug!(service = %self.service, "a watch ended; starting it again");
            if self.wait.rest(drain).await.is_err() {
                return Unwanted;
            }
        }
    }

    /// One watch to its end. An error changes nothing.
    async fn listen(&mut self) -> Result<(), Unwanted> {
        let mut updates = self.source.watch(&self.service);
        loop {
            let update = tokio::select! {
                update = updates.next() => update,
                () = at(self.guard.due()) => {
                    // A watch begins with the present endpoints: that is the second reading.
                    self.guard.ask_again();
                    updates = self.source.watch(&self.service);
                    continue;
                }
            };
            match update {
                Some(Ok(endpoints)) => self.said(endpoints)?,
                Some(Err(error)) => {
                    self.feed.upgrade().ok_or(Unwanted)?.failed(&error);
                    self.guard.failed();
                    tokio::time::sleep(PAUSE).await;
                }
                None => return Ok(()),
            }
        }
    }

    fn said(&mut self, endpoints: Endpoints) -> Result<(), Unwanted> {
        let feed = self.feed.upgrade().ok_or(Unwanted)?;
        self.wait = Backoff::new();
        let verdict = self
            .guard
            .judge(feed.endpoints.borrow().as_ref(), &endpoints);
        match verdict {
            Verdict::Believed => feed.heard(endpoints),
            Verdict::HeldBack => feed.doubted(&endpoints),
        }
        Ok(())
    }
}

/// At this moment; never without one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Writes what is known to the disk, until the feed or the server ends; what came last is written in any case.
async fn keep(
    state: Arc<StateDirectory>,
    service: ServiceName,
    mut endpoints: watch::Receiver<Option<Endpoints>>,
    drain: Drain,
) {
    loop {
        let is_over = tokio::select! {
            changed = endpoints.changed() => changed.is_err(),
            () = drain.begun() => true,
        };
        if is_over && !endpoints.has_changed().unwrap_or(false) {
            return;
        }
        let Some(present) = endpoints.borrow_and_update().clone() else {
            continue;
        };
        let (state, service) = (Arc::clone(&state), service.clone());
        // Disks may hang.
        let _ = tokio::task::spawn_blocking(move || state.save(&service, &present)).await;
        tokio::select! {
            () = tokio::time::sleep(WRITE_PAUSE) => {}
            () = drain.begun() => {}
        }
    }
}

/// Keeps the directory from growing for ever.
async fn tidy(state: Arc<StateDirectory>, feeds: Weak<Feeds>) {
    tokio::time::sleep(FIRST_SWEEP).await;
    while let Some(followed) = feeds.upgrade().map(|feeds| feeds.followed()) {
        let state = Arc::clone(&state);
        let _ = tokio::task::spawn_blocking(move || state.sweep(&followed)).await;
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
}

#[cfg(test)]
mod tests;
