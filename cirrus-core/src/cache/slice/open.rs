//! One slice: found in the store, or asked for.

use std::sync::Arc;
use std::time::Duration;

use http::header::{IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::source::Inner;
use super::{Changed, ContentRange, Index, is_same};
use crate::body::{Body, Request, Response};
use crate::cache::admission::describe;
use crate::cache::conditional::{is_failure, strip};
use crate::cache::flight::{Landing, Leader, Role};
use crate::cache::key::CacheKey;
use crate::cache::layer::void;
use crate::cache::meta::Meta;
use crate::cache::outage::{CHANGE_LIMIT, LOOKUP_LIMIT, within};
use crate::cache::peer::{may_ask, shortened};
use crate::cache::policy::{Times, is_for_all};
use crate::cache::pump::pump_alone;
use crate::cache::purge::Selection;
use crate::cache::range::Span;
use crate::cache::store::{BodyState, CacheStore, Stored};
use crate::error::{Error, Kind};
use crate::middleware::{Context, Handler};

/// How long a reader waits for a slice that somebody else has asked for before it asks itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it waits before that.
const ROUNDS: u32 = 3;

/// A slice, for whoever had it fetched.
enum Got {
    Stored(Stored),
    /// It is not stored; these are its bytes.
    Passed(Body),
}

/// The origin's answer: a part of the very response that the other slices are of.
struct Part {
    body: Body,
    /// What is stored of it, if it may be.
    meta: Option<Meta>,
}

// === impl Inner ===

impl<S: Handler> Inner<S> {
    /// These bytes, which lie within one slice.
    pub(super) async fn open(self: Arc<Self>, span: Span) -> Result<Body, Error> {
        let number = self.index.number(span.start);
        let key = self.key.slice(self.index.generation, number);
        let deadline = Instant::now() + PATIENCE;
        for _ in 0..ROUNDS {
            if let Some(stored) = self.find(&key).await {
                return Ok(self.within(&stored, span));
            }
            match self.cx.worker.engine.flights.join(&key) {
                Role::Leader(leader) => {
                    return match self.have_fetched(key, number, leader).await? {
                        Got::Stored(stored) => Ok(self.within(&stored, span)),
                        Got::Passed(body) => Ok(cut(body, self.index.span(number), span)),
                    };
                }
                Role::Follower(follower) => match follower.wait(deadline).await {
                    Landing::Found | Landing::Failed(_) => {}
                    Landing::Alone | Landing::Late => break,
                },
            }
        }
        Ok(self.ask(span).await?.body)
    }

    /// What is stored of a slice is read from the slice's own beginning.
    fn within(&self, stored: &Stored, span: Span) -> Body {
        let start = self.index.span(self.index.number(span.start)).start;
        let own = Span {
            start: span.start - start,
            end: span.end - start,
        };
        stored.body.read(own.into())
    }

    pub(super) fn store(&self) -> Option<&dyn CacheStore> {
        self.cx.worker.engine.store.as_deref()
    }

    async fn find(&self, key: &CacheKey) -> Option<Stored> {
        let stored = within(LOOKUP_LIMIT, self.store()?.lookup(key)).await.ok()?;
        stored
            .into_iter()
            .find(|stored| stored.body.state() != BodyState::Failed)
    }

    /// By a task of its own: neither does a slow reader hold up those who wait for the same, nor one who leaves.
    async fn have_fetched(
        self: &Arc<Self>,
        key: CacheKey,
        number: u64,
        leader: Leader,
    ) -> Result<Got, Error> {
        let (tell, told) = oneshot::channel();
        let fetch = Arc::clone(self).fetch(key, number, leader, tell);
        self.cx.worker.engine.tasks.spawn(fetch);
        told.await
            .unwrap_or_else(|_| Err(Error::new(Kind::Internal)))
    }

    async fn fetch(
        self: Arc<Self>,
        key: CacheKey,
        number: u64,
        leader: Leader,
        tell: oneshot::Sender<Result<Got, Error>>,
    ) {
        // Another leader may have landed since the reader looked.
        if let Some(stored) = self.find(&key).await {
            leader.land();
            let _ = tell.send(Ok(Got::Stored(stored)));
            return;
        }
        let part = match self.ask(self.index.span(number)).await {
            Ok(part) => part,
            Err(error) => {
                drop(leader);
                let _ = tell.send(Err(error));
                return;
            }
        };
        let fill = match (self.store(), part.meta) {
            (Some(store), Some(meta)) => within(CHANGE_LIMIT, store.insert(&key, meta)).await.ok(),
            _ => None,
        };
        let Some(fill) = fill else {
            leader.release();
            let _ = tell.send(Ok(Got::Passed(part.body)));
            return;
        };
        let stored = fill.stored();
        let length = stored.meta.length;
        let _ = tell.send(Ok(Got::Stored(stored)));
        leader.land();
        pump_alone(fill, part.body, length).await;
    }

    /// Asks the origin for these bytes.
    async fn ask(&self, span: Span) -> Result<Part, Error> {
        let mut cx = self.cx.detached();
        if may_ask(&cx, &self.request.headers) {
            cx.peering.filling(&self.key);
        }
        let (mut response, mut times) = self.exchange(&mut cx, span).await?;
        // Another edge may have another edition of it. Which one is right is for the origin to say.
        if cx.peering.is_answered && !self.is_part(&response, span) {
            (response, times) = self.exchange(&mut cx, span).await?;
        }
        if is_failure(response.status()) {
            return Err(Error::because(Kind::Exchange, Refused(response.status())));
        }
        if !self.is_part(&response, span) {
            self.give_up().await;
            return Err(Error::because(Kind::Exchange, Changed));
        }
        let meta = self.describe(&cx, response.headers(), span, times);
        Ok(Part {
            body: response.into_body(),
            meta,
        })
    }

    async fn exchange(&self, cx: &mut Context, span: Span) -> Result<(Response, Times), Error> {
        let clock = Arc::clone(&cx.worker.engine.clock);
        let moment = self.store().map(CacheStore::moment).unwrap_or_default();
        let asked = clock.now();
        let request = self.request_for(span);
        let response = self.shared.inner.handle(cx, request).await?;
        let times = Times {
            asked,
            received: clock.now(),
            moment,
        };
        Ok((response, times))
    }

    /// Whether it is these bytes of the very response that the other slices are of.
    fn is_part(&self, response: &Response, span: Span) -> bool {
        let range = ContentRange::of(response.headers());
        let is_asked =
            range.is_some_and(|range| range.span == span && range.total == self.index.total);
        response.status() == StatusCode::PARTIAL_CONTENT
            && is_asked
            && is_same(&self.meta.headers, response.headers())
    }

    fn request_for(&self, span: Span) -> Box<Request> {
        let mut parts = self.request.clone();
        parts.method = Method::GET;
        strip(&mut parts.headers);
        parts.headers.remove(IF_MATCH);
        parts.headers.remove(IF_UNMODIFIED_SINCE);
        parts.headers.insert(RANGE, range(span));
        Box::new(Request::from_parts(parts, Body::empty()))
    }

    /// By the rules that hold for the whole: whoever asked may be somebody whose answers are not stored.
    fn describe(
        &self,
        cx: &Context,
        headers: &HeaderMap,
        span: Span,
        times: Times,
    ) -> Option<Meta> {
        if self.cx.personal && !is_for_all(headers) {
            return None;
        }
        let mut headers = headers.clone();
        headers.remove(http::header::CONTENT_RANGE);
        let (request, rules) = (&self.request.headers, &self.shared.rules);
        let mut whole = describe(request, StatusCode::OK, &headers, rules, times).ok()?;
        whole.set_freshness(shortened(cx, whole.freshness()));
        Some(Index::slice_meta(&whole, span))
    }

    /// What is stored of the response is of one that is no more: the next client begins anew.
    async fn give_up(&self) {
        let Some(store) = self.store() else { return };
        let Ok(stored) = within(LOOKUP_LIMIT, store.lookup(&self.key)).await else {
            return;
        };
        let is_this = |stored: &Stored| Index::of(&stored.meta) == Some(self.index);
        if stored.iter().any(is_this) {
            void(&self.cx.worker, vec![Selection::Url(self.key.clone())]).await;
        }
    }
}

/// The origin fails to give a slice.
#[derive(Debug, thiserror::Error)]
#[error("the origin answered a request for a slice with {0}")]
struct Refused(StatusCode);

/// `Range` for these bytes.
pub(super) fn range(span: Span) -> HeaderValue {
    HeaderValue::try_from(format!("bytes={}-{}", span.start, span.end - 1))
        .unwrap_or(const { HeaderValue::from_static("bytes=0-") })
}

/// The bytes of `span` out of those of `slice`.
fn cut(body: Body, slice: Span, span: Span) -> Body {
    if slice == span {
        return body;
    }
    let skip = span.start - slice.start;
    Body::stream(super::cut::Cut::new(body, skip, span.len()))
}
