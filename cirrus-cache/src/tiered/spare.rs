//! A body that several tiers have, read from the first one for as long as it lasts.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use cirrus_core::cache::{BodyState, ByteRange, ObjectId, Stored, StoredBody};
use cirrus_core::{Body, BoxError};
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;

/// A body that grows in several tiers at once. When one gives it up, its readers go on with the next.
pub(super) struct SpareBody {
    /// Nearest first.
    bodies: Vec<Arc<dyn StoredBody>>,
}

/// The growing bodies that can be read from more than one place, by the ids of the whole store.
#[derive(Default)]
pub(super) struct Spares(Mutex<HashMap<ObjectId, Arc<SpareBody>>>);

/// One reading, under way in all bodies: a growing one lets go of what all of its readers have seen, so who comes
/// back to it must have been there from the beginning.
struct Reading {
    /// The one that is read, and behind it those to fall back on, last first.
    left: Vec<Body>,
    /// Bytes given.
    given: u64,
    /// Bytes of the present body that were given from the one before.
    skip: u64,
}

// === impl SpareBody ===

impl SpareBody {
    pub(super) fn new(bodies: Vec<Arc<dyn StoredBody>>) -> Self {
        Self { bodies }
    }

    fn usable(&self) -> impl DoubleEndedIterator<Item = &Arc<dyn StoredBody>> {
        self.bodies
            .iter()
            .filter(|body| body.state() != BodyState::Failed)
    }
}

impl StoredBody for SpareBody {
    fn state(&self) -> BodyState {
        self.usable()
            .map(|body| body.state())
            .next()
            .unwrap_or(BodyState::Failed)
    }

    fn size(&self) -> Option<u64> {
        self.usable().find_map(|body| body.size())
    }

    fn read(&self, range: ByteRange) -> Body {
        let mut usable = self.usable();
        match usable.next() {
            Some(body) if body.state() == BodyState::Whole => return body.read(range),
            Some(_) => {}
            // It says itself how it failed.
            None => return self.bodies[0].read(range),
        }
        let left = self.usable().rev().map(|body| body.read(range)).collect();
        Body::stream(Reading {
            left,
            given: 0,
            skip: 0,
        })
    }
}

// === impl Spares ===

impl Spares {
    pub(super) fn put(&self, ids: impl Iterator<Item = ObjectId>, body: &Arc<SpareBody>) {
        let mut spares = self.0.lock();
        spares.extend(ids.map(|id| (id, Arc::clone(body))));
    }

    pub(super) fn remove(&self, id: ObjectId) {
        self.0.lock().remove(&id);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The object as it is to be read while it grows.
    pub(super) fn cover(&self, stored: &mut Stored) {
        if stored.body.state() == BodyState::Whole {
            return;
        }
        if let Some(spare) = self.0.lock().get(&stored.id) {
            stored.body = Arc::clone(spare) as Arc<dyn StoredBody>;
        }
    }
}

// === impl Reading ===

impl Reading {
    /// Goes on with the next body, from where the last one broke off.
    fn fall_back(&mut self) -> bool {
        self.left.pop();
        self.skip = self.given;
        !self.left.is_empty()
    }

    /// What of a frame is new.
    fn unseen(&mut self, mut data: Bytes) -> Bytes {
        let known = self.skip.min(data.len() as u64);
        self.skip -= known;
        // At most the length of a slice.
        data.advance(usize::try_from(known).unwrap_or(data.len()));
        self.given += data.len() as u64;
        data
    }
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let Some(body) = self.left.last_mut() else {
                return Poll::Ready(None);
            };
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    if self.fall_back() {
                        continue;
                    }
                    return Poll::Ready(Some(Err(error)));
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    let data = self.unseen(data);
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left
            .last()
            .is_none_or(|body| self.skip == 0 && body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.left.last().map(HttpBody::size_hint);
        match hint.and_then(|hint| hint.exact()) {
            Some(left) => SizeHint::with_exact(left.saturating_sub(self.skip)),
            None => SizeHint::default(),
        }
    }
}
