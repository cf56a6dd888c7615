//! Some bytes out of the middle of a body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame};

use crate::body::Body;
use crate::error::BoxError;

/// Leaves out what is before and behind, trailers too.
pub(super) struct Cut {
    body: Body,
    skip: u64,
    take: u64,
}

// === impl Cut ===

impl Cut {
    pub(super) fn new(body: Body, skip: u64, take: u64) -> Self {
        Self { body, skip, take }
    }

    fn cut(&mut self, mut bytes: Bytes) -> Bytes {
        let skipped = self.skip.min(bytes.len() as u64);
        // No more than the length of what is there, which is a `usize`.
        bytes.advance(usize::try_from(skipped).unwrap_or(bytes.len()));
        self.skip -= skipped;
        bytes.truncate(usize::try_from(self.take).unwrap_or(usize::MAX));
        self.take -= bytes.len() as u64;
        bytes
    }
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while self.take > 0 {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                return Poll::Ready(None);
            };
            let Ok(bytes) = frame?.into_data() else {
                continue;
            };
            let bytes = self.cut(bytes);
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_is_cut_out_is_what_was_named() {
        for (skip, take) in [(0, 10), (0, 3), (4, 3), (9, 1), (3, 7)] {
            let bytes: Vec<u8> = (0..10).collect();
            let chunks = bytes.chunks(3).map(Bytes::copy_from_slice).map(Frame::data);
            let frames: Vec<_> = chunks.map(Ok::<_, BoxError>).collect();
            let body = Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(
                frames,
            )));
            let cut = Cut::new(body, skip, take).collect().await.unwrap();
            let expected = &bytes[skip as usize..(skip + take) as usize];
            assert_eq!(cut.to_bytes(), expected, "{skip} {take}");
        }
    }
}
