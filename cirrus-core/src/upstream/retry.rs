//! Sends a request again, to another endpoint, when that may help and can do no harm.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::header::UPGRADE;
use http::request::Parts;
use tokio::time::Instant;

use super::balance::chance;
use super::forward::Forward;
use super::ledger::Budget;
use super::replay::{Kept, keep};
use crate::body::{Body, Request, Response};
use crate::config::{HedgeAfter, RetryConfig, RetryOn};
use crate::error::{Error, Kind};
use crate::middleware::{Context, Handler};

/// What is tried again, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    attempts: u32,
    on: Box<[RetryOn]>,
    per_try: Option<Duration>,
    back_off: Duration,
    max_back_off: Duration,
    budget: Budget,
    buffer: usize,
    non_idempotent: bool,
    hedge_after: Option<HedgeAfter>,
}

/// See the module. Around what sends a request once.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    inner: Forward,
    rules: Arc<Rules>,
}

/// A request that can be sent as often as it is wanted.
struct Template {
    parts: Parts,
    body: bytes::Bytes,
    /// Doing it twice does what doing it once does, or whoever wrote the configuration says that it may be done twice.
    may: bool,
}

/// Why a request is sent again, as metrics have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Connect,
    Reset,
    Timeout,
    Status,
    Hedge,
}

// === impl Reason ===

impl Reason {
    pub(crate) const COUNT: usize = 5;

    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Connect,
        Self::Reset,
        Self::Timeout,
        Self::Status,
        Self::Hedge,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Hedge => "hedge",
        }
    }
}

// === impl Rules ===

impl Rules {
    pub(crate) fn new(config: &RetryConfig) -> Self {
        Self {
            attempts: u32::from(config.attempts),
            on: config.on.as_slice().into(),
            per_try: config.per_try_timeout.map(|time| time.as_duration()),
            back_off: config.back_off.as_duration(),
            max_back_off: config.max_back_off.as_duration(),
            budget: Budget {
                percent: u64::from(config.budget),
                per_second: u64::from(config.budget_min),
            },
            buffer: usize::try_from(config.buffer.bytes()).unwrap_or(usize::MAX),
            non_idempotent: config.non_idempotent,
            hedge_after: config.hedge_after,
        }
    }

    /// Whether it changes anything.
    pub(crate) fn is_plain(&self) -> bool {
        let once = self.attempts <= 1 || self.on.is_empty();
        once && self.per_try.is_none() && self.hedge_after.is_none()
    }

    /// Why this outcome is worth another try, if it is.
    fn reason(&self, outcome: &Result<Response, Error>) -> Option<Reason> {
        let (on, reason) = match outcome {
            Ok(response) => {
                let status = response.status();
                let wanted = self.on.iter().any(|on| on.is_status(status));
                return wanted.then_some(Reason::Status);
            }
            Err(error) => match error.kind() {
                Kind::Connect | Kind::ConnectTimeout => (RetryOn::Connect, Reason::Connect),
                Kind::Exchange => (RetryOn::Reset, Reason::Reset),
                Kind::Deadline => (RetryOn::Timeout, Reason::Timeout),
                _ => return None,
            },
        };
        self.on.contains(&on).then_some(reason)
    }

    /// Between nothing and a time that doubles with each try: those who failed together do not come back together.
    fn wait(&self, tried: u32) -> Duration {
        let doubled = self.back_off.saturating_mul(1 << (tried - 1).min(16));
        let most = doubled.min(self.max_back_off).as_micros() as usize;
        Duration::from_micros(chance::below(most + 1) as u64)
    }
}

// === impl Retry ===

impl Retry {
    pub(crate) fn new(inner: Forward, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }

    async fn again(&self, cx: &mut Context, request: Box<Request>) -> Result<Response, Error> {
        let (mut parts, body) = request.into_parts();
        let kept = keep(body, self.rules.buffer).await;
        let body = match kept.map_err(|error| Error::from(super::h1::Failed::upload(error)))? {
            Kept::Whole(body) => body,
            Kept::Once(body) => {
                let request = Box::new(Request::from_parts(parts, body));
                return self.in_time(cx, request).await;
            }
        };
        // Its pieces have become one: there is nothing left to be chunked, unless its length was never told.
        let is_framed = parts.headers.contains_key(http::header::CONTENT_LENGTH);
        if !is_framed && !body.is_empty() {
            parts
                .headers
                .insert(http::header::CONTENT_LENGTH, body.len().into());
        }
        let may = self.rules.non_idempotent || parts.method.is_idempotent();
        let template = Template { parts, body, may };
        cx.tried = Some(Arc::default());
        let outcome = self.tries(cx, &template).await;
        cx.tried = None;
        outcome
    }

