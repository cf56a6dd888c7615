//! A body that is there in slices: read like any stored one, each slice fetched when its turn comes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Index;
use crate::body::Body;
use crate::cache::key::CacheKey;
use crate::cache::layer::Shared;
use crate::cache::meta::Meta;
use crate::cache::range::Span;
use crate::cache::store::{BodyState, ByteRange, StoredBody};
use crate::error::{BoxError, Error};
use crate::middleware::{Context, Handler};

/// The whole body, and what it takes to fetch what is missing of it.
pub(in crate::cache) struct Source<S>(pub(super) Arc<Inner<S>>);

pub(super) struct Inner<S> {
    pub(super) shared: Arc<Shared<S>>,
    /// Of the request that is answered; each fetch has its own copy.
    pub(super) cx: Box<Context>,
    pub(super) request: Parts,
    /// Of the URL.
    pub(super) key: CacheKey,
    pub(super) index: Index,
    /// Of the whole.
    pub(super) meta: Arc<Meta>,
}

/// One reading of it.
struct Reading<S> {
    source: Arc<Inner<S>>,
    /// What no slice has been asked for yet.
    rest: Span,
    /// The slice that is being passed on, and how much of it is still to come.
    current: Option<(Body, u64)>,
    ahead: Ahead,
    /// Bytes still to be given.
    remaining: u64,
}

/// The slice after that, one at the most: the origin answers while the client is still reading.
enum Ahead {
    None,
    Opening(Opening, u64),
    Open(Body, u64),
    Failed(Error),
}

type Opening = Pin<Box<dyn Future<Output = Result<Body, Error>> + Send>>;

/// A slice has another length than it should.
#[derive(Debug, thiserror::Error)]
#[error("a slice is not as long as it was said to be")]
struct WrongLength;

// === impl Source ===

impl<S> Source<S> {
    pub(in crate::cache) fn new(
        shared: &Arc<Shared<S>>,
        cx: Box<Context>,
        request: Parts,
        key: CacheKey,
        index: Index,
        meta: Arc<Meta>,
    ) -> Self {
        Self(Arc::new(Inner {
            shared: Arc::clone(shared),
            cx,
            request,
            key,
            index,
            meta,
        }))
    }
}

impl<S: Handler> StoredBody for Source<S> {
    /// None of it may be there, but whoever reads gets all.
    fn state(&self) -> BodyState {
        BodyState::Whole
    }

    fn size(&self) -> Option<u64> {
        Some(self.0.index.total)
    }

    fn read(&self, range: ByteRange) -> Body {
        let total = self.0.index.total;
        let end = range.end.map_or(total, |end| end.min(total));
        let start = range.start.min(end);
        let rest = Span { start, end };
        if rest.len() == 0 {
            return Body::empty();
        }
        Body::stream(Reading {
            source: Arc::clone(&self.0),
            rest,
            current: None,
            ahead: Ahead::None,
            remaining: rest.len(),
        })
    }
}

// === impl Reading ===

impl<S: Handler> Reading<S> {
    /// Has the next slice on its way.
    fn look_ahead(&mut self, cx: &mut TaskContext<'_>) {
        if matches!(self.ahead, Ahead::None) && self.rest.len() > 0 {
            let index = self.source.index;
            let end = index.span(index.number(self.rest.start)).end;
            let span = Span {
                start: self.rest.start,
                end: end.min(self.rest.end),
            };
            self.rest.start = span.end;
            let opening = Arc::clone(&self.source).open(span);
            self.ahead = Ahead::Opening(Box::pin(opening), span.len());
        }
        if let Ahead::Opening(opening, length) = &mut self.ahead {
            let length = *length;
            match opening.as_mut().poll(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(body)) => self.ahead = Ahead::Open(body, length),
                Poll::Ready(Err(error)) => self.ahead = Ahead::Failed(error),
            }
        }
    }

    /// Goes on to the next slice; `false` at the end.
    fn advance(&mut self) -> Poll<Result<bool, BoxError>> {
        match std::mem::replace(&mut self.ahead, Ahead::None) {
            Ahead::None => Poll::Ready(Ok(false)),
            Ahead::Open(body, length) => {
                self.current = Some((body, length));
                Poll::Ready(Ok(true))
            }
            Ahead::Failed(error) => Poll::Ready(Err(error.into())),
            opening @ Ahead::Opening(..) => {
                self.ahead = opening;
                Poll::Pending
            }
        }
    }

    /// The next bytes of the slice under way; `None` at its end.
    fn poll_current(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        let Some((body, left)) = &mut self.current else {
            return Poll::Ready(None);
        };
        loop {
            let Some(frame) = std::task::ready!(Pin::new(&mut *body).poll_frame(cx)) else {
                return Poll::Ready((*left > 0).then(|| Err(WrongLength.into())));
            };
            // Trailers are the whole's, if anybody's.
            let bytes = match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) if !bytes.is_empty() => bytes,
                Ok(_) => continue,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            return Poll::Ready(Some(match left.checked_sub(bytes.len() as u64) {
                Some(less) => {
                    *left = less;
                    Ok(bytes)
                }
                None => Err(WrongLength.into()),
            }));
        }
    }

    fn stop(&mut self) {
        self.current = None;
        self.ahead = Ahead::None;
        self.rest.start = self.rest.end;
    }

    fn poll_bytes(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            self.look_ahead(cx);
            if let Some(bytes) = std::task::ready!(self.poll_current(cx)) {
                return Poll::Ready(Some(bytes));
            }
            self.current = None;
            match std::task::ready!(self.advance()) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl<S: Handler> HttpBody for Reading<S> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let bytes = std::task::ready!(self.poll_bytes(cx));
        match &bytes {
            Some(Ok(bytes)) => self.remaining -= bytes.len() as u64,
            Some(Err(_)) => self.stop(),
            None => {}
        }
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
