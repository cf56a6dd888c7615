//! The engine as a service, for programs with listeners of their own.

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body as HttpBody;

use super::supervise::Drain;
use super::worker::{Worker, Writer};
use crate::body::{Body, Response};
use crate::downstream::Connection;
use crate::error::BoxError;

/// The engine as a service, for programs with listeners of their own: a `tower::Service` for axum and others, a
/// `hyper::service::Service` for a bare accept loop. Cheap to clone; its background work ends with the last clone.
#[derive(Clone, Debug)]
pub struct Proxy {
    worker: Arc<Worker>,
    connection: Option<Arc<Connection>>,
    _background: Arc<Background>,
}

/// Ends what runs in the background.
#[derive(Debug)]
struct Background(Drain);

// === impl Proxy ===

impl Proxy {
    pub(super) fn new(worker: Arc<Worker>, background: Drain) -> Self {
        Self {
            worker,
            connection: None,
            _background: Arc::new(Background(background)),
        }
    }

    /// For the requests of one connection: origins are told its peer, and its scheme is part of every cache key.
    ///
    /// Without it, the connection is an `Arc<Connection>` in a request's extensions, or else unknown: plain, from
    /// `0.0.0.0`.
    #[must_use]
    pub fn on(&self, connection: Connection) -> Self {
        Self {
            connection: Some(Arc::new(connection)),
            ..self.clone()
        }
    }

    /// Answers one request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the request.
    pub fn answer<B>(
        &self,
        request: http::Request<B>,
    ) -> impl Future<Output = Response> + Send + use<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let told = || request.extensions().get::<Arc<Connection>>().cloned();
        let connection = self
            .connection
            .clone()
            .or_else(told)
            .unwrap_or_else(unknown);
        Arc::clone(&self.worker).serve(connection, None, Writer::Map, Box::new(request.map(whole)))
    }
}

/// A body without content needs no box.
fn whole<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        Body::empty()
    } else {
        Body::stream(body)
    }
}

fn unknown() -> Arc<Connection> {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Arc::new(Connection::plain(nowhere, nowhere))
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<B> tower_service::Service<http::Request<B>> for Proxy
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answer = self.answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

impl<B> hyper::service::Service<http::Request<B>> for Proxy
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: http::Request<B>) -> Self::Future {
        let answer = self.answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}
