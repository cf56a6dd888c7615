//! Where a user's own tower layers plug in: around routing and everything behind it.
//!
//! They see each request after hygiene (one valid host, one way to write the path, no hop-by-hop fields) and each
//! response as the client will get it, cache hits and errors included. Without any, this file is not on the way.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http_body::Body as HttpBody;
use parking_lot::Mutex;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::{Body, Request, Response};
use crate::error::{BoxError, Error, Kind};
use crate::middleware::{Context, Handler, Stack};

/// Cirrus as a user's layer sees it: a tower service that is always ready.
#[derive(Clone)]
pub struct Plugged(BoxCloneSyncService<Request, Response, BoxError>);

/// One of the user's layers.
pub(crate) type Plug = Box<dyn FnOnce(Plugged) -> Plugged + Send>;

/// The user's layers, with the rest of the engine in their middle.
pub(crate) struct Outer(Plugged);

/// The rest of the engine as a tower service.
#[derive(Clone)]
struct Core(Stack);

/// What the stations know about a request, carried past the user's layers in its extensions. Whoever handles the
/// request again (a retry layer, say) gets a fresh one.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Context>>>);

// === impl Plugged ===

impl Plugged {
    /// Wraps `layer` around it.
    pub(crate) fn wrap<L, B, E>(self, layer: &L) -> Self
    where
        L: Layer<Self>,
        L::Service: Service<Request, Response = http::Response<B>, Error = E>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        E: Into<BoxError> + 'static,
    {
        let service = layer
            .layer(self)
            .map_response(|response| response.map(body))
            .map_err(Into::into);
        Self(BoxCloneSyncService::new(service))
    }
}

impl Service<Request> for Plugged {
    type Response = Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.0.call(request)
    }
}

impl std::fmt::Debug for Plugged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plugged")
    }
}

/// Our own bodies pass as they are; a layer's are boxed.
fn body<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut slot = Some(body);
    match (&mut slot as &mut dyn Any)
        .downcast_mut::<Option<Body>>()
        .and_then(Option::take)
    {
        Some(ours) => ours,
        None => slot.map_or_else(Body::empty, Body::stream),
    }
}

// === impl Outer ===

impl Outer {
    /// The first of `plugs` is the outermost.
    pub(crate) fn new(rest: Stack, plugs: Vec<Plug>) -> Self {
        let core = Plugged(BoxCloneSyncService::new(Core(rest)));
        Self(
            plugs
                .into_iter()
                .rev()
                .fold(core, |inner, plug| plug(inner)),
        )
    }
}

impl Handler for Outer {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        // The user's layers look at headers.
        cx.writes_lines = false;
        let carried = Carried(Arc::new(Mutex::new(Some(cx.again()))));
        request.extensions_mut().insert(Arc::clone(&cx.connection));
        request.extensions_mut().insert(carried.clone());
        let response = self
            .0
            .clone()
            .oneshot(*request)
            .await
            .map_err(|error| Error::because(Kind::Internal, error))?;
        if let Some(told) = carried.0.lock().take() {
            cx.learn(told);
        }
        Ok(response)
    }
}

// === impl Core ===

impl Service<Request> for Core {
    type Response = Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let stack = self.0.clone();
        Box::pin(async move {
            let carried = request.extensions_mut().remove::<Carried>();
            let carried = carried.ok_or("a layer took away the request's extensions")?;
            let mut cx = carried
                .0
                .lock()
                .as_ref()
                .map(Context::again)
                .ok_or("the request is over")?;
            let response = stack.handle(&mut cx, Box::new(request)).await?;
            *carried.0.lock() = Some(cx);
            Ok(response)
        })
    }
}
