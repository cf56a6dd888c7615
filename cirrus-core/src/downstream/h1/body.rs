//! A request's body, read from the connection by whoever wants it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::Link;
use crate::error::BoxError;

/// A request's body. Nothing is read before it is asked for: the origin's pace is the client's.
pub(super) struct RequestBody<IO> {
    link: Arc<Mutex<Link<IO>>>,
    /// Whose body it is. What is kept beyond its request's response must not get the next one's content.
    request: u64,
}

// === impl RequestBody ===

impl<IO> RequestBody<IO> {
    pub(super) fn new(link: Arc<Mutex<Link<IO>>>) -> Self {
        let request = link.lock().requests;
        Self { link, request }
    }

    /// The connection, as long as this is the present request's body.
    fn link(&self) -> Option<MutexGuard<'_, Link<IO>>> {
        let link = self.link.lock();
        (link.requests == self.request).then_some(link)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> HttpBody for RequestBody<IO> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.link() {
            Some(mut link) => link.poll_upload(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.link().is_none_or(|link| !link.upload.is_open())
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.link().map_or(Some(0), |link| link.upload.left());
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<IO> Drop for RequestBody<IO> {
    fn drop(&mut self) {
        if let Some(mut link) = self.link() {
            link.upload.is_abandoned = true;
        }
    }
}
