//! The origin is asked for a slice, and its answer becomes an index and that slice, or something else.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::open::range;
use super::{ContentRange, Index, Source, can_be_sliced, generation};
use crate::body::{Body, Request, Response};
use crate::cache::fetch::{Plan, release};
use crate::cache::flight::Leader;
use crate::cache::key::CacheKey;
use crate::cache::layer::pass;
use crate::cache::meta::Meta;
use crate::cache::outage::{CHANGE_LIMIT, LOOKUP_LIMIT, within};
use crate::cache::outcome::{CacheOutcome, Forward, Forwarded};
use crate::cache::policy::{Refusal, Times};
use crate::cache::precondition::{Judgement, judge};
use crate::cache::pump::pump_alone;
use crate::cache::range::{Part, Span, first_wanted};
use crate::cache::store::{BodyState, StoreError, Stored};
use crate::cache::visit::Visit;
use crate::error::Error;
use crate::middleware::Handler;

/// A fetch of a slice that has been answered.
pub(in crate::cache) struct Asked {
    pub(in crate::cache) span: Span,
    pub(in crate::cache) times: Times,
    pub(in crate::cache) why: Forward,
    pub(in crate::cache) leader: Option<Leader>,
}

/// The slices that a client gets bytes of.
struct Needed {
    first: CacheKey,
    /// The first is all of them.
    is_one: bool,
}

// === impl Visit ===

