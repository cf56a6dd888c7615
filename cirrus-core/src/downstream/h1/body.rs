//! A request's body, read from the connection by whoever wants it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::Link;
use crate::error::BoxError;

/// A request's body. Nothing is read before it is asked for: the origin's pace is the client's.
pub(super) struct RequestBody<IO>(Arc<Mutex<Link<IO>>>);

// === impl RequestBody ===

impl<IO> RequestBody<IO> {
    pub(super) fn new(link: Arc<Mutex<Link<IO>>>) -> Self {
        Self(link)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> HttpBody for RequestBody<IO> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.lock().poll_upload(cx)
    }

    fn is_end_stream(&self) -> bool {
        !self.0.lock().upload.is_open()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.0.lock().upload.left();
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<IO> Drop for RequestBody<IO> {
    fn drop(&mut self) {
        self.0.lock().upload.is_abandoned = true;
    }
}
