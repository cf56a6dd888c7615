//! Tells the client the session that its requests belong to.

use http::header::SET_COOKIE;
use tower_layer::Layer;

use crate::body::{Request, Response};
use crate::error::Error;
use crate::middleware::{Context, Handler};

/// Above the cache: what is stored must not bring one client's session to others, and is stored whether there are
/// sessions or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StickyLayer;

/// See [`StickyLayer`].
#[derive(Clone, Debug)]
pub(crate) struct TellSession<H>(H);

// === impl StickyLayer ===

impl<H> Layer<H> for StickyLayer {
    type Service = TellSession<H>;

    fn layer(&self, inner: H) -> TellSession<H> {
        TellSession(inner)
    }
}

// === impl TellSession ===

impl<H: Handler> Handler for TellSession<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        let mut response = self.0.handle(cx, request).await?;
        if let Some(cookie) = cx.asked.as_mut().and_then(|asked| asked.tell.take()) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }
}