    async fn tries(&self, cx: &mut Context, template: &Template) -> Result<Response, Error> {
        let mut tried = 1;
        loop {
            let outcome = self.once(cx, template).await;
            let Some(reason) = self.rules.reason(&outcome) else {
                return outcome;
            };
            // Without a connection nothing can have been done.
            let may = template.may || reason == Reason::Connect;
            if !may || tried >= self.rules.attempts || !self.allows(cx, reason) {
                return outcome;
            }
            drop(outcome);
            tokio::time::sleep(self.rules.wait(tried)).await;
            tried += 1;
        }
    }

    /// Takes one out of the budget.
    fn allows(&self, cx: &Context, reason: Reason) -> bool {
        let cells = &cx.worker.cells;
        let allowed = self.inner.cluster().ledger.again(self.rules.budget);
        if allowed {
            cells.retries[reason as usize].add(1);
        } else {
            cells.retry_budget_exhausted.add(1);
        }
        allowed
    }

    async fn once(&self, cx: &mut Context, template: &Template) -> Result<Response, Error> {
        let after = self.rules.hedge_after.filter(|_| template.may);
        let ledger = &self.inner.cluster().ledger;
        let begun = Instant::now();
        let outcome = match after {
            None => self.in_time(cx, template.make()).await,
            Some(HedgeAfter::Time(time)) => self.hedged(cx, template, time.as_duration()).await,
            Some(HedgeAfter::Percentile(percent)) => match ledger.percentile(percent) {
                Some(time) => self.hedged(cx, template, time).await,
                None => self.in_time(cx, template.make()).await,
            },
        };
        if outcome.is_ok() && matches!(after, Some(HedgeAfter::Percentile(_))) {
            ledger.took(begun.elapsed());
        }
        outcome
    }

    /// Asks a second endpoint when the first takes long; whoever answers first has answered.
    async fn hedged(
        &self,
        cx: &mut Context,
        template: &Template,
        after: Duration,
    ) -> Result<Response, Error> {
        let mut beside = cx.again();
        beside.tried.clone_from(&cx.tried);
        beside.claims.clone_from(&cx.claims);
        let mut second = Box::pin(async {
            tokio::time::sleep(after).await;
            if !self.allows(&beside, Reason::Hedge) {
                std::future::pending::<()>().await;
            }
            let outcome = self.inner.handle(&mut beside, template.make()).await;
            (outcome, beside)
        });
        let first = Box::pin(self.in_time(cx, template.make()));
        let (outcome, beside) = match select(first, &mut second).await {
            // The first one's failure is for `tries` to judge.
            Either::Left((outcome, _)) => return outcome,
            Either::Right(((Err(_), _), first)) => return first.await,
            Either::Right(((outcome, beside), _)) => (outcome, beside),
        };
        cx.asked = beside.asked;
        outcome
    }

    async fn in_time(&self, cx: &mut Context, request: Box<Request>) -> Result<Response, Error> {
        let Some(limit) = self.rules.per_try else {
            return self.inner.handle(cx, request).await;
        };
        let due = Instant::now() + limit;
        // Who is waited for then learns it from this.
        cx.due = Some(due);
        let exchange = self.inner.handle(cx, request);
        let late = |_| Error::because(Kind::Deadline, "no response within per_try_timeout");
        tokio::time::timeout_at(due, exchange)
            .await
            .map_err(late)
            .flatten()
    }
}

impl Handler for Retry {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        self.inner.cluster().ledger.asked();
        if request.headers().contains_key(UPGRADE) {
            return self.inner.handle(cx, request).await;
        }
        Box::pin(self.again(cx, request)).await
    }
}

// === impl Template ===

impl Template {
    fn make(&self) -> Box<Request> {
        let body = Body::full(self.body.clone());
        Box::new(Request::from_parts(self.parts.clone(), body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit() {
        chance::seed(5);
        let rules = Rules::new(&RetryConfig::default());
        let longest = |tried| {
            let waits = (0..1000).map(|_| rules.wait(tried).as_millis());
            waits.max().unwrap()
        };
        assert_eq!([1, 2, 3, 9].map(longest), [24, 49, 99, 249]);
    }
}
