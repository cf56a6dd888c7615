//! The way of one GET or HEAD through the cache.
//!
//! ```text
//! look ─┬─ fresh ─────────────────────────────────► serve
//!       ├─ stale, in grace ──► refresh_behind ────► serve
//!       ├─ stale ─► refetch ─┐
//!       └─ miss ─────────────┴─ together ─┬─ lead ───► fetch ─► keep │ revalidated │ stand in
//!                                         └─ follow ─► serve, share the failure, or fetch alone
//! ```

use std::sync::Arc;

use http::header::{AUTHORIZATION, RANGE};
use http::request::Parts;
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::control::Control;
use super::fetch::Plan;
use super::flight::{Failure, Landing, Leader, Role};
use super::key::CacheKey;
use super::layer::{Shared, marked, pass};
use super::outage::{LOOKUP_LIMIT, within};
use super::outcome::{CacheOutcome, Forward, Forwarded};
use super::peer::tell_surrogate_control;
use super::policy::Verdict;
use super::precondition::{Judgement, is_for_origin, judge};
use super::serve::{failed, refused, respond, respond_prepared};
use super::slice::Unprimed;
use super::store::{BodyState, CacheStore, StoreError, Stored};
use crate::body::{Body, Request, Response};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::middleware::{Context, Handler};
use crate::server::Engine;

/// How often a request waits for one that turns out to be for something else.
const ROUNDS: u32 = 3;

