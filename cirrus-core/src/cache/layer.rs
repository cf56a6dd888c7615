//! The cache as a station of the request: hit, stale, miss or pass.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Uri;
use http_body::Body as _;
use tower_layer::Layer;

use super::control::Control;
use super::invalidate::{affected, has_changed};
use super::key::CacheKey;
use super::method;
use super::outcome::{Forward, Forwarded};
use super::policy::{Intent, Reason, Rules};
use super::purge::{Purge, Selection};
use super::serve::mark;
use super::store::CacheStore;
use super::visit::Visit;
use crate::body::{Request, Response};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::middleware::{Context, Handler};
use crate::server::Worker;

/// How long a store that cannot be asked is left alone.
const RESPITE: Duration = Duration::from_secs(1);

/// Puts a [`Cache`] around a handler.
#[derive(Clone, Debug)]
pub(crate) struct CacheLayer {
    rules: Rules,
}

/// Answers from the store what it can, and stores what may be.
///
/// It fails open: without a store, and with one that fails, every request goes to the origin.
#[derive(Debug)]
pub(crate) struct Cache<S> {
    shared: Arc<Shared<S>>,
}

/// What requests of one route have in common; revalidations in the background outlive the requests.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) inner: S,
    pub(super) rules: Rules,
    pub(super) outage: Outage,
}

/// When the store was found to be unavailable, in milliseconds; zero: never.
#[derive(Debug, Default)]
pub(super) struct Outage(AtomicU64);

// === impl CacheLayer ===

impl CacheLayer {
    /// A cache that follows these rules.
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache {
            shared: Arc::new(Shared {
                inner,
                rules: self.rules.clone(),
                outage: Outage::default(),
            }),
        }
    }
}

// === impl Cache ===

impl<S> Clone for Cache<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: Handler> Handler for Cache<S> {
    fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'a {
        answer(&self.shared, cx, request)
    }
}

async fn answer<S: Handler>(
    shared: &Arc<Shared<S>>,
    cx: &mut Context,
    request: Box<Request>,
) -> Result<Response, Error> {
    // Counted by this worker alone, unlike the engine: no other core writes to that line of memory.
    let worker = Arc::clone(&cx.worker);
    let engine = &*worker.engine;
    let Some(store) = engine
        .store
        .as_deref()
        .filter(|_| shared.rules.enable || shared.rules.invalidate)
    else {
        return Box::pin(shared.inner.handle(cx, request)).await;
    };
    let control = Control::of_request(request.headers());
    let has_content = !request.body().is_end_stream();
    let intent = Intent::of(request.method(), request.headers(), has_content, &control);
    if !shared.rules.enable && intent != Intent::Unsafe {
        return Box::pin(shared.inner.handle(cx, request)).await;
    }
    match (intent, key(cx, request.uri())) {
        (Intent::Lookup, Some(key)) => {
            let mut visit = Visit {
                shared,
                cx,
                engine,
                store,
                key,
                request: request.into_parts().0,
                control,
            };
            match visit.look().await {
                Ok(response) => Ok(response),
                Err(more) => Box::pin(visit.go_on(more)).await,
            }
        }
        (Intent::Unsafe, Some(key)) if method::is_purge(request.method()) => {
            Box::pin(method::answer(&shared.rules, cx, key, request)).await
        }
        (Intent::Unsafe, Some(key)) => Box::pin(change(shared, cx, store, &key, request)).await,
        (Intent::Pass(reason), _) => Box::pin(pass(shared, cx, request, reason.into())).await,
        (Intent::Lookup | Intent::Unsafe, None) => {
            let forwarded = Forwarded::because(Forward::Bypass).detailed("target");
            Box::pin(pass(shared, cx, request, forwarded)).await
        }
    }
}

/// `None` for a target that is no path, such as `*`.
fn key(cx: &Context, uri: &Uri) -> Option<CacheKey> {
    uri.path_and_query()
        .map(|target| CacheKey::new(cx.scheme, cx.host.as_str(), target))
}

/// Goes to the origin and leaves the store alone.
pub(super) async fn pass<S: Handler>(
    shared: &Shared<S>,
    cx: &mut Context,
    request: Box<Request>,
    forwarded: Forwarded,
) -> Result<Response, Error> {
    cx.cache = forwarded.into();
    let mut response = shared.inner.handle(cx, request).await?;
    mark(&mut response, &forwarded.into());
    Ok(response)
}

/// Goes to the origin; what the store has of it is void once that has succeeded (RFC 9111 §4.4).
async fn change<S: Handler>(
    shared: &Shared<S>,
    cx: &mut Context,
    store: &dyn CacheStore,
    key: &CacheKey,
    request: Box<Request>,
) -> Result<Response, Error> {
    let worry = Worry(Some((Arc::clone(&cx.worker), key.clone())));
    let response = pass(shared, cx, request, Forwarded::because(Forward::Method)).await?;
    if has_changed(response.status()) {
        for key in affected(key, response.headers()) {
            void(store, key).await;
        }
    }
    worry.over();
    Ok(response)
}

/// A change whose end is not known. Dropped, because its client has left, it counts as made: the origin may have made it.
struct Worry(Option<(Arc<Worker>, CacheKey)>);

impl Worry {
    fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for Worry {
    fn drop(&mut self) {
        let Some((worker, key)) = self.0.take() else {
            return;
        };
        let tasks = worker.engine.tasks.clone();
        tasks.spawn(async move {
            if let Some(store) = worker.engine.store.as_deref() {
                void(store, key).await;
            }
        });
    }
}

/// Removes all variants of a URL.
pub(super) async fn void(store: &dyn CacheStore, key: CacheKey) {
    if let Err(error) = store.purge(&Purge::hard(Selection::Url(key))).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a response that is no longer true stays in the store"
        );
    }
}

// === impl Reason ===

impl From<Reason> for Forwarded {
    fn from(reason: Reason) -> Self {
        let why = match reason {
            Reason::Method => Forward::Method,
            Reason::NoStore => Forward::Request,
            Reason::Content | Reason::Upgrade | Reason::Precondition => Forward::Bypass,
        };
        Self::because(why).detailed(reason.detail())
    }
}

// === impl Outage ===

impl Outage {
    /// The store could not be asked. `true` for the first to notice in a while, who should say so.
    pub(super) fn begins(&self, now: Timestamp) -> bool {
        let known = self.lasts(|| now);
        self.0.store(now.as_millis(), Ordering::Relaxed);
        !known
    }

    /// It has been tried so recently that it need not be tried again.
    ///
    /// Mostly there was no outage, and nobody needs to know the time.
    pub(super) fn lasts(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let since = self.0.load(Ordering::Relaxed);
        if since == 0 {
            return false;
        }
        let now = now().as_millis();
        // A clock that was set back must not keep a store shut out.
        since <= now && now - since < RESPITE.as_millis() as u64
    }
}

#[cfg(test)]
mod tests;
