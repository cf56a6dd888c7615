//! A request's body, sent as fast as the origin takes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::Body as _;
use tokio::time::Instant;

use crate::body::Body;
use crate::codec::write::may_trail;
use crate::error::BoxError;
use crate::upstream::h1::Why;

/// A request's body. Nothing is taken from it that there is no room for.
pub(super) struct Upload {
    /// `None` once everything is sent, or the origin takes no more.
    send: Option<SendStream<Bytes>>,
    body: Body,
    /// Taken from the body, still to be sent.
    chunk: Bytes,
    /// Something was taken from the body: it cannot be sent again.
    touched: bool,
    /// When bytes last went to the origin.
    pub(super) progress: Instant,
}

// === impl Upload ===

impl Upload {
    /// Nothing is sent if the request's header has ended the stream.
    pub(super) fn new(send: SendStream<Bytes>, body: Body, ended: bool) -> Self {
        Self {
            send: (!ended).then_some(send),
            body,
            chunk: Bytes::new(),
            touched: false,
            progress: Instant::now(),
        }
    }

    /// The body, if it can be sent again.
    pub(super) fn untouched(self) -> Option<Body> {
        (!self.touched).then_some(self.body)
    }

    /// It is the client that keeps everybody waiting.
    pub(super) fn waits_for_client(&self) -> bool {
        self.send.is_some() && self.chunk.is_empty()
    }

    /// Drives the upload; ready when nothing more is to be sent.
    ///
    /// An origin that takes no more may have answered before: that is for the reader to find out.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Why>> {
        while let Some(send) = &mut self.send {
            if self.chunk.is_empty() {
                ready!(self.poll_body(cx)).map_err(Why::Upload)?;
                continue;
            }
            let Some(room) = ready!(poll_room(send, self.chunk.len(), cx)) else {
                self.send = None;
                continue;
            };
            let piece = self.chunk.split_to(room.min(self.chunk.len()));
            let last = self.chunk.is_empty() && self.body.is_end_stream();
            if send.send_data(piece, last).is_err() || last {
                self.send = None;
            }
            self.progress = Instant::now();
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.touched = true;
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.chunk = data,
                Err(frame) => self.end(frame.into_trailers().ok()),
            },
            Some(Err(error)) => {
                if let Some(mut send) = self.send.take() {
                    send.send_reset(Reason::CANCEL);
                }
                return Poll::Ready(Err(error));
            }
            None => self.end(None),
        }
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        let Some(mut send) = self.send.take() else {
            return;
        };
        let trailers = trailers
            .map(allowed)
            .filter(|trailers| !trailers.is_empty());
        // Should the origin take no more, its answer says why.
        let _ = match trailers {
            Some(trailers) => send.send_trailers(trailers),
            None => send.send_data(Bytes::new(), true),
        };
        self.progress = Instant::now();
    }
}

/// How much may be sent of `wanted`; `None` if the origin takes no more.
fn poll_room(
    send: &mut SendStream<Bytes>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<Option<usize>> {
    send.reserve_capacity(wanted);
    loop {
        match send.capacity() {
            0 => match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(None),
            },
            room => return Poll::Ready(Some(room)),
        }
    }
}

/// Those of a client's trailers that may follow the content.
fn allowed(trailers: HeaderMap) -> HeaderMap {
    if trailers.keys().all(may_trail) {
        return trailers;
    }
    let pairs = trailers.iter().filter(|(name, _)| may_trail(name));
    pairs
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
