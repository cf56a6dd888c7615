//! The way of one GET or HEAD through the cache.
//!
//! ```text
//! look ─┬─ fresh ─────────────────────────────────► serve
//!       ├─ stale, in grace ──► refresh_behind ────► serve
//!       ├─ stale ─► refetch ─┐
//!       └─ miss ─────────────┴─ together ─┬─ lead ───► fetch ─► keep │ revalidated │ stand in
//!                                         └─ follow ─► serve, or fetch alone
//! ```

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{AUTHORIZATION, RANGE};
use http::request::Parts;
use tokio::time::Instant;

use super::control::Control;
use super::fetch::Plan;
use super::flight::{Landing, Leader, Role};
use super::key::CacheKey;
use super::layer::{Shared, pass};
use super::outcome::{CacheOutcome, Forward, Forwarded};
use super::policy::Verdict;
use super::serve::{refused, respond, respond_prepared};
use super::store::{BodyState, CacheStore, StoreError, Stored};
use crate::body::{Body, Request, Response};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::middleware::{Context, Handler};
use crate::server::Engine;

/// How long a request waits for another one's answer before it asks itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a request waits for one that turns out to be for something else.
const ROUNDS: u32 = 3;

/// One request that may be answered from the store, and all it needs for that.
pub(super) struct Visit<'a, S> {
    pub(super) shared: &'a Arc<Shared<S>>,
    pub(super) cx: &'a mut Context,
    pub(super) engine: &'a Engine,
    pub(super) store: &'a dyn CacheStore,
    pub(super) key: CacheKey,
    /// It has no content, so its header is all of it.
    pub(super) request: Parts,
    pub(super) control: Control,
}

/// The store cannot be asked.
struct Down;

/// What it takes when the store alone cannot answer.
pub(super) enum More {
    /// Nothing stored will do.
    Missed(Forward),
    /// What is stored may be served again once the origin has confirmed it.
    Refetch(Stored, Forward),
    /// The store cannot be asked.
    Down,
}

// === impl Visit ===

