//! The origin is asked, and its answer kept, merged or replaced by what was there before.

use http::{HeaderMap, Method, StatusCode};

use super::admission::{date, describe, kept, omitted};
use super::conditional::{agrees, confirms, is_failure, strip, updated, validate};
use super::control::{CAPABILITY, SURROGATE_CAPABILITY, SURROGATE_CONTROL};
use super::flight::{Failure, Leader};
use super::layer::{marked, void};
use super::meta::{Freshness, Meta};
use super::outage::{CHANGE_LIMIT, within};
use super::outcome::{Forward, Forwarded};
use super::peer::{may_ask as may_ask_peers, shortened, surrogate_label};
use super::policy::{Refusal, Times, is_for_all};
use super::pump::pump_alone;
use super::purge::Selection;
use super::range::Span;
use super::serve::{explain, mark};
use super::slice::{Asked, Index};
use super::store::{Fill, StoreError, Stored};
use super::visit::Visit;
use crate::body::{Body, Request, Response};
use crate::error::Error;
use crate::middleware::Handler;

/// How a request goes to the origin.
pub(super) struct Plan {
    why: Forward,
    /// What the store has, to be confirmed, replaced, or served if the origin fails.
    old: Option<Stored>,
    /// Those who wait for the answer.
    leader: Option<Leader>,
    /// Nobody else could use the answer, so the client's own conditions reach the origin.
    alone: bool,
    /// Why the answer is not stored, whatever it is.
    unkept: Option<&'static str>,
    /// Not in slices.
    whole: bool,
}

// === impl Plan ===

impl Plan {
    pub(super) fn new(why: Forward, old: Option<Stored>) -> Self {
        Self {
            why,
            old,
            leader: None,
            alone: false,
            unkept: None,
            whole: false,
        }
    }

    pub(super) fn alone(why: Forward, old: Option<Stored>) -> Self {
        let alone = old.is_none();
        Self {
            why,
            old,
            leader: None,
            alone,
            unkept: None,
            whole: alone,
        }
    }

    /// Nothing new is stored, for this reason.
    pub(super) fn unkept(mut self, why: &'static str) -> Self {
        self.unkept = Some(why);
        self
    }

    pub(super) fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    pub(super) fn led_by(mut self, leader: Leader) -> Self {
        self.leader = Some(leader);
        self
    }
}

// === impl Visit ===

