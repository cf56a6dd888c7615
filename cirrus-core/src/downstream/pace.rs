//! How slowly a client may send a request's body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::body::Body;
use crate::error::BoxError;
use crate::metrics::Cells;

/// How slowly a client may send a request's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two pieces of it.
    pub(crate) idle: Duration,
    /// Bytes a second over all; 0 for as slowly as one likes.
    pub(crate) rate: u64,
}

/// How long a client may be slower than that at first, TCP's slow start included.
const GRACE: Duration = Duration::from_secs(10);

/// A body whose client keeps the pace, or it ends with an error of [`io::ErrorKind::TimedOut`].
///
/// Time counts only while somebody wants to read and there is nothing to be read: where an origin
/// holds up its request, the client is not to blame. A body that is always there in time never has
/// a timer.
struct Paced {
    body: Body,
    pace: Pace,
    cells: Arc<Cells>,
    bytes: u64,
    /// For how long the client was waited for in all, but for the present wait.
    waited: Duration,
    /// Since when it is waited for.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl Pace ===

impl Pace {
    /// The same body, for a client that keeps the pace. What has no content is passed as it is.
    pub(crate) fn keep(self, body: Body, cells: &Arc<Cells>) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::stream(Paced {
            body,
            pace: self,
            cells: Arc::clone(cells),
            bytes: 0,
            waited: Duration::ZERO,
            since: None,
            timer: None,
        })
    }
}

// === impl Paced ===

impl Paced {
    /// How long the present wait may become.
    fn patience(&self) -> Duration {
        let Some(earned) = (self.bytes * 1000).checked_div(self.pace.rate) else {
            return self.pace.idle;
        };
        let left = (GRACE + Duration::from_millis(earned)).saturating_sub(self.waited);
        left.min(self.pace.idle)
    }

    /// Ready when the client has been waited for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let late = since + self.patience();
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(late)));
        if timer.deadline() != late {
            timer.as_mut().reset(late);
        }
        timer.as_mut().poll(cx)
    }

    fn heard(&mut self, frame: &Frame<Bytes>) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        self.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.heard(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => {
                ready!(this.poll_late(cx));
                this.cells.slow_bodies.add(1);
                Poll::Ready(Some(Err(late().into())))
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

fn late() -> io::Error {
    let why = "the client sends its request's body too slowly";
    io::Error::new(io::ErrorKind::TimedOut, why)
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Channel, channel::Sender};

    use super::*;

    const PACE: Pace = Pace {
        idle: Duration::from_secs(30),
        rate: 100,
    };

    fn before(pace: Pace) -> (Sender<Bytes, BoxError>, Body) {
        let (sender, body) = Channel::<Bytes, BoxError>::new(16);
        (sender, pace.keep(Body::stream(body), &Arc::default()))
    }

    async fn send(client: &mut Sender<Bytes, BoxError>, length: usize) {
        client.send_data(vec![0; length].into()).await.unwrap();
    }

    /// After how many seconds of waiting a body breaks off.
    async fn patience(body: &mut Body) -> u64 {
        let begun = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        let kind = error.downcast_ref::<io::Error>().unwrap().kind();
        assert_eq!(kind, io::ErrorKind::TimedOut);
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_is_not_waited_for() {
        let (mut client, mut body) = before(Pace { rate: 0, ..PACE });
        send(&mut client, 1).await;
        body.frame().await.unwrap().unwrap();
        assert_eq!(patience(&mut body).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_trickles_may_do_so_for_a_while() {
        let (mut client, mut body) = before(PACE);
        let begun = Instant::now();
        let trickle = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                send(&mut client, 50).await;
            }
        };
        let read = async { while body.frame().await.unwrap().is_ok() {} };
        tokio::select! { () = trickle => {} () = read => {} }
        // Each second costs one and earns half a second; ten are given.
        assert_eq!(begun.elapsed().as_secs(), 19);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_wants_to_read_is_not_late() {
        let (mut client, mut body) = before(PACE);
        for _ in 0..5 {
            send(&mut client, 1).await;
            body.frame().await.unwrap().unwrap();
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert_eq!(patience(&mut body).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_keeps_the_pace_may_take_hours() {
        let (mut client, mut body) = before(PACE);
        let steady = async {
            for _ in 0..1000 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                send(&mut client, 900).await;
            }
            drop(client);
        };
        let read = async {
            let mut frames = 0;
            while let Some(frame) = body.frame().await {
                frame.unwrap();
                frames += 1;
            }
            frames
        };
        let ((), frames) = tokio::join!(steady, read);
        assert_eq!(frames, 1000);
    }
}
