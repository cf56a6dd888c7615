//! Bodies that can be sent more than once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::body::Body;
use crate::error::BoxError;

/// What has become of a body.
pub(super) enum Kept {
    /// All of it.
    Whole(Bytes),
    /// It is too large, or has trailers: it can be sent once, with what was read of it ahead of the rest.
    Once(Body),
}

/// A body that was begun to be read.
struct Begun {
    read: VecDeque<Frame<Bytes>>,
    rest: Body,
}

/// Reads a body of up to `most` bytes.
///
/// # Errors
///
/// What the body's source says.
pub(super) async fn keep(mut body: Body, most: usize) -> Result<Kept, BoxError> {
    if let Some(bytes) = body.as_bytes() {
        return Ok(if bytes.len() <= most {
            Kept::Whole(bytes.clone())
        } else {
            Kept::Once(body)
        });
    }
    let mut read: VecDeque<Frame<Bytes>> = VecDeque::new();
    let mut length = 0;
    // What is known to be too large is not waited for.
    while length as u64 + body.size_hint().lower() <= most as u64 {
        match body.frame().await.transpose()? {
            None => return Ok(Kept::Whole(joined(&read, length))),
            Some(frame) => {
                length += frame.data_ref().map_or(most + 1, Bytes::len);
                read.push_back(frame);
            }
        }
    }
    Ok(Kept::Once(Body::stream(Begun { read, rest: body })))
}

fn joined(read: &VecDeque<Frame<Bytes>>, length: usize) -> Bytes {
    let mut frames = read.iter().filter_map(Frame::data_ref);
    if read.len() == 1 {
        return frames.next().cloned().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(length);
    frames.for_each(|data| all.extend_from_slice(data));
    all.freeze()
}

// === impl Begun ===

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.read.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(Frame::data_ref);
        let read: u64 = read.map(|data| data.len() as u64).sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + read);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + read);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    fn chunks(chunks: &'static [&'static str]) -> Body {
        let frames = chunks.iter().map(|chunk| {
            let frame = Frame::data(Bytes::from_static(chunk.as_bytes()));
            Ok::<_, BoxError>(frame)
        });
        Body::stream(StreamBody::new(stream::iter(frames)))
    }

    #[tokio::test]
    async fn what_fits_is_whole_and_what_does_not_is_complete() {
        for (most, fits) in [(6, true), (5, false), (2, false), (0, false)] {
            match keep(chunks(&["abc", "def"]), most).await.unwrap() {
                Kept::Whole(bytes) => assert!(fits && bytes == "abcdef", "{most}"),
                Kept::Once(body) => {
                    assert!(!fits, "{most}");
                    assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
                }
            }
        }
    }

    #[tokio::test]
    async fn trailers_are_not_lost() {
        let mut fields = http::HeaderMap::new();
        fields.insert("grpc-status", http::HeaderValue::from_static("0"));
        let frames = [
            Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"a"))),
            Ok(Frame::trailers(fields)),
        ];
        let body = Body::stream(StreamBody::new(stream::iter(frames)));
        let Kept::Once(body) = keep(body, 100).await.unwrap() else {
            panic!("it has trailers");
        };
        let all = body.collect().await.unwrap();
        assert!(all.trailers().is_some_and(|fields| fields.len() == 1));
    }
}
