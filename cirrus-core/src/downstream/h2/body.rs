//! The content of a request that came on a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;
use crate::error::BoxError;

/// The content of a request that came on a stream.
struct Incoming {
    stream: RecvStream,
    /// What is still to come, if the client has said so. h2 holds it to that.
    length: Option<u64>,
    is_data_over: bool,
}

/// The content behind a request's header.
pub(super) fn incoming(headers: &HeaderMap, stream: RecvStream) -> Body {
    if stream.is_end_stream() {
        return Body::empty();
    }
    let length = headers.get(header::CONTENT_LENGTH);
    Body::stream(Incoming {
        stream,
        length: length.and_then(|length| length.to_str().ok()?.parse().ok()),
        is_data_over: false,
    })
}

// === impl Incoming ===

impl Incoming {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let Some(data) = ready!(self.stream.poll_data(cx)).transpose()? else {
            return Poll::Ready(None);
        };
        let length = data.len();
        // It is in the reader's hands: the client may send as much again. Without a stream there is
        // nobody to tell.
        let _ = self.stream.flow_control().release_capacity(length);
        if let Some(left) = &mut self.length {
            *left = left.saturating_sub(length as u64);
        }
        Poll::Ready(Some(Ok(data)))
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if !this.is_data_over {
            match ready!(this.poll_data(cx)) {
                Some(data) => return Poll::Ready(Some(data.map(Frame::data).map_err(Into::into))),
                None => this.is_data_over = true,
            }
        }
        let trailers = ready!(this.stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
