//! How long a request may take, from its header to its response's last byte.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tower_layer::Layer;

use crate::body::{Body, Request, Response};
use crate::error::{BoxError, Error, Kind};
use crate::metrics::Cells;
use crate::middleware::{Context, Handler};

/// Gives up a request that takes too long: 504 before the response's header, after it the response is cut off.
///
/// What a cache has begun to store goes on: it does not depend on this client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadlineLayer {
    limit: Duration,
}

/// See [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Deadline<H> {
    inner: H,
    limit: Duration,
}

/// A response's body with an end to its time. A client that does not read is cut off when it reads again: until then
/// nobody asks for more.
struct Hurried {
    body: Body,
    timer: Pin<Box<Sleep>>,
    cells: Arc<Cells>,
}

/// The time for the request is over.
#[derive(Debug, thiserror::Error)]
#[error("the deadline of {0:?} is over")]
struct Over(Duration);

// === impl DeadlineLayer ===

impl DeadlineLayer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<H> Layer<H> for DeadlineLayer {
    type Service = Deadline<H>;

    fn layer(&self, inner: H) -> Deadline<H> {
        let limit = self.limit;
        Deadline { inner, limit }
    }
}

// === impl Deadline ===

impl<H: Handler> Handler for Deadline<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Request,
    ) -> Result<Response, Error> {
        let cells = Arc::clone(&cx.worker.cells);
        let until = cx.started + self.limit;
        // A queue before us may have used up everything.
        let answer = if until <= Instant::now() {
            None
        } else {
            timeout_at(until, self.inner.handle(cx, request)).await.ok()
        };
        let Some(answer) = answer else {
            cells.deadlines.add(1);
            return Err(Error::because(Kind::Deadline, Over(self.limit)));
        };
        Ok(answer?.map(|body| hurried(body, until, cells)))
    }
}

/// What is here already is the client's, however late.
fn hurried(body: Body, until: Instant, cells: Arc<Cells>) -> Body {
    if body.as_bytes().is_some() {
        return body;
    }
    Body::stream(Hurried {
        body,
        timer: Box::pin(sleep_until(until)),
        cells,
    })
}

impl HttpBody for Hurried {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.timer.as_mut().poll(cx).is_ready() {
            // The origin's connection is given up with it.
            self.body = Body::empty();
            self.cells.deadlines.add(1);
            return Poll::Ready(Some(Err("the deadline is over".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