/// How many in a row see the origin fail before those who waited for them give up. The first may have had bad luck: its
/// connection broke, or its endpoint was just going down. Trying one after the other would keep the last of many waiting
/// for the sum of all their tries.
const TRIES: u32 = 2;

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
    /// What it depends on is for the origin to judge.
    Judge,
    /// It is stored in slices, some of which may be missing.
    Sliced(Stored),
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
            More::Sliced(stored) => Ok(self.sliced(&stored).await),
            More::Judge => self.ask_origin().await,
            More::Down => self.bypass().await,
        }
    }

    /// What the store has for this request; else why that is nothing.
    async fn find(&self) -> Result<Result<Stored, Forward>, Down> {
        if self.engine.outage.lasts(|| self.now()) {
            return Err(Down);
        }
        match within(LOOKUP_LIMIT, self.store.lookup(&self.key)).await {
            Ok(stored) => {
                self.engine.outage.ends();
                match self.pick(stored) {
                    Ok(stored) => Ok(Ok(stored)),
                    Err(others) if others.is_empty() => Ok(Err(Forward::UriMiss)),
                    Err(others) => Ok(self.find_rest(&others).await),
                }
            }
            Err(error @ StoreError::Unavailable(_)) => {
                if self.engine.outage.begins(self.now()) {
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
        let rest = within(LOOKUP_LIMIT, self.store.lookup_rest(&self.key, found)).await;
        let picked = self.pick(rest.unwrap_or_default());
        picked.map_err(|_| Forward::VaryMiss)
    }

    /// The newest that was made for a request like this one (RFC 9111 §4.1), or those that were not.
    fn pick(&self, mut stored: Vec<Stored>) -> Result<Stored, Vec<Stored>> {
        let fits = |stored: &Stored| {
            stored.meta.vary.matches(&self.request.headers)
                && stored.body.state() != BodyState::Failed
                && self.can_read(&stored.meta)
        };
        match stored.iter().position(fits) {
            Some(at) => Ok(stored.swap_remove(at)),
            None => Err(stored),
        }
    }

    fn found(&mut self, stored: Stored) -> Result<Response, More> {
        // One time for all that is said about its age, so that it cannot contradict itself.
        let now = self.now();
        let verdict = stored.meta.freshness().judge(&self.control, now);
        if is_for_origin(&self.request.headers) && !self.can_judge(&stored, verdict) {
            return Err(More::Judge);
        }
        match verdict {
            Verdict::Serve => self.serve_found(stored, now),
            Verdict::ServeAndRevalidate => {
                self.refresh_behind(&stored);
                self.serve_found(stored, now)
            }
            Verdict::Stale => Err(More::Refetch(stored, Forward::Stale)),
            Verdict::Demanded => Err(More::Refetch(stored, Forward::Request)),
        }
    }

    fn serve_found(&mut self, stored: Stored, now: Timestamp) -> Result<Response, More> {
        if stored.meta.status == StatusCode::PARTIAL_CONTENT {
            return Err(More::Sliced(stored));
        }
        Ok(self.hit(&stored, now))
    }

    /// Only what is fresh says what the origin has at this moment.
    fn can_judge(&self, stored: &Stored, verdict: Verdict) -> bool {
        verdict == Verdict::Serve
            && judge(&self.request.headers, &stored.meta) != Judgement::Unknown
    }

    fn hit(&mut self, stored: &Stored, now: Timestamp) -> Response {
        let ttl = stored.meta.freshness().ttl(now);
        self.cx.cache = CacheOutcome::Hit { ttl };
        let rules = &self.shared.rules;
        let is_bare = self.cx.writes_lines && rules.is_bare && !rules.lookups.shows_key;
        if is_bare && let Some(response) = respond_prepared(&self.request, stored, ttl, now) {
            return response;
        }
        self.respond(stored, now)
    }

    pub(super) fn serve(&mut self, stored: &Stored, outcome: impl Into<CacheOutcome>) -> Response {
        self.cx.cache = outcome.into();
        self.respond(stored, self.now())
    }

    fn respond(&self, stored: &Stored, now: Timestamp) -> Response {
        let mut response = match self.assembled(stored) {
            None => respond(&self.request, stored, &self.cx.cache, now),
            Some(whole) => {
                let mut response = respond(&self.request, &whole, &self.cx.cache, now);
                Unprimed::mark(&mut response, &self.request);
                response
            }
        };
        if self.cx.peering.is_asked {
            tell_surrogate_control(&mut response, &stored.meta);
        }
        response
    }

    pub(super) fn now(&self) -> Timestamp {
        self.engine.clock.now()
    }

    /// Nothing stored will do.
    async fn missed(mut self, why: Forward) -> Result<Response, Error> {
        if self.control.only_if_cached {
            return Ok(self.refuse());
        }
        if is_for_origin(&self.request.headers) {
            return self.ask_origin().await;
        }
        let forwarded = Forwarded::because(why);
        // Their answers are not what is stored, so nobody could share them.
        if self.request.method == Method::HEAD {
            return self.pass(forwarded.detailed("head")).await;
        }
        if self.request.headers.contains_key(RANGE) && self.first_slice().is_none() {
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
        let is_shared = why == Forward::Stale && stored.meta.freshness().is_shareable();
        if is_shared && self.request.method == Method::GET && !self.is_authorized() {
            if self.engine.flights.goes_alone(&self.key) {
                return self.fetch(Plan::alone(why, Some(stored))).await;
            }
            self.together(why, Some(stored)).await
        } else {
            self.fetch(Plan::new(why, Some(stored))).await
        }
    }

    fn is_authorized(&self) -> bool {
        self.cx.personal || self.request.headers.contains_key(AUTHORIZATION)
    }

    pub(super) fn refuse(&mut self) -> Response {
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

    /// With the client's own conditions.
    async fn ask_origin(mut self) -> Result<Response, Error> {
        if self.control.only_if_cached {
            return Ok(self.refuse());
        }
        self.pass(Forwarded::because(Forward::Bypass).detailed("precondition"))
            .await
    }

    async fn pass(self, forwarded: Forwarded) -> Result<Response, Error> {
        let request = Box::new(Request::from_parts(self.request, Body::empty()));
        pass(self.shared, self.cx, request, forwarded).await
    }

    /// One of those who want the same asks, the others wait for it.
    async fn together(mut self, why: Forward, old: Option<Stored>) -> Result<Response, Error> {
        let deadline = Instant::now() + self.shared.rules.lookups.lock_timeout;
        let (mut old, mut rounds, mut failures) = (old, 0, 0);
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
                Landing::Late => return self.overtake(why, old).await,
                // Nobody has heard from the origin. The next one to join leads.
                Landing::Failed(None) => old = self.still_stored(old).await,
                Landing::Failed(Some(failure)) => {
                    old = self.still_stored(old).await;
                    if let Some(old) = old.as_ref().filter(|old| self.may_stand_in(old, why)) {
                        let forwarded = Forwarded {
                            collapsed: true,
                            ..Forwarded::because(why)
                        };
                        return Ok(self.stand_in(old, forwarded));
                    }
                    failures += 1;
                    if failures == TRIES {
                        return self.give_up(failure, why, old).await;
                    }
                }
            }
        }
    }

    /// The leader is late. One of those who have waited long enough leads in its place; the others go on their own, and
    /// what they get is not stored: many copies of the same would push everything else out.
    async fn overtake(self, why: Forward, old: Option<Stored>) -> Result<Response, Error> {
        let limit = self.shared.rules.lookups.lock_timeout;
        match self.engine.flights.relieve(&self.key, limit) {
            Some(leader) => self.lead(leader, why, old).await,
            None => {
                self.fetch(Plan::alone(why, old).unkept("lock-timeout"))
                    .await
            }
        }
    }

    /// The origin has failed those who asked it for all.
    async fn give_up(
        self,
        failure: Failure,
        why: Forward,
        old: Option<Stored>,
    ) -> Result<Response, Error> {
        if !failure.is_for_all() {
            return self
                .fetch(Plan::alone(why, old).unkept("leader-failed"))
                .await;
        }
        let forwarded = Forwarded {
            collapsed: true,
            ..Forwarded::because(why)
        };
        match failure {
            Failure::Error(kind, word) => {
                self.cx.cache = forwarded.into();
                Err(marked(Error::new(kind).with_word(word), self.cx))
            }
            Failure::Status(status) => {
                let forwarded = Forwarded {
                    status: Some(status),
                    ..forwarded
                };
                self.cx.cache = forwarded.into();
                Ok(failed(&self.cx.cache, status))
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
        let lookup = self.store.lookup(&self.key);
        let stored = within(LOOKUP_LIMIT, lookup).await.ok()?;
        stored.into_iter().find(|stored| stored.id == old.id)
    }

    async fn find_servable(&self) -> Option<Stored> {
        let stored = self.find().await.ok()?.ok()?;
        let verdict = stored.meta.freshness().judge(&self.control, self.now());
        matches!(verdict, Verdict::Serve).then_some(stored)
    }

    /// Whether a stored response may be served in place of the origin's failure.
    pub(super) fn may_stand_in(&self, old: &Stored, why: Forward) -> bool {
        why == Forward::Stale && old.meta.freshness().outlives_errors(self.now())
    }

    pub(super) fn stand_in(&mut self, old: &Stored, forwarded: Forwarded) -> Response {
        let ttl = Some(old.meta.freshness().ttl(self.now()));
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
