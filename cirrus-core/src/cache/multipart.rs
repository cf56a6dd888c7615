//! Several parts of one body in one message: `multipart/byteranges` (RFC 9110 §14.6).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::range::Span;
use super::store::StoredBody;
use crate::body::Body;
use crate::error::BoxError;

/// What stands between the parts: so long, and so little to be foreseen, that no content holds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boundary([u8; 16]);

/// The parts one after the other, each read from the store when its turn comes.
pub(super) struct Multipart {
    source: Arc<dyn StoredBody>,
    /// Those to come: what stands before each, and its bytes.
    parts: VecDeque<(Bytes, Span)>,
    /// The one under way.
    current: Option<Body>,
    /// What stands behind the last.
    end: Option<Bytes>,
    /// Bytes still to be given.
    remaining: u64,
}

// === impl Boundary ===

impl Boundary {
    pub(super) fn random() -> Self {
        let mut bytes = [0; 16];
        // Whoever splits the message goes by the lengths of the parts, too: one that is known would do.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        Self(bytes)
    }

    fn text(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// `Content-Type` of the message as a whole.
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::try_from(format!("multipart/byteranges; boundary={}", self.text()))
            .unwrap_or(const { HeaderValue::from_static("multipart/byteranges") })
    }
}

// === impl Multipart ===

impl Multipart {
    /// These parts of a body of `size` bytes; `content_type` is that of the body itself.
    pub(super) fn new(
        source: Arc<dyn StoredBody>,
        spans: &[Span],
        size: u64,
        content_type: Option<&HeaderValue>,
        boundary: Boundary,
    ) -> Self {
        let head = |span: &Span| (head(*span, size, content_type, boundary), *span);
        let parts: VecDeque<_> = spans.iter().map(head).collect();
        let end = Bytes::from(format!("\r\n--{}--\r\n", boundary.text()));
        let of_parts: u64 = parts
            .iter()
            .map(|(head, span)| head.len() as u64 + span.len())
            .sum();
        Self {
            source,
            parts,
            current: None,
            remaining: of_parts + end.len() as u64,
            end: Some(end),
        }
    }

    /// How long the message is.
    pub(super) fn len(&self) -> u64 {
        self.remaining
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        while let Some(body) = &mut self.current {
            match ready!(Pin::new(body).poll_frame(cx)) {
                // The trailers are those of the whole.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                    _ => {}
                },
                Some(Err(error)) => {
                    self.stop();
                    return Poll::Ready(Some(Err(error)));
                }
                None => self.current = None,
            }
        }
        let Some((head, span)) = self.parts.pop_front() else {
            return Poll::Ready(self.end.take().map(Ok));
        };
        self.current = Some(self.source.read(span.into()));
        Poll::Ready(Some(Ok(head)))
    }

    fn stop(&mut self) {
        self.current = None;
        self.parts.clear();
        self.end = None;
    }
}

impl HttpBody for Multipart {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let bytes = ready!(self.poll_bytes(cx));
        if let Some(Ok(bytes)) = &bytes {
            self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() && self.current.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

fn head(span: Span, size: u64, content_type: Option<&HeaderValue>, boundary: Boundary) -> Bytes {
    let mut head = format!("\r\n--{}\r\n", boundary.text()).into_bytes();
    if let Some(content_type) = content_type {
        head.extend_from_slice(b"content-type: ");
        head.extend_from_slice(content_type.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("content-range: {}\r\n\r\n", span.described(size)).as_bytes());
    head.into()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::BodyExt;

    use super::*;
    use crate::cache::buffer::growing;

    const SPANS: [Span; 2] = [Span { start: 7, end: 10 }, Span { start: 0, end: 2 }];

    fn boundary() -> Boundary {
        Boundary([0; 16])
    }

    #[tokio::test]
    async fn parts_are_written_as_rfc_9110_says() {
        let (mut writer, body) = growing(Some(10));
        writer.push(Bytes::from_static(b"0123456789")).unwrap();
        let trailers = [(http::header::ETAG, HeaderValue::from_static("x"))];
        writer.finish(HeaderMap::from_iter(trailers)).unwrap();
        let text = HeaderValue::from_static("text/plain");
        let parts = Multipart::new(Arc::new(body), &SPANS, 10, Some(&text), boundary());
        let expected = "\r\n--00000000000000000000000000000000\r\ncontent-type: text/plain\r\n\
             content-range: bytes 7-9/10\r\n\r\n789\
             \r\n--00000000000000000000000000000000\r\ncontent-type: text/plain\r\n\
             content-range: bytes 0-1/10\r\n\r\n01\
             \r\n--00000000000000000000000000000000--\r\n";
        assert_eq!(parts.len(), expected.len() as u64);
        let written = parts.collect().await.unwrap();
        assert!(written.trailers().is_none());
        assert_eq!(written.to_bytes(), expected);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_breaks_the_message() {
        let (mut writer, body) = growing(Some(10));
        writer.push(Bytes::from_static(b"01234")).unwrap();
        let mut parts = Multipart::new(Arc::new(body), &SPANS, 10, None, boundary());
        assert!(parts.frame().await.unwrap().is_ok());
        drop(writer);
        assert!(parts.frame().await.unwrap().is_err());
        assert!(parts.frame().await.is_none());
    }

    #[test]
    fn no_two_boundaries_are_alike() {
        assert_ne!(Boundary::random().text(), Boundary::random().text());
        let value = Boundary::random().content_type();
        assert_eq!(value.len(), "multipart/byteranges; boundary=".len() + 32);
    }
}
