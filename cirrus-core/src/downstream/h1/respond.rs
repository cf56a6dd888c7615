//! A response goes to its client.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Broken;
use super::encode::{self, Framing, Next};
use super::link::Link;
use super::session::Facts;
use super::waits::{Event, Waits};
use crate::body::{Body, Response};
use crate::codec::write;
use crate::server::Worker;

/// The content of a response on its way.
struct Content {
    body: Body,
    framing: Framing,
    takes_trailers: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More of it may come.
    Open,
    /// The last of it waits to be written.
    Ended,
    /// Its source failed, or gave more or less than was announced.
    Failed,
}

/// Writes a response as it comes; whether another request may follow.
pub(super) async fn respond<IO: AsyncRead + AsyncWrite + Unpin>(
    link: &Arc<Mutex<Link<IO>>>,
    response: Response,
    facts: Facts,
    patience: Duration,
    waits: &mut Waits,
    worker: &Worker,
) -> Result<bool, Broken> {
    let (parts, mut body) = response.into_parts();
    let lines = body.take_lines();
    let length = body.size_hint().exact();
    let framing = Framing::of(parts.status, facts.is_head, length, facts.version);
    let next = {
        let mut link = link.lock();
        let next = next(&mut link, parts.status, facts, framing, waits);
        let head = encode::Head {
            status: parts.status,
            headers: &parts.headers,
            lines: lines.as_ref(),
            framing,
            next,
            version: facts.version,
        };
        head.write(link.out(), &*worker.engine.clock);
        next
    };
    let mut content = Content::new(body, framing, facts.takes_trailers);
    let mut blocked = false;
    let sent = poll_fn(|cx| {
        loop {
            let is_waiting = content.poll_fill(link, cx).is_pending();
            let (written, has_moved) = {
                let mut link = link.lock();
                (link.poll_write(cx), link.has_moved())
            };
            match written {
                Poll::Ready(written) => {
                    written?;
                    blocked = false;
                }
                Poll::Pending => {
                    // Every byte counts: a slow client is not one that takes nothing.
                    if !std::mem::replace(&mut blocked, true) || has_moved {
                        waits.until(Instant::now() + patience);
                    }
                    return poll_waits(waits, cx);
                }
            }
            match content.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Failed => return Poll::Ready(Err(Broken::Aborted)),
                State::Open if is_waiting => {
                    waits.forever();
                    if link.lock().poll_gone(cx).is_ready() {
                        return Poll::Ready(Err(Broken::Gone));
                    }
                    return poll_waits(waits, cx);
                }
                State::Open => {}
            }
        }
    })
    .await;
    if sent.is_err() {
        content.body.give_up();
    }
    sent.map(|()| next == Next::KeepAlive)
}

/// What comes after this response.
fn next<IO>(
    link: &mut Link<IO>,
    status: StatusCode,
    facts: Facts,
    framing: Framing,
    waits: &Waits,
) -> Next {
    let is_awaited = link.upload.answered();
    // Behind a body that nobody reads to its end, or that may never come, there is no next request to be found.
    let is_open = link.upload.is_open() && !link.upload.is_abandoned && !is_awaited;
    let is_followed = link.upload.is_done() || is_open;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        Next::Switch
    } else if facts.keeps_alive && is_followed && framing != Framing::Close && !waits.is_draining()
    {
        Next::KeepAlive
    } else {
        Next::Close
    }
}

/// Draining ends nothing that is under way before its time is over.
fn poll_waits(waits: &mut Waits, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
    loop {
        match ready!(waits.poll(cx)) {
            Event::Draining => {}
            Event::Late => return Poll::Ready(Err(Broken::Stuck)),
            Event::Over => return Poll::Ready(Err(Broken::Drained)),
        }
    }
}

// === impl Content ===

impl Content {
    fn new(body: Body, framing: Framing, takes_trailers: bool) -> Self {
        let state = if framing.has_content() {
            State::Open
        } else {
            State::Ended
        };
        Self {
            body,
            framing,
            takes_trailers,
            state,
        }
    }

