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

use super::state::StateDirectory;
use super::{Discovery, Endpoints, ServiceName, UnknownService};
use crate::config::Backoff;
use crate::error::BoxError;
use crate::server::{Drain, Tasks};

/// How long a watch is left alone after an error. Backends pace themselves; one that does not must not keep a core busy.
const PAUSE: Duration = Duration::from_millis(100);

/// How often, at the most, the endpoints of a service are written to the disk.
const WRITE_PAUSE: Duration = Duration::from_secs(1);

/// The services that are followed, one watch for each.
pub(crate) struct Feeds {
    source: Arc<dyn Discovery>,
    /// Where the last good endpoints are kept over restarts.
    state: Option<Arc<StateDirectory>>,
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
}

// === impl Feeds ===

impl Feeds {
    pub(crate) fn new(
        source: Arc<dyn Discovery>,
        state: Option<StateDirectory>,
        tasks: Tasks,
        drain: Drain,
    ) -> Arc<Self> {
        Arc::new(Self {
            source,
            state: state.map(Arc::new),
            tasks,
            drain,
            feeds: Mutex::default(),
        })
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

    /// How many services are followed.
    #[cfg(test)]
    fn len(&self) -> usize {
        let feeds = self.feeds.lock();
        feeds
            .values()
            .filter(|feed| feed.strong_count() > 0)
            .count()
    }

    fn begin(&self, feed: &Arc<Feed>) {
        let (source, drain) = (Arc::clone(&self.source), self.drain.clone());
        // Before the watch: its first word must not be missed.
        let endpoints = feed.subscribe();
        self.tasks.spawn(drive(
            source,
            feed.service.clone(),
            feed.life.clone(),
            Arc::downgrade(feed),
            drain,
        ));
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
        let service = &self.service;
        tracing::debug!(%service, endpoints = endpoints.len(), "discovery spoke");
        let count = endpoints.len();
        self.endpoints.send_if_modified(|present| {
            let is_news = present.as_ref() != Some(&endpoints);
            *present = Some(endpoints);
            is_news
        });
        let mut was_failing = false;
        self.report.send_modify(|report| {
            report.heard = Some(Instant::now());
            report.is_restored = false;
            report.unknown_since = None;
            was_failing = report.error.take().is_some();
        });
        if was_failing {
            tracing::info!(%service, endpoints = count, "discovery is back");
        }
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

/// Follows a service until nobody wants it any more or draining begins. An error changes nothing; an end is a new
/// beginning.
async fn drive(
    source: Arc<dyn Discovery>,
    service: ServiceName,
    life: CancellationToken,
    feed: Weak<Feed>,
    drain: Drain,
) {
    let following = async {
        let mut wait = Backoff::new();
        loop {
            let mut updates = source.watch(&service);
            while let Some(update) = updates.next().await {
                let Some(feed) = feed.upgrade() else { return };
                match update {
                    Ok(endpoints) => {
                        wait = Backoff::new();
                        feed.heard(endpoints);
                    }
                    Err(error) => {
                        feed.failed(&error);
                        // Held over the wait it would outlive those who want it.
                        drop(feed);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            tracing::debug!(%service, "a watch ended; starting it again");
            if wait.rest(&drain).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = following => {}
        () = drain.begun() => {}
        () = life.cancelled() => {}
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

#[cfg(test)]
mod tests;
