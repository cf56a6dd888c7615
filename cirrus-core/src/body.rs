//! The one body type: what clients send, what origins answer, what the cache holds.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::codec::lines::{HeaderLines, Relayed};
use crate::error::BoxError;

/// A request as the engine handles it.
pub type Request = http::Request<Body>;

/// A response as the engine handles it.
pub type Response = http::Response<Body>;

/// The content of a message, whole or still to come.
///
/// Whole content costs no allocation beyond the bytes; a stream costs one box.
pub struct Body {
    kind: Kind,
    at_end: Option<Box<dyn AtEnd>>,
    /// The response's header, if that is not in its map because it goes straight to a codec.
    lines: Option<HeaderLines>,
}

enum Kind {
    Empty,
    Full(Bytes),
    Incoming(Incoming),
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
}

/// Hears how a body went, exactly once: when it has ended, failed, or was dropped before.
pub trait AtEnd: Send {
    /// This many bytes went by.
    fn passed(&mut self, bytes: usize);

    /// It is over.
    fn ended(self: Box<Self>, how: Ended);
}

/// How a body went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// To its end.
    Whole,
    /// Its source failed.
    Failed,
    /// Nobody wanted the rest.
    Dropped,
}

// === impl Body ===

impl Body {
    /// No content.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            kind: Kind::Empty,
            at_end: None,
            lines: None,
        }
    }

    /// Content that is all there.
    #[must_use]
    pub fn full(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let kind = if content.is_empty() {
            Kind::Empty
        } else {
            Kind::Full(content)
        };
        Self {
            kind,
            at_end: None,
            lines: None,
        }
    }

    /// Content from any other body.
    #[must_use]
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt;
        Self {
            kind: Kind::Stream(Box::pin(body.map_err(Into::into))),
            at_end: None,
            lines: None,
        }
    }

    /// Has `at_end` told how this body goes. One at a time: a second takes the first one's place.
    #[must_use]
    pub fn watched(mut self, at_end: Box<dyn AtEnd>) -> Self {
        self.at_end = Some(at_end);
        self
    }

    /// With the response's header, for the codec to write.
    pub(crate) fn with_lines(mut self, lines: HeaderLines) -> Self {
        self.lines = Some(lines);
        self
    }

    /// The response's header, if the codec is to write it.
    pub(crate) fn take_lines(&mut self) -> Option<HeaderLines> {
        self.lines.take()
    }

    /// The header of an origin's response, if the codec is to write it.
    pub(crate) fn relayed_mut(&mut self) -> Option<&mut Relayed> {
        match &mut self.lines {
            Some(HeaderLines::Relayed(relayed)) => Some(relayed),
            _ => None,
        }
    }

    /// The whole content if it is here without waiting, and needs no watching.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        static NOTHING: Bytes = Bytes::new();
        match &self.kind {
            Kind::Empty => Some(&NOTHING),
            Kind::Full(bytes) => Some(bytes),
            Kind::Incoming(_) | Kind::Stream(_) => None,
        }
    }

    /// What was taken of it has not reached its reader: it did not come to its end, though it may look like it.
    pub(crate) fn give_up(&mut self) {
        self.end(Ended::Dropped);
    }

    fn end(&mut self, how: Ended) {
        if let Some(at_end) = self.at_end.take() {
            at_end.ended(how);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.at_end.is_some() {
            let how = if self.is_end_stream() {
                Ended::Whole
            } else {
                Ended::Dropped
            };
            self.end(how);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match &mut self.kind {
            Kind::Empty => None,
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Some(Ok(Frame::data(bytes)))
            }
            Kind::Incoming(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Kind::Stream(body) => ready!(body.as_mut().poll_frame(cx)),
        };
        match &frame {
            None => self.end(Ended::Whole),
            Some(Err(_)) => self.end(Ended::Failed),
            Some(Ok(frame)) => {
                if let (Some(at_end), Some(data)) = (&mut self.at_end, frame.data_ref()) {
                    at_end.passed(data.len());
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Incoming(body) => body.is_end_stream(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Incoming(body) => body.size_hint(),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        let kind = if body.is_end_stream() {
            Kind::Empty
        } else {
            Kind::Incoming(body)
        };
        Self {
            kind,
            at_end: None,
            lines: None,
        }
    }
}

impl From<Bytes> for Body {
    fn from(content: Bytes) -> Self {
        Self::full(content)
    }
}

impl From<&'static str> for Body {
    fn from(content: &'static str) -> Self {
        Self::full(content)
    }
}

impl From<String> for Body {
    fn from(content: String) -> Self {
        Self::full(content)
    }
}

impl From<Vec<u8>> for Body {
    fn from(content: Vec<u8>) -> Self {
        Self::full(content)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Incoming(_) => "incoming",
            Kind::Stream(_) => "stream",
        };
        f.debug_tuple("Body").field(&kind).finish()
    }
}