impl<S: Handler> Visit<'_, S> {
    /// The slice to ask for when nothing is known of the response yet: the one that this client needs first.
    pub(in crate::cache) fn first_slice(&self) -> Option<Span> {
        let size = self.shared.rules.slice?;
        if self.request.method != Method::GET
            || self.engine.flights.goes_alone(&self.key.unsliced())
        {
            return None;
        }
        let start = first_wanted(&self.request.headers) / size * size;
        let end = start.checked_add(size)?;
        Some(Span { start, end })
    }

    /// Asks for a slice instead of whatever the client wants.
    pub(in crate::cache) fn narrow(headers: &mut HeaderMap, slice: Option<Span>) {
        if let Some(span) = slice {
            headers.insert(RANGE, range(span));
        }
    }

    /// Whether an index that was found is one of slices as this route has them; true of what is no index.
    pub(in crate::cache) fn can_read(&self, stored: &Meta) -> bool {
        stored.status != StatusCode::PARTIAL_CONTENT
            || Index::of(stored).is_some_and(|index| Some(index.size) == self.shared.rules.slice)
    }

    /// The whole that an index stands for; `None` for what is no index.
    pub(in crate::cache) fn assembled(&self, stored: &Stored) -> Option<Stored> {
        let index = Index::of(&stored.meta)?;
        let meta = Arc::new(index.whole(&stored.meta));
        let (cx, request, key) = (self.cx.detached(), self.request.clone(), self.key.clone());
        let source = Source::new(self.shared, cx, request, key, index, Arc::clone(&meta));
        Some(Stored::new(stored.id, meta, Arc::new(source)))
    }

    /// Answers by a fresh index. If the first slice is not there yet, that is no hit.
    pub(in crate::cache) async fn sliced(mut self, stored: &Stored) -> Response {
        let ttl = stored.meta.freshness().ttl(self.now());
        let Some(needed) = self.needed(stored) else {
            return self.serve(stored, CacheOutcome::Hit { ttl });
        };
        let is_there = self.has_slice(&needed.first).await;
        // Without looking for all of many slices nobody knows that none of them is missing.
        if self.control.only_if_cached && !(is_there && needed.is_one) {
            return self.refuse();
        }
        let missed = Forwarded {
            stored: true,
            ..Forwarded::because(Forward::UriMiss)
        };
        let outcome = if is_there {
            CacheOutcome::Hit { ttl }
        } else {
            missed.detailed("slice").into()
        };
        self.serve(stored, outcome)
    }

    /// The slices that this client gets bytes of; `None` if it gets none.
    fn needed(&self, stored: &Stored) -> Option<Needed> {
        let (request, meta) = (&self.request.headers, &stored.meta);
        let index = Index::of(meta)?;
        if self.request.method != Method::GET || judge(request, meta) != Judgement::Perform {
            return None;
        }
        let whole = Span {
            start: 0,
            end: index.total,
        };
        let spans = match Part::of(request, &meta.headers, index.total) {
            Part::Whole => vec![whole],
            Part::Of(span) => vec![span],
            Part::Several(spans) => spans,
            Part::Unsatisfiable => return None,
        };
        let first = index.number(spans.first()?.start);
        let is_first = |span: &Span| index.span(first).holds(*span);
        Some(Needed {
            first: self.key.slice(index.generation, first),
            is_one: spans.iter().all(is_first),
        })
    }

    async fn has_slice(&self, key: &CacheKey) -> bool {
        let found = within(LOOKUP_LIMIT, self.store.lookup(key))
            .await
            .unwrap_or_default();
        found
            .iter()
            .any(|stored| stored.body.state() != BodyState::Failed)
    }

    /// What becomes of the answer to a request for a slice.
    pub(in crate::cache) async fn keep_slice(
        self,
        mut response: Response,
        asked: Asked,
    ) -> Result<Response, Error> {
        let span = asked.span;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = ContentRange::of(response.headers());
                match range.filter(|range| range.answers(span)) {
                    // ## It is all in this slice => whole
                    Some(range) if range.is_whole() => {
                        *response.status_mut() = StatusCode::OK;
                        let headers = response.headers_mut();
                        headers.remove(CONTENT_RANGE);
                        headers.insert(CONTENT_LENGTH, HeaderValue::from(range.total));
                        self.keep(response, asked.times, asked.why, asked.leader)
                            .await
                    }
                    // ## Other slices can be told to belong to it => index
                    Some(range) if can_be_sliced(response.headers()) => {
                        self.keep_index(response, range, asked).await
                    }
                    _ => self.unsliced(asked.why, asked.leader, true).await,
                }
            }
            // ## There are no such bytes, which says nothing about others
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let is_empty = span.start == 0;
                self.unsliced(asked.why, asked.leader, is_empty).await
            }
            // ## The origin gives everything at once, or nothing => like any other
            status => {
                if status == StatusCode::OK {
                    self.engine.flights.remember(&self.key.unsliced());
                }
                self.keep(response, asked.times, asked.why, asked.leader)
                    .await
            }
        }
    }

    async fn keep_index(
        mut self,
        response: Response,
        range: ContentRange,
        asked: Asked,
    ) -> Result<Response, Error> {
        let (why, leader) = (asked.why, asked.leader);
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(CONTENT_RANGE);
        parts.headers.remove(CONTENT_LENGTH);
        let whole = match self.describe(StatusCode::OK, &parts.headers, asked.times) {
            Ok(whole) => whole,
            // Who asked says nothing about what others would get.
            Err(refusal) => {
                let is_general = refusal != Refusal::Authorization;
                return self.unsliced(why, leader, is_general).await;
            }
        };
        let index = Index {
            size: asked.span.len(),
            total: range.total,
            generation: generation(),
        };
        match self.insert_index(index, &whole, range.span, body).await {
            Ok(stored) => {
                self.settle(leader, &whole.freshness());
                let forwarded = Forwarded {
                    stored: true,
                    ..Forwarded::because(why)
                };
                Ok(self.serve(&stored, forwarded))
            }
            Err(StoreError::Purged) => {
                drop(leader);
                let forwarded = Forwarded::because(why).detailed("purged");
                self.ask_as_it_came(forwarded).await
            }
            Err(error) => {
                release(leader);
                let forwarded = Forwarded::because(why).detailed(self.unstored(&error));
                self.ask_as_it_came(forwarded).await
            }
        }
    }

    /// The slice is there before the index, so that whoever finds one finds the other.
    async fn insert_index(
        &self,
        index: Index,
        whole: &Meta,
        span: Span,
        body: Body,
    ) -> Result<Stored, StoreError> {
        let fill = within(
            CHANGE_LIMIT,
            self.store.insert(&self.key, index.meta(whole)),
        )
        .await?;
        let key = self.key.slice(index.generation, index.number(span.start));
        let slice = Index::slice_meta(whole, span);
        // One that is not taken is fetched again, and passed on.
        if let Ok(fill) = within(CHANGE_LIMIT, self.store.insert(&key, slice)).await {
            let pump = pump_alone(fill, body, Some(span.len()));
            self.engine.tasks.spawn(pump);
        }
        let stored = fill.stored();
        // It is found already, so nobody waits until it is kept: neither the client, nor those who wait for its leader.
        let pump = pump_alone(fill, Body::empty(), Some(0));
        self.engine.tasks.spawn(pump);
        Ok(stored)
    }

    /// It cannot be had in slices: a client who wants it whole fetches it whole, one who wants a part asks for that.
    async fn unsliced(
        self,
        why: Forward,
        leader: Option<Leader>,
        is_general: bool,
    ) -> Result<Response, Error> {
        if is_general {
            self.engine.flights.remember(&self.key.unsliced());
        }
        if self.request.headers.contains_key(RANGE) {
            if is_general {
                release(leader);
            }
            let forwarded = Forwarded::because(why).detailed("unsliced");
            return self.ask_as_it_came(forwarded).await;
        }
        let plan = Plan::new(why, None).whole();
        let plan = match leader {
            Some(leader) => plan.led_by(leader),
            None => plan,
        };
        Box::pin(self.fetch(plan)).await
    }

    async fn ask_as_it_came(self, forwarded: Forwarded) -> Result<Response, Error> {
        let request = Box::new(Request::from_parts(self.request, Body::empty()));
        pass(self.shared, self.cx, request, forwarded).await
    }
}