impl<S: Handler> Visit<'_, S> {
    /// Asks the origin.
    pub(super) async fn fetch(mut self, plan: Plan) -> Result<Response, Error> {
        let Plan {
            why,
            old,
            leader,
            alone,
            unkept,
            whole,
        } = plan;
        let slice = self.first_slice().filter(|_| !whole);
        let (request, is_conditional) = self.outgoing(old.as_ref(), alone, slice);
        self.cx.cache = Forwarded::because(why).into();
        let asked = self.now();
        // Before the request is sent: a purge from now on may be about what is answered.
        let moment = self.store.moment();
        let may_ask = self.request.method == Method::GET && !alone && unkept.is_none();
        if may_ask && may_ask_peers(self.cx, &self.request.headers) {
            self.cx.peering.filling(&self.key);
        }
        let answer = self.shared.inner.handle(self.cx, request).await;
        let times = Times {
            asked,
            received: self.now(),
            moment,
        };
        let failed = match &answer {
            Ok(response) => is_failure(response.status()),
            Err(_) => true,
        };
        // A purge may have come while the origin was asked: what it removed must not stand in.
        let old = if failed {
            self.still_stored(old).await
        } else {
            old
        };
        match (answer, old) {
            (Ok(response), Some(old))
                if is_conditional && response.status() == StatusCode::NOT_MODIFIED =>
            {
                self.confirmed(&old, response.headers(), times, why, leader)
                    .await
            }
            (Ok(response), Some(old))
                if is_failure(response.status()) && self.may_stand_in(&old, why) =>
            {
                let status = response.status();
                fail(leader, Failure::Status(status));
                let forwarded = Forwarded {
                    status: Some(status),
                    ..Forwarded::because(why)
                };
                let mut response = self.stand_in(&old, forwarded);
                explain(
                    &mut response,
                    &format!("received-status={}", status.as_u16()),
                );
                Ok(response)
            }
            (Err(error), Some(old)) if !error.is_client() && self.may_stand_in(&old, why) => {
                fail(leader, Failure::from(&error));
                let mut response = self.stand_in(&old, Forwarded::because(why));
                explain(&mut response, &format!("error={}", error.word()));
                Ok(response)
            }
            (Err(error), _) => {
                // What the leader's own client has done is nothing to the others: dropped, the duty passes on.
                if !error.is_client() {
                    fail(leader, Failure::from(&error));
                }
                Err(marked(error, self.cx))
            }
            (Ok(response), _) if unkept.is_some() => {
                Ok(self.hand_on(response, Forwarded::because(why).detailed(unkept)))
            }
            (Ok(response), Some(old))
                if self.request.method == Method::HEAD && response.status() == StatusCode::OK =>
            {
                self.learn(&old, response.headers(), times).await;
                Ok(self.hand_on(response, Forwarded::because(why)))
            }
            (Ok(response), _) => match slice {
                None => self.keep(response, times, why, leader).await,
                Some(span) => {
                    let asked = Asked {
                        span,
                        times,
                        why,
                        leader,
                    };
                    self.keep_slice(response, asked).await
                }
            },
        }
    }

    /// The request for the origin, and whether it asks for news only.
    fn outgoing(
        &self,
        old: Option<&Stored>,
        alone: bool,
        slice: Option<Span>,
    ) -> (Box<Request>, bool) {
        let mut parts = self.request.clone();
        if !alone {
            strip(&mut parts.headers);
        }
        Self::narrow(&mut parts.headers, slice);
        let is_conditional = old.is_some_and(|old| validate(&mut parts.headers, &old.meta));
        if !alone {
            // In place of a client's: what it is capable of must not decide what others get.
            parts.headers.insert(&SURROGATE_CAPABILITY, CAPABILITY);
        }
        let request = Request::from_parts(parts, Body::empty());
        (Box::new(request), is_conditional)
    }

    /// Stores the answer if that is allowed. Even the first client reads it from the store, at its own pace.
    pub(super) async fn keep(
        mut self,
        response: Response,
        times: Times,
        why: Forward,
        leader: Option<Leader>,
    ) -> Result<Response, Error> {
        let forwarded = Forwarded::because(why);
        if self.request.method != Method::GET {
            return Ok(self.hand_on(response, forwarded));
        }
        let meta = match self.describe(response.status(), response.headers(), times) {
            Ok(meta) => meta,
            Err(refusal) => {
                // A failure says nothing about what comes once the origin is well.
                if is_failure(response.status()) {
                    fail(leader, Failure::Status(response.status()));
                // Nor does a refusal for the sake of whoever asked: dropped, the duty passes on.
                } else if refusal != Refusal::Authorization {
                    release(leader);
                }
                return Ok(self.hand_on(response, forwarded.detailed(refusal.detail())));
            }
        };
        match within(CHANGE_LIMIT, self.store.insert(&self.key, meta)).await {
            Ok(fill) => {
                let own = omitted(response.headers(), &self.shared.rules);
                let mut filled = self.fill(fill, response.into_body(), forwarded, leader);
                filled.headers_mut().extend(own);
                Ok(filled)
            }
            // Dropping the leader has one of those who wait ask anew: after the purge.
            Err(StoreError::Purged) => Ok(self.hand_on(response, forwarded.detailed("purged"))),
            Err(error) => {
                release(leader);
                Ok(self.hand_on(response, forwarded.detailed(self.unstored(&error))))
            }
        }
    }

    pub(super) fn describe(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        times: Times,
    ) -> Result<Meta, Refusal> {
        let mut meta = describe(
            &self.request.headers,
            status,
            headers,
            &self.shared.rules,
            times,
        )?;
        if self.cx.personal && !is_for_all(headers) {
            return Err(Refusal::Authorization);
        }
        meta.set_freshness(shortened(self.cx, meta.freshness()));
        // Found by its URL, when that is purged.
        let label = self.key.more().map(|_| self.key.label());
        let peers = self.cx.snapshot.peers.as_ref();
        let control = peers.and_then(|_| surrogate_label(headers));
        if label.is_some() || control.is_some() {
            meta.tags = meta.tags.and(label.iter().chain(&control));
        }
        Ok(meta)
    }

    fn hand_on(&mut self, mut response: Response, forwarded: Forwarded) -> Response {
        self.cx.cache = forwarded.into();
        response.headers_mut().remove(&SURROGATE_CONTROL);
        mark(&mut response, &self.cx.cache);
        response
    }

    fn fill(
        &mut self,
        fill: Box<dyn Fill>,
        body: Body,
        forwarded: Forwarded,
        leader: Option<Leader>,
    ) -> Response {
        let stored = fill.stored();
        // Before the pump starts: a reader who comes first keeps its object, whatever becomes of the store's.
        let response = self.serve(
            &stored,
            Forwarded {
                stored: true,
                ..forwarded
            },
        );
        self.engine
            .tasks
            .spawn(pump_alone(fill, body, stored.meta.length));
        self.settle(leader, &stored.meta.freshness());
        response
    }

    /// Tells those who wait that there is something to find, or that each needs its own.
    pub(super) fn settle(&self, leader: Option<Leader>, freshness: &Freshness) {
        if !freshness.is_shareable() {
            release(leader);
            return;
        }
        self.engine.flights.forget(&self.key);
        if let Some(leader) = leader {
            leader.land();
        }
    }

    pub(super) fn unstored(&self, error: &StoreError) -> &'static str {
        match error {
            StoreError::Full => "store-full",
            StoreError::Purged => "purged",
            StoreError::Unavailable(_) | StoreError::Damaged(_) => {
                if self.engine.outage.begins(self.now()) {
                    tracing::warn!(
                        error = error as &dyn std::error::Error,
                        "the cache takes no new responses"
                    );
                }
                "store-unavailable"
            }
        }
    }

    /// The origin says that what is stored still holds (RFC 9111 §4.3.4).
    async fn confirmed(
        mut self,
        old: &Stored,
        news: &HeaderMap,
        times: Times,
        why: Forward,
        leader: Option<Leader>,
    ) -> Result<Response, Error> {
        let status = Some(StatusCode::NOT_MODIFIED);
        let forwarded = Forwarded {
            status,
            ..Forwarded::because(why)
        };
        if !confirms(news, &old.meta) {
            // News of another response (RFC 9111 §4.3.4): nothing is known of this one. Without conditions it cannot
            // happen again.
            let plan = Plan {
                why,
                old: None,
                leader,
                alone: false,
                unkept: None,
                whole: false,
            };
            return Box::pin(self.fetch(plan)).await;
        }
        let mut headers = updated(&old.meta.headers, news, &date(times.received));
        Index::carry(&old.meta, &mut headers);
        let (meta, own) = match self.describe(success(old.meta.status), &headers, times) {
            Ok(meta) => {
                let own = omitted(&headers, &self.shared.rules);
                (self.renew(old, meta, leader).await, own)
            }
            Err(refusal) => {
                let meta = self.expel(old, &headers, times, refusal, leader).await;
                (meta, HeaderMap::new())
            }
        };
        let stored = Stored::new(old.id, meta.into(), old.body.clone());
        let mut response = self.serve(&stored, forwarded);
        response.headers_mut().extend(own);
        Ok(response)
    }

    /// The answer to a HEAD tells of what a GET would get (RFC 9111 §4.3.5): that it is what is stored, or that it is not.
    async fn learn(&self, old: &Stored, news: &HeaderMap, times: Times) {
        let size = old.body.size().or(old.meta.length);
        if !agrees(news, &old.meta, size) {
            let mut meta = Meta::clone(&old.meta);
            meta.set_freshness(meta.freshness().expired(times.received));
            self.renew(old, meta, None).await;
            return;
        }
        let headers = updated(&old.meta.headers, news, &date(times.received));
        match self.describe(old.meta.status, &headers, times) {
            Ok(meta) => drop(self.renew(old, meta, None).await),
            Err(refusal) => drop(self.expel(old, &headers, times, refusal, None).await),
        }
    }

    async fn renew(&self, old: &Stored, mut meta: Meta, leader: Option<Leader>) -> Meta {
        (meta.length, meta.status) = (old.meta.length, old.meta.status);
        let refresh = self.store.refresh(&self.key, old.id, meta.clone());
        match within(CHANGE_LIMIT, refresh).await {
            Ok(true) => self.settle(leader, &meta.freshness()),
            // Gone meanwhile: there is nothing to find. One of those who wait asks anew.
            Ok(false) => drop(leader),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a revalidated response stays stale in the store"
                );
                release(leader);
            }
        }
        meta
    }

    /// It still holds, but must not be stored any longer.
    async fn expel(
        &self,
        old: &Stored,
        headers: &HeaderMap,
        times: Times,
        refusal: Refusal,
        leader: Option<Leader>,
    ) -> Meta {
        release(leader);
        // Who asked says nothing about what is stored.
        if refusal != Refusal::Authorization {
            void(&self.cx.worker, vec![Selection::Url(self.key.clone())]).await;
        }
        let freshness = Freshness {
            received: times.received,
            ..Freshness::default()
        };
        Meta::new(old.meta.status, kept(headers, times.received))
            .with_freshness(freshness)
            .with_length(old.meta.length)
    }
}

/// Those who wait hear that the origin failed.
fn fail(leader: Option<Leader>, failure: Failure) {
    if let Some(leader) = leader {
        leader.fail(failure);
    }
}

/// What is stored in slices is judged like the whole.
fn success(stored: StatusCode) -> StatusCode {
    match stored {
        StatusCode::PARTIAL_CONTENT => StatusCode::OK,
        status => status,
    }
}

/// Each of those who wait needs an answer of its own.
pub(super) fn release(leader: Option<Leader>) {
    if let Some(leader) = leader {
        leader.release();
    }
}
