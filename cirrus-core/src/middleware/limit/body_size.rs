//! How large a request's body may be.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use futures_util::future::Either;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower_layer::Layer;

use crate::body::{Body, Request, Response};
use crate::error::{BoxError, Error, Kind};
use crate::metrics::Cells;
use crate::middleware::{Context, Handler};

/// Refuses requests whose bodies are too large: before anything else is done if they say so, otherwise as soon as they
/// have grown too large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodySizeLayer {
    most: u64,
}

/// See [`BodySizeLayer`].
#[derive(Clone, Debug)]
pub(crate) struct BodySize<H> {
    inner: H,
    most: u64,
}

/// A body of unknown length that breaks off when it grows too large.
struct Measured {
    body: Body,
    left: u64,
    cells: Arc<Cells>,
}

/// The error a body of a request breaks off with when it grows too large.
#[derive(Debug, thiserror::Error)]
#[error("the request's body is larger than the route takes")]
struct TooLarge;

/// Whether a request's body broke off because it was too large: the client's doing, and answered 413.
pub(crate) fn is_too_large(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<TooLarge>() {
            return true;
        }
        cause = error.source();
    }
    false
}

// === impl BodySizeLayer ===

impl BodySizeLayer {
    /// At most so many bytes, or any number of them.
    pub(crate) fn new(most: Option<u64>) -> Self {
        let most = most.unwrap_or(u64::MAX);
        Self { most }
    }
}

impl<H> Layer<H> for BodySizeLayer {
    type Service = BodySize<H>;

    fn layer(&self, inner: H) -> BodySize<H> {
        let most = self.most;
        BodySize { inner, most }
    }
}

// === impl BodySize ===

impl<H: Handler> Handler for BodySize<H> {
    fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'a {
        match request.body().size_hint().exact() {
            Some(length) if length > self.most => {
                cx.worker.cells.bodies_too_large.add(1);
                Either::Right(async { Err(Error::because(Kind::TooLarge, TooLarge)) })
            }
            Some(_) => Either::Left(self.inner.handle(cx, request)),
            None if self.most == u64::MAX => Either::Left(self.inner.handle(cx, request)),
            None => {
                let (left, cells) = (self.most, Arc::clone(&cx.worker.cells));
                let measured = |body| Body::stream(Measured { body, left, cells });
                let request = Box::new(request.map(measured));
                Either::Left(self.inner.handle(cx, request))
            }
        }
    }
}

impl HttpBody for Measured {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let length = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Poll::Ready(frame)
            }
            None => {
                self.cells.bodies_too_large.add(1);
                Poll::Ready(Some(Err(TooLarge.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