    /// Takes what there is of the body until there is enough to write. Pending: the body has nothing more yet.
    ///
    /// The lock is never held while the body is polled: it may read the request's body from the same connection.
    fn poll_fill<IO>(&mut self, link: &Mutex<Link<IO>>, cx: &mut Context<'_>) -> Poll<()> {
        while self.state == State::Open && link.lock().has_room() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.push(&mut link.lock(), frame),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a response broke off");
                    self.state = State::Failed;
                }
                None => self.end(&mut link.lock(), None),
            }
        }
        if self.state == State::Ended && link.lock().is_short() {
            // What is left goes out in one write. Whoever has read it finds the request counted and logged.
            self.body = Body::empty();
        }
        Poll::Ready(())
    }

    fn push<IO>(&mut self, link: &mut Link<IO>, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => self.push_data(link, data),
            Err(frame) => {
                let trailers = frame.into_trailers().ok();
                self.end(link, trailers.filter(|_| self.takes_trailers));
            }
        }
    }

    fn push_data<IO>(&mut self, link: &mut Link<IO>, data: Bytes) {
        match &mut self.framing {
            Framing::Chunked => link.push_chunk(data),
            Framing::Close => link.push(data),
            Framing::None => self.state = State::Failed,
            Framing::Length(left) => match left.checked_sub(data.len() as u64) {
                Some(rest) => {
                    *left = rest;
                    link.push(data);
                    if rest == 0 {
                        self.state = State::Ended;
                    }
                }
                None => self.state = State::Failed,
            },
        }
    }

    fn end<IO>(&mut self, link: &mut Link<IO>, trailers: Option<HeaderMap>) {
        self.state = match self.framing {
            // It ended before its time: the client must not take it for whole.
            Framing::Length(1..) => State::Failed,
            Framing::Chunked => {
                let mut last = Vec::with_capacity(8);
                write::last_chunk(&mut last, trailers.as_ref());
                link.push_line(&last);
                State::Ended
            }
            Framing::Length(0) | Framing::None | Framing::Close => State::Ended,
        };
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;
    use crate::body::{AtEnd, Ended};
    use crate::clock::{ManualClock, Timestamp};
    use crate::downstream::h1::room::Room;
    use crate::middleware::Context as Request;

    const SIZE: usize = 128 * 1024;

    struct Tell(Arc<Mutex<Option<Ended>>>);

    impl AtEnd for Tell {
        fn passed(&mut self, _: usize) {}

        fn ended(self: Box<Self>, how: Ended) {
            *self.0.lock() = Some(how);
        }
    }

    /// Answers with 128 KiB to a client with room for 1 KiB that is waited for 10 s; and how that is told to the log.
    async fn answer(near: DuplexStream) -> (Result<bool, Broken>, Option<Ended>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(0)));
        let worker = Request::testing(clock, None).worker;
        let facts = Facts {
            version: http::Version::HTTP_11,
            is_head: false,
            keeps_alive: true,
            takes_trailers: false,
        };
        let link = Arc::new(Mutex::new(Link::new(near, &[], false, Room::testing())));
        let mut waits = Waits::new(&worker.drain, Instant::now());
        let how = Arc::default();
        let body = Body::full(vec![b'x'; SIZE]).watched(Box::new(Tell(Arc::clone(&how))));
        let (response, patience) = (Response::new(body), Duration::from_secs(10));
        let answered = respond(&link, response, facts, patience, &mut waits, &worker).await;
        let how = how.lock().take();
        (answered, how)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_everything() {
        let (near, mut far) = tokio::io::duplex(1024);
        let client = async {
            let (mut taken, mut buffer) = (0, [0; 1024]);
            while let Ok(count @ 1..) = far.read(&mut buffer).await {
                taken += count;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            taken
        };
        let ((answered, how), taken) = tokio::join!(answer(near), client);
        assert!(answered.unwrap() && taken > SIZE, "{taken}");
        assert_eq!(how, Some(Ended::Whole));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_left() {
        let (near, mut far) = tokio::io::duplex(1024);
        let begun = Instant::now();
        let answering = answer(near);
        let client = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            far.read_exact(&mut [0; 100]).await.unwrap();
        };
        let ((answered, how), ()) = tokio::join!(answering, client);
        assert!(matches!(answered, Err(Broken::Stuck)));
        assert_eq!(how, Some(Ended::Dropped));
        assert_eq!(begun.elapsed().as_secs(), 15);
    }
}
