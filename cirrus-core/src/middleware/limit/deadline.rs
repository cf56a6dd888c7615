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
    over: bool,
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
        request: Box<Request>,
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
        over: false,
    })
}

impl HttpBody for Hurried {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.over = true;
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

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Channel};

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    /// Answers after this long, with a body that begins and then never ends.
    struct Slow(Duration);

    impl Handler for Slow {
        async fn handle<'a>(
            &'a self,
            _: &'a mut Context,
            _: Box<Request>,
        ) -> Result<Response, Error> {
            tokio::time::sleep(self.0).await;
            let (mut sender, body) = Channel::<Bytes>::new(1);
            let _ = sender.send_data("begun".into()).await;
            // Kept, so that the body stays open.
            Box::leak(Box::new(sender));
            Ok(Response::new(Body::stream(body)))
        }
    }

    async fn ask(slow: Duration, waited: Duration) -> (Context, Result<Response, Error>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(0)));
        let mut cx = Context::testing(clock, None);
        tokio::time::advance(waited).await;
        let deadline = DeadlineLayer::new(Duration::from_secs(10)).layer(Slow(slow));
        let answer = deadline.handle(&mut cx, Box::default()).await;
        (cx, answer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_header_is_not_waited_for() {
        let (cx, answer) = ask(Duration::from_secs(60), Duration::ZERO).await;
        assert_eq!(answer.unwrap_err().kind(), Kind::Deadline);
        assert_eq!(cx.started.elapsed().as_secs(), 10);
        assert_eq!(cx.worker.cells.deadlines.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_in_a_queue_counts() {
        let (cx, answer) = ask(Duration::from_secs(60), Duration::from_secs(7)).await;
        assert_eq!(answer.unwrap_err().kind(), Kind::Deadline);
        assert_eq!(cx.started.elapsed().as_secs(), 10);
        let (_, answer) = ask(Duration::ZERO, Duration::from_secs(11)).await;
        assert_eq!(answer.unwrap_err().kind(), Kind::Deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_takes_too_long_is_cut_off() {
        let (cx, answer) = ask(Duration::from_secs(3), Duration::ZERO).await;
        let mut body = answer.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((first, cx.started.elapsed().as_secs()), ("begun".into(), 3));
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(cx.started.elapsed().as_secs(), 10);
        assert_eq!(cx.worker.cells.deadlines.get(), 1);
        assert!(body.frame().await.is_none());
    }
}