impl<S: Handler> Visit<'_, S> {
    /// Answers from the store if that is all it takes, without the visit being moved; else tells what is to be done.
    ///
    /// What asks the origin is for [`go_on`](Self::go_on): its future is twenty times as large as that of a hit, and
    /// every request makes room for, and moves, all that its future might come to.
    pub(super) async fn look(&mut self) -> Result<Response, More> {
        match self.find().await {
            Ok(Ok(stored)) => self.found(stored),
            Ok(Err(why)) => Err(More::Missed(why)),
            Err(Down) => Err(More::Down),
        }
    }

    /// Answers with the origin's help, or does without the store.
    pub(super) async fn go_on(self, more: More) -> Result<Response, Error> {
        match more {
            More::Missed(why) => self.missed(why).await,
            More::Refetch(stored, why) => self.refetch(stored, why).await,
            More::Down => self.bypass().await,
        }
    }

    /// What the store has for this request; else why that is nothing.
    async fn find(&self) -> Result<Result<Stored, Forward>, Down> {
        if self.shared.outage.lasts(|| self.now()) {
            return Err(Down);
        }
        match self.store.lookup(&self.key).await {
            Ok(stored) => match self.select(&stored) {
                Err(Forward::VaryMiss) => Ok(self.find_rest(&stored).await),
                found => Ok(found),
            },
            Err(error @ StoreError::Unavailable(_)) => {
                if self.shared.outage.begins(self.now()) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the cache is bypassed"
                    );
                }
                Err(Down)
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, key = ?self.key, "a stored response is lost");
                Ok(Err(Forward::UriMiss))
            }
        }
    }

    /// What a farther place has when nothing that was `found` fits.
    async fn find_rest(&self, found: &[Stored]) -> Result<Stored, Forward> {
        let rest = self.store.lookup_rest(&self.key, found).await;
        let rest = rest.unwrap_or_default();
        self.select(&rest).map_err(|_| Forward::VaryMiss)
    }

    /// The newest that was made for a request like this one (RFC 9111 §4.1).
    fn select(&self, stored: &[Stored]) -> Result<Stored, Forward> {
        let miss = if stored.is_empty() {
            Forward::UriMiss
        } else {
            Forward::VaryMiss
        };
        let fits = |stored: &Stored| {
            stored.meta.vary.matches(&self.request.headers)
                && stored.body.state() != BodyState::Failed
        };
        stored
            .iter()
            .find(|stored| fits(stored))
            .cloned()
            .ok_or(miss)
    }

    fn found(&mut self, stored: Stored) -> Result<Response, More> {
        // One time for all that is said about its age, so that it cannot contradict itself.
        let now = self.now();
        match stored.meta.freshness.judge(&self.control, now) {
            Verdict::Serve => Ok(self.hit(&stored, now)),
            Verdict::ServeAndRevalidate => {
                self.refresh_behind(&stored);
                Ok(self.hit(&stored, now))
            }
            Verdict::Stale => Err(More::Refetch(stored, Forward::Stale)),
            Verdict::Demanded => Err(More::Refetch(stored, Forward::Request)),
        }
    }

    fn hit(&mut self, stored: &Stored, now: Timestamp) -> Response {
        let ttl = stored.meta.freshness.ttl(now);
        self.cx.cache = CacheOutcome::Hit { ttl };
        let is_bare = self.cx.writes_lines && self.shared.rules.is_bare;
        if is_bare && let Some(response) = respond_prepared(&self.request, stored, ttl, now) {
            return response;
        }
        respond(&self.request, stored, &self.cx.cache, now)
    }

    pub(super) fn serve(&mut self, stored: &Stored, outcome: impl Into<CacheOutcome>) -> Response {
        self.cx.cache = outcome.into();
        respond(&self.request, stored, &self.cx.cache, self.now())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.engine.clock.now()
    }

    /// Nothing stored will do.
    async fn missed(mut self, why: Forward) -> Result<Response, Error> {
        if self.control.only_if_cached {
            return Ok(self.refuse());
        }
        let forwarded = Forwarded::because(why);
        // Their answers are not what is stored, so nobody could share them.
        if self.request.method == Method::HEAD {
            return self.pass(forwarded.detailed("head")).await;
        }
        if self.request.headers.contains_key(RANGE) {
            return self.pass(forwarded.detailed("range")).await;
        }
        // An answer that is under way already is not what such a request asks for.
        // Nor may what comes of credentials be told to those without: they must not lead them.
        if self.control.insists() || self.is_authorized() {
            return self.fetch(Plan::new(why, None)).await;
        }
        if self.engine.flights.goes_alone(&self.key) {
            return self.fetch(Plan::alone(why, None)).await;
        }
        self.together(why, None).await
    }

    /// What is stored may be served again once the origin has confirmed it.
    async fn refetch(mut self, stored: Stored, why: Forward) -> Result<Response, Error> {
        if self.control.only_if_cached {
            return Ok(self.refuse());
        }
        let is_shared = why == Forward::Stale && stored.meta.freshness.is_shareable();
        if is_shared && self.request.method == Method::GET && !self.is_authorized() {
            self.together(why, Some(stored)).await
        } else {
            self.fetch(Plan::new(why, Some(stored))).await
        }
    }

    fn is_authorized(&self) -> bool {
        self.cx.personal || self.request.headers.contains_key(AUTHORIZATION)
    }

    fn refuse(&mut self) -> Response {
        self.cx.cache = CacheOutcome::Refused;
        refused()
    }

    async fn bypass(mut self) -> Result<Response, Error> {
        if self.control.only_if_cached {
            return Ok(self.refuse());
        }
        self.pass(Forwarded::because(Forward::Bypass).detailed("store-unavailable"))
            .await
    }

    async fn pass(self, forwarded: Forwarded) -> Result<Response, Error> {
        let request = Box::new(Request::from_parts(self.request, Body::empty()));
        pass(self.shared, self.cx, request, forwarded).await
    }

    /// One of those who want the same asks, the others wait for it.
    async fn together(mut self, why: Forward, old: Option<Stored>) -> Result<Response, Error> {
        let deadline = Instant::now() + PATIENCE;
        let (mut old, mut rounds) = (old, 0);
        loop {
            let follower = match self.engine.flights.join(&self.key) {
                Role::Leader(leader) => return self.lead(leader, why, old).await,
                Role::Follower(follower) => follower,
            };
            match follower.wait(deadline).await {
                Landing::Found => match self.find_servable().await {
                    Some(stored) => return Ok(self.shared_hit(&stored, why)),
                    // It is for other values of the fields named by `Vary`, or gone again: those who want the same
                    // ask together once more, but do not queue up behind everybody else for ever.
                    None => {
                        old = self.still_stored(old).await;
                        rounds += 1;
                        if rounds == ROUNDS {
                            return self.fetch(Plan::new(why, old)).await;
                        }
                    }
                },
                Landing::Alone => return self.fetch(Plan::alone(why, old)).await,
                Landing::Late => return self.fetch(Plan::new(why, old)).await,
                Landing::Failed => {
                    old = self.still_stored(old).await;
                    if let Some(old) = old.as_ref().filter(|old| self.may_stand_in(old, why)) {
                        let forwarded = Forwarded {
                            collapsed: true,
                            ..Forwarded::because(why)
                        };
                        return Ok(self.stand_in(old, forwarded));
                    }
                    // The next one to join leads.
                }
            }
        }
    }

    async fn lead(
        mut self,
        leader: Leader,
        why: Forward,
        old: Option<Stored>,
    ) -> Result<Response, Error> {
        // Another leader may have landed since this request last looked.
        if let Some(stored) = self.find_servable().await {
            leader.land();
            return Ok(self.hit(&stored, self.now()));
        }
        self.fetch(Plan::new(why, old).led_by(leader)).await
    }

    fn shared_hit(&mut self, stored: &Stored, why: Forward) -> Response {
        let forwarded = Forwarded {
            collapsed: true,
            ..Forwarded::because(why)
        };
        self.serve(stored, forwarded)
    }

    /// What a purge has removed since it was found must neither be confirmed nor stand in.
    pub(super) async fn still_stored(&self, old: Option<Stored>) -> Option<Stored> {
        let old = old?;
        let stored = self.store.lookup(&self.key).await.ok()?;
        stored.into_iter().find(|stored| stored.id == old.id)
    }

    async fn find_servable(&self) -> Option<Stored> {
        let stored = self.find().await.ok()?.ok()?;
        let verdict = stored.meta.freshness.judge(&self.control, self.now());
        matches!(verdict, Verdict::Serve).then_some(stored)
    }

    /// Whether a stored response may be served in place of the origin's failure.
    pub(super) fn may_stand_in(&self, old: &Stored, why: Forward) -> bool {
        why == Forward::Stale && old.meta.freshness.outlives_errors(self.now())
    }

    pub(super) fn stand_in(&mut self, old: &Stored, forwarded: Forwarded) -> Response {
        let ttl = Some(old.meta.freshness.ttl(self.now()));
        self.serve(
            old,
            Forwarded { ttl, ..forwarded }.detailed("stale-if-error"),
        )
    }

    /// Revalidates in the background, once for all who are served the same stale response meanwhile.
    fn refresh_behind(&self, old: &Stored) {
        let Role::Leader(leader) = self.engine.flights.join(&self.key) else {
            return;
        };
        let (shared, cx, old) = (Arc::clone(self.shared), self.cx.detached(), old.clone());
        let (key, mut request) = (self.key.clone(), self.request.clone());
        // What is stored answers a GET, whatever this client asked with.
        request.method = Method::GET;
        self.engine
            .tasks
            .spawn(refresh(shared, cx, key, request, old, leader));
    }
}

async fn refresh<S: Handler>(
    shared: Arc<Shared<S>>,
    mut cx: Box<Context>,
    key: CacheKey,
    request: Parts,
    old: Stored,
    leader: Leader,
) {
    let worker = Arc::clone(&cx.worker);
    let engine = &*worker.engine;
    let Some(store) = engine.store.as_deref() else {
        return;
    };
    let control = Control::default();
    let visit = Visit {
        shared: &shared,
        cx: &mut cx,
        engine,
        store,
        key,
        request,
        control,
    };
    if let Err(error) = visit.lead(leader, Forward::Stale, Some(old)).await {
        tracing::debug!(%error, "a revalidation in the background failed");
    }
}
