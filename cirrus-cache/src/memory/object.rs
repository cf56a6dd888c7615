//! One stored response.

use std::sync::Arc;

use bytes::Bytes;
use cirrus_core::Body;
use cirrus_core::cache::buffer::Buffer;
use cirrus_core::cache::epochs::{Epochs, Era};
use cirrus_core::cache::{BodyState, ByteRange, CacheKey, Meta, ObjectId, Stored, StoredBody};

/// Allowed for an object's bookkeeping: itself, the counts of its metadata and body, and what the allocator rounds up.
pub(super) const OBJECT_OVERHEAD: u64 = 192;

/// One stored response, which is also its body as readers see it. Never changes: another takes its place.
pub(super) struct Object {
    pub(super) id: ObjectId,
    pub(super) era: Era,
    pub(super) meta: Arc<Meta>,
    pub(super) content: Content,
    /// All bytes that it takes but those of its key; those of its body once it is whole.
    pub(super) weight: u64,
}

/// A body as it is kept.
#[derive(Clone)]
pub(super) enum Content {
    /// All of it in one piece: most bodies, without what it takes to have them grow.
    Whole(Bytes),
    /// One that grows, or has several pieces, or trailers.
    Pieces(Buffer),
}

// === impl Object ===

impl Object {
    pub(super) fn stored(self: &Arc<Self>) -> Stored {
        let body = Arc::<Self>::clone(self);
        Stored::new(self.id, Arc::clone(&self.meta), body)
    }

    /// As it is once it is whole, with a body of so many bytes.
    pub(super) fn with_body(&self, bytes: u64) -> Self {
        Self {
            id: self.id,
            era: self.era.clone(),
            meta: Arc::clone(&self.meta),
            content: self.content.settled(),
            weight: self.weight + bytes,
        }
    }

    /// As it is after a revalidation; `None` if it was purged.
    pub(super) fn renewed(&self, epochs: &Epochs, key: &CacheKey, meta: Meta) -> Option<Self> {
        let asked = meta.asked.unwrap_or_else(|| epochs.moment());
        let era = epochs.renew(&self.era, key, &self.meta.tags, asked)?;
        let weight = self.weight - self.meta.weight() as u64 + meta.weight() as u64;
        Some(Self {
            id: self.id,
            era,
            meta: Arc::new(meta),
            content: self.content.clone(),
            weight,
        })
    }
}

impl StoredBody for Object {
    fn state(&self) -> BodyState {
        match &self.content {
            Content::Whole(_) => BodyState::Whole,
            Content::Pieces(body) => body.state(),
        }
    }

    fn size(&self) -> Option<u64> {
        match &self.content {
            Content::Whole(bytes) => Some(bytes.len() as u64),
            Content::Pieces(body) => body.size(),
        }
    }

    fn read(&self, range: ByteRange) -> Body {
        match &self.content {
            Content::Whole(bytes) => Body::full(part(bytes, range)),
            Content::Pieces(body) => body.read(range),
        }
    }
}

// === impl Content ===

impl Content {
    fn settled(&self) -> Self {
        match self {
            Self::Pieces(body) => body
                .in_one_piece()
                .map_or_else(|| self.clone(), Self::Whole),
            Self::Whole(_) => self.clone(),
        }
    }
}

/// A range that begins behind the end is empty, and one that ends behind it ends with the body.
fn part(bytes: &Bytes, range: ByteRange) -> Bytes {
    let at = |place: u64| usize::try_from(place).map_or(bytes.len(), |at| at.min(bytes.len()));
    let (start, end) = (at(range.start), range.end.map_or(bytes.len(), at));
    if start < end {
        bytes.slice(start..end)
    } else {
        Bytes::new()
    }
}
