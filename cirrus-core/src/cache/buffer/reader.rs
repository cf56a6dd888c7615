//! One reading of a body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::state::{Next, Wakers};
use super::{Block, Shared, Whole};
use crate::body::Body;
use crate::error::BoxError;

/// Reads from `at` up to `end`, or to the end and its trailers.
pub(super) struct Reader {
    shared: Arc<Shared>,
    at: u64,
    end: Option<u64>,
    /// Its place among the readers of the growing body, until it needs that no more.
    slot: Option<usize>,
    done: bool,
}

/// A body that gives nothing but an error.
#[derive(Default)]
struct Broken {
    told: bool,
}

/// A stored body broke off.
#[derive(Debug, thiserror::Error)]
#[error("the stored response broke off before its end")]
pub struct BrokeOff;

/// A body that gives nothing but an error: what a store has to read of one that [broke off](BrokeOff).
#[must_use]
pub fn broken() -> Body {
    Body::stream(Broken::default())
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, at: u64, end: Option<u64>, slot: Option<usize>) -> Self {
        Self {
            shared,
            at,
            end,
            slot,
            done: false,
        }
    }

    fn next(&mut self, cx: &Context<'_>) -> Next {
        if let Some(whole) = self.shared.whole.get() {
            return whole.next(self.at, self.end);
        }
        // Only a body that became whole between the two looks needs no slot.
        let Some(slot) = self.slot else {
            return Next::Broken;
        };
        let mut state = self.shared.state.lock();
        let next = state.next(slot, self.at, self.end, cx);
        let Next::Data(bytes) = &next else {
            return next;
        };
        let writer = state.moved(slot, self.at + bytes.len() as u64);
        drop(state);
        Wakers::one(writer).wake();
        next
    }

    fn data(&mut self, bytes: Bytes) -> Frame<Bytes> {
        self.at += bytes.len() as u64;
        if self.end.is_some_and(|end| self.at >= end) && !self.trailers_follow() {
            self.close();
        }
        Frame::data(bytes)
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Frame<Bytes> {
        self.close();
        Frame::trailers(trailers)
    }

    fn trailers_follow(&self) -> bool {
        self.shared
            .whole
            .get()
            .is_some_and(|whole| whole.trailers.is_some() && whole.ends(self.end))
    }

    fn close(&mut self) {
        self.done = true;
        if let Some(slot) = self.slot.take() {
            self.shared.leave(slot);
        }
    }

    /// Where this reading ends, as far as that is known.
    fn stop(&self) -> Option<u64> {
        let size = match self.shared.whole.get() {
            Some(whole) => Some(whole.len),
            None => self.shared.state.lock().size(),
        };
        match (size, self.end) {
            (Some(size), end) => Some(end.map_or(size, |end| end.min(size))),
            (None, _) => None,
        }
    }
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let mut next = self.next(cx);
        if matches!(next, Next::Whole) {
            next = self.next(cx);
        }
        Poll::Ready(match next {
            Next::Data(bytes) => Some(Ok(self.data(bytes))),
            Next::Trailers(trailers) => Some(Ok(self.trailers(trailers))),
            Next::Wait => return Poll::Pending,
            Next::End => {
                self.close();
                None
            }
            Next::Broken | Next::Whole => {
                self.close();
                Some(Err(BrokeOff.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.done
            || self
                .shared
                .whole
                .get()
                .is_some_and(|whole| matches!(whole.next(self.at, self.end), Next::End))
    }

    fn size_hint(&self) -> SizeHint {
        match self.stop() {
            Some(stop) => SizeHint::with_exact(stop.saturating_sub(self.at)),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}

// === impl Whole ===

impl Whole {
    /// What comes at `at` of a reading up to `end`.
    fn next(&self, at: u64, end: Option<u64>) -> Next {
        if let Some(bytes) = Block::find(&self.blocks, at, end.unwrap_or(u64::MAX)) {
            return Next::Data(bytes);
        }
        match &self.trailers {
            Some(trailers) if self.ends(end) => Next::Trailers(trailers.clone()),
            _ => Next::End,
        }
    }

    /// Whether a reading up to `end` reads to the end.
    fn ends(&self, end: Option<u64>) -> bool {
        end.is_none_or(|end| end >= self.len)
    }
}

// === impl Broken ===

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let told = std::mem::replace(&mut self.told, true);
        Poll::Ready((!told).then(|| Err(BrokeOff.into())))
    }
}
