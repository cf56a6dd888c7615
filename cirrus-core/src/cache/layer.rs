//! The cache as a station of the request: hit, stale, miss or pass.

use std::future::Future;
use std::sync::Arc;

use http_body::Body as _;
use tower_layer::Layer;

use super::control::SURROGATE_CONTROL;
use super::invalidate::{affected, has_changed};
use super::key::CacheKey;
use super::keying::selections_of;
use super::lookups::Lookups;
use super::method;
use super::outage::{Call, PURGE_LIMIT, until};
use super::outcome::{CACHE_STATUS, Forward, Forwarded, show_key};
use super::policy::{Intent, Reason, Rules};
use super::purge::{Purge, Selection};
use super::serve::mark;
use super::slice::primed;
use super::visit::{More, Visit};
use crate::body::{Request, Response};
use crate::error::Error;
use crate::middleware::{Context, Handler};
use crate::server::Worker;

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
}

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
    mut request: Box<Request>,
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
    if !shared.rules.enable && request.method().is_safe() {
        return Box::pin(shared.inner.handle(cx, request)).await;
    }
    let lookups = &*shared.rules.lookups;
    let control = lookups.control(request.headers());
    let has_content = !request.body().is_end_stream();
    let intent = Intent::of(request.method(), request.headers(), has_content, &control);
    match intent {
        Intent::Lookup => {
            if let Some(why) = lookups.bypassed(&request) {
                let forwarded = Forwarded::because(Forward::Bypass).detailed(why);
                return Box::pin(pass(shared, cx, request, forwarded)).await;
            }
            let adapted = lookups.adapt(cx, &mut request);
            let Some(key) = key(lookups, cx, &request) else {
                return Box::pin(pass(shared, cx, request, no_target())).await;
            };
            let shown = lookups.shows_key.then(|| key.clone());
            let mut visit = Visit {
                shared,
                cx,
                engine,
                store,
                key,
                request: request.into_parts().0,
                control,
            };
            let mut answer = match visit.look().await {
                Ok(response) => Ok(response),
                Err(more) => Box::pin(go_on(visit, more)).await,
            };
            adapted.restore(cx);
            if let Some((key, Ok(response))) = shown.zip(Some(&mut answer)) {
                show_key(response, &key);
            }
            answer
        }
        Intent::Unsafe => match request.uri().path_and_query() {
            Some(target) => {
                let key = CacheKey::new(cx.scheme, cx.host.as_str(), target);
                if method::is_purge(request.method()) {
                    return Box::pin(method::answer(&shared.rules, cx, key, request)).await;
                }
                Box::pin(change(shared, cx, &key, request)).await
            }
            None => Box::pin(pass(shared, cx, request, no_target())).await,
        },
        Intent::Pass(reason) => Box::pin(pass(shared, cx, request, reason.into())).await,
    }
}

/// What takes more than a look: in a future of its own, which a hit needs no room for.
async fn go_on<S: Handler>(visit: Visit<'_, S>, more: More) -> Result<Response, Error> {
    let (shared, cx) = (visit.shared, visit.cx);
    let visit = Visit {
        cx: &mut *cx,
        ..visit
    };
    let response = visit.go_on(more).await?;
    primed(shared, cx, response).await
}

/// `None` for a target that is no path, such as `*`.
fn key(lookups: &Lookups, cx: &Context, request: &Request) -> Option<CacheKey> {
    let target = request.uri().path_and_query()?;
    Some(lookups.key(cx, target, request.headers()))
}

fn no_target() -> Forwarded {
    Forwarded::because(Forward::Bypass).detailed("target")
}

/// An error's response, too, says what the cache did.
pub(super) fn marked(error: Error, cx: &Context) -> Error {
    match cx.cache.header() {
        Some(member) => error.with_field(CACHE_STATUS.clone(), member),
        None => error,
    }
}

/// Goes to the origin and leaves the store alone.
pub(super) async fn pass<S: Handler>(
    shared: &Shared<S>,
    cx: &mut Context,
    request: Box<Request>,
    forwarded: Forwarded,
) -> Result<Response, Error> {
    cx.cache = forwarded.into();
    match shared.inner.handle(cx, request).await {
        Ok(mut response) => {
            response.headers_mut().remove(&SURROGATE_CONTROL);
            mark(&mut response, &forwarded.into());
            Ok(response)
        }
        Err(error) => Err(marked(error, cx)),
    }
}

/// Goes to the origin; what the store has of it is void once that has succeeded (RFC 9111 §4.4).
async fn change<S: Handler>(
    shared: &Shared<S>,
    cx: &mut Context,
    key: &CacheKey,
    request: Box<Request>,
) -> Result<Response, Error> {
    let keyings = &*shared.rules.lookups.site_keyings;
    let worry = Worry(Some((Arc::clone(&cx.worker), selections_of(keyings, key))));
    let response = pass(shared, cx, request, Forwarded::because(Forward::Method)).await?;
    if has_changed(response.status()) {
        let keys = affected(key, response.headers());
        let what = keys.iter().flat_map(|key| selections_of(keyings, key));
        void(&cx.worker, what.collect()).await;
    }
    worry.over();
    Ok(response)
}

/// A change whose end is not known. Dropped, because its client has left, it counts as made: the origin may have made it.
struct Worry(Option<(Arc<Worker>, Vec<Selection>)>);

impl Worry {
    fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for Worry {
    fn drop(&mut self) {
        if let Some((worker, what)) = self.0.take() {
            let tasks = worker.engine.tasks.clone();
            tasks.spawn(purge(worker, what));
        }
    }
}

/// Removes what is no longer true. A store that takes too long goes on without anybody waiting for it.
pub(super) async fn void(worker: &Arc<Worker>, what: Vec<Selection>) {
    let owner = Arc::clone(worker);
    let call: Call<'static, ()> = Box::pin(async move {
        purge(owner, what).await;
        Ok(())
    });
    if let Err(call) = until(PURGE_LIMIT, call).await {
        worker.engine.tasks.spawn(async {
            let _ = call.await;
        });
    }
}

async fn purge(worker: Arc<Worker>, what: Vec<Selection>) {
    let Some(store) = worker.engine.store.as_deref() else {
        return;
    };
    for selection in what {
        let purge = Purge::hard(selection);
        worker.engine.purges.note(&purge);
        if let Err(error) = store.purge(&purge).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a response that is no longer true stays in the store"
            );
        }
    }
}

// === impl Reason ===

impl From<Reason> for Forwarded {
    fn from(reason: Reason) -> Self {
        let why = match reason {
            Reason::Method => Forward::Method,
            Reason::NoStore => Forward::Request,
            Reason::Content | Reason::Upgrade => Forward::Bypass,
        };
        Self::because(why).detailed(reason.detail())
    }
}

#[cfg(test)]
mod tests;
