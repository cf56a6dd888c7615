//! What happens around every request.

pub(crate) mod access;
mod access_log;
mod chance;
mod claims;
mod client;
mod compression;
mod context;
mod cors;
mod dispatch;
mod forwarded;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod headers;
pub mod limit;
mod policies;
mod record;
mod request_id;
mod rescue;
mod rewrite;
mod stack;
mod tls;
mod trace_context;

use crate::body::{Request, Response};
use crate::error::Error;
pub(crate) use access_log::{AccessLog, keep_flushed};
pub(crate) use claims::Claims;
pub(crate) use client::client_address;
pub(crate) use compression::Rules as Compression;
pub use context::Context;
pub(crate) use cors::Rules as Cors;
pub(crate) use dispatch::{Unmatched, seen_path};
pub(crate) use forwarded::ForwardedLayer;
pub(crate) use headers::{Edit, Edits};
pub(crate) use policies::{Guards, Policies};
pub(crate) use record::Record;
pub(crate) use request_id::RequestIdLayer;
pub(crate) use rescue::refusal;
pub(crate) use rewrite::Rule as Rewrite;
pub(crate) use stack::{Changes, answer, front, gateway, upstream};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
pub(crate) use tls::{SiteTls, ToTls};

/// One station of a request inside the engine.
///
/// Like `hyper::service::Service` it takes `&self` and is always ready: admission happens inside [`handle`](Self::handle)
/// and ends in an error that becomes a 503. What stations tell each other about a request goes through the [`Context`],
/// which costs no map and no allocation.
pub trait Handler: Send + Sync + 'static {
    /// Answers the request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the request: the origin's connection is closed unless a cache fill wants it.
    fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'a;
}

/// A finished stack: nothing outside this module can name its layers. The seam costs one box per request.
#[derive(Clone)]
pub struct Stack(Arc<dyn DynHandler>);

trait DynHandler: Send + Sync {
    fn handle<'a>(&'a self, cx: &'a mut Context, request: Box<Request>) -> BoxFuture<'a>;
}

type BoxFuture<'a> = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send + 'a>>;

// === impl Stack ===

impl Stack {
    /// Closes a stack.
    pub fn new(handler: impl Handler) -> Self {
        Self(Arc::new(handler))
    }
}

impl Handler for Stack {
    fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'a {
        self.0.handle(cx, request)
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stack")
    }
}

impl<H: Handler> DynHandler for H {
    fn handle<'a>(&'a self, cx: &'a mut Context, request: Box<Request>) -> BoxFuture<'a> {
        Box::pin(Handler::handle(self, cx, request))
    }
}
