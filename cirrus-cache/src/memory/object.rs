//! One stored response.

use std::sync::Arc;

use cirrus_core::cache::epochs::{Epochs, Era};
use cirrus_core::cache::{CacheKey, Meta, ObjectId, Stored, StoredBody};

/// Allowed for an object's bookkeeping: itself, its body's, and its share of the index.
pub(super) const OBJECT_OVERHEAD: u64 = 512;

/// One stored response. Never changes: another takes its place.
pub(super) struct Object {
    pub(super) id: ObjectId,
    pub(super) era: Era,
    pub(super) meta: Arc<Meta>,
    pub(super) body: Arc<dyn StoredBody>,
    /// All bytes that it takes, those of its body once it is whole.
    pub(super) weight: u64,
}

// === impl Object ===

impl Object {
    pub(super) fn stored(&self) -> Stored {
        Stored::new(self.id, Arc::clone(&self.meta), Arc::clone(&self.body))
    }

    /// As it is once it is whole, with a body of so many bytes.
    pub(super) fn with_body(&self, bytes: u64) -> Self {
        Self {
            id: self.id,
            era: self.era.clone(),
            meta: Arc::clone(&self.meta),
            body: Arc::clone(&self.body),
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
            body: Arc::clone(&self.body),
            weight,
        })
    }
}
