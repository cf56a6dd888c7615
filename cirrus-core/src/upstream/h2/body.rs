//! A response's body, relayed in the task of whoever reads it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRAILER};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::session::Lease;
use super::upload::Upload;
use crate::error::BoxError;

/// A response's body. Dropped before its end, the request is given up; the connection goes on.
pub(super) struct ResponseBody {
    stream: Option<Stream>,
    /// What is still to come, if the origin said how much that is.
    left: Option<u64>,
    /// It has announced trailers, so the last byte is not the end.
    trails: bool,
    idle: Duration,
    /// Made when the origin keeps us waiting for the first time.
    timer: Option<Pin<Box<Sleep>>>,
}

/// A request whose response has begun.
pub(super) struct Stream {
    pub(super) receive: RecvStream,
    pub(super) upload: Upload,
    /// Room on the connection, until both sides have ended.
    pub(super) _lease: Lease,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

// === impl ResponseBody ===

impl ResponseBody {
    pub(super) fn new(stream: Stream, headers: &HeaderMap, idle: Duration) -> Self {
        Self {
            stream: Some(stream),
            left: length(headers),
            trails: headers.contains_key(TRAILER),
            idle,
            timer: None,
        }
    }

    /// The next of the content, then the trailers, if there are any.
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        // The request may still be going up while the response comes down.
        if let Poll::Ready(Err(why)) = stream.upload.poll(cx) {
            return Poll::Ready(Some(Err(why.into())));
        }
        let Poll::Ready(frame) = stream.poll_frame(cx) else {
            ready!(self.poll_late(cx));
            return Poll::Ready(Some(Err("the origin stopped sending".into())));
        };
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + self.idle);
        }
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        Poll::Ready(match frame {
            None if self.left.is_some_and(|left| left > 0) => {
                Some(Err("the origin ended the body before its end".into()))
            }
            frame => frame,
        })
    }

    /// Ready when neither side has sent anything for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let sent = self.stream.as_ref().map(|stream| stream.upload.progress);
            match sent.map(|sent| sent + idle) {
                Some(later) if later > Instant::now() => timer.as_mut().reset(later),
                _ => return Poll::Ready(()),
            }
        }
    }
}

// === impl Stream ===

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let data = loop {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                data => break data,
            }
        };
        let error = match data {
            Some(Ok(data)) => {
                // Whoever takes it has room for it. An error means that the stream is over, which the next poll tells.
                let _ = self.receive.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Err(error)) => error,
            None => match ready!(self.receive.poll_trailers(cx)) {
                Ok(trailers) => return Poll::Ready(trailers.map(Frame::trailers).map(Ok)),
                Err(error) => error,
            },
        };
        // The response was complete before the request was (RFC 9113 §8.1).
        if error.is_remote() && error.is_reset() && error.reason() == Some(Reason::NO_ERROR) {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Err(error.into())))
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let frame = self.poll(cx);
        let is_last = match &frame {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if is_last {
            self.stream = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        // Readers that know the length stop at the last byte, without waiting for the frame that ends the stream.
        let whole = self.left == Some(0) && !self.trails;
        let ended = |stream: &Stream| stream.receive.is_end_stream();
        whole || self.stream.as_ref().is_none_or(ended)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
