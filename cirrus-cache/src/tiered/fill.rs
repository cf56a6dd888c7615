//! One response being stored in several tiers at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use cirrus_core::cache::{
    BodyState, CacheKey, Fill, ObjectId, Purge, Selection, StoreError, Stored, StoredBody, Variant,
};
use futures_util::future::join_all;
use http::HeaderMap;

use super::place::{Place, outer};
use super::spare::SpareBody;
use super::{Shared, Tier};

/// One response being stored in several tiers at once: what one of them refuses or loses, the others keep.
pub(super) struct TieredFill {
    shared: Arc<Shared>,
    key: CacheKey,
    variant: Variant,
    stored: Stored,
    /// Those that take it, nearest first.
    parts: Vec<Part>,
    /// Those that do not: an older response in there must not outlive the one that was to take its place.
    without: Vec<Place>,
    /// It is a copy: who reads it can go on with what it is copied from.
    has_source: bool,
    /// What is to be taken out of the spares, however this ends.
    covered: Vec<ObjectId>,
}

/// What one tier has of it.
pub(super) struct Part {
    place: Place,
    id: ObjectId,
    body: Arc<dyn StoredBody>,
    fill: Box<dyn Fill>,
}

/// What became of a chunk in one tier.
enum Written {
    Taken,
    /// The tier gave it up, and another one has it.
    Dispensable,
    Failed(StoreError),
}

// === impl TieredFill ===

impl TieredFill {
    /// `parts` has one at least. `source`: where the body is copied from, if it is.
    pub(super) fn new(
        shared: &Arc<Shared>,
        key: &CacheKey,
        parts: Vec<Part>,
        without: Vec<Place>,
        source: Option<Arc<dyn StoredBody>>,
    ) -> Self {
        let mut stored = parts[0].fill.stored();
        stored.id = parts[0].id;
        let (has_source, mut covered) = (source.is_some(), Vec::new());
        let bodies: Vec<_> = parts
            .iter()
            .map(|part| Arc::clone(&part.body))
            .chain(source)
            .collect();
        if bodies.len() > 1 {
            let spare = Arc::new(SpareBody::new(bodies));
            covered.extend(parts.iter().map(|part| part.id));
            shared.spares.put(covered.iter().copied(), &spare);
            stored.body = spare;
        }
        Self {
            shared: Arc::clone(shared),
            key: key.clone(),
            variant: stored.meta.vary.clone(),
            stored,
            parts,
            without,
            has_source,
            covered,
        }
    }

    fn has_spare(&self, of: usize) -> bool {
        let mut others = self.parts.iter().enumerate();
        self.has_source || others.any(|(n, part)| n != of && part.body.state() != BodyState::Failed)
    }

    /// This tier goes without it.
    fn leave_out(&mut self, n: usize) {
        let part = self.parts.remove(n);
        self.without.push(part.place);
        drop(part.fill);
        self.shared.spares.remove(part.id);
    }

    async fn retire_older(shared: &Shared, key: &CacheKey, variant: &Variant, without: &[Place]) {
        for place in without {
            shared.tiers[*place].retire(key, variant).await;
        }
    }
}

#[async_trait]
impl Fill for TieredFill {
    fn stored(&self) -> Stored {
        self.stored.clone()
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let (mut n, mut failed) = (0, None);
        while n < self.parts.len() {
            let has_spare = self.has_spare(n);
            match self.parts[n].write(chunk.clone(), has_spare).await {
                Written::Taken => n += 1,
                Written::Dispensable => self.leave_out(n),
                // The body itself is wrong, and so it is everywhere.
                Written::Failed(error @ StoreError::Damaged(_)) => return Err(error),
                Written::Failed(error) => {
                    self.shared.tiers[self.parts[n].place].note(&error);
                    self.leave_out(n);
                    failed = Some(error);
                }
            }
        }
        if self.parts.is_empty() {
            return Err(failed.unwrap_or(StoreError::Full));
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, trailers: HeaderMap) -> Result<(), StoreError> {
        let parts = std::mem::take(&mut self.parts);
        let ends = parts.into_iter().map(|part| {
            let trailers = trailers.clone();
            async move { (part.place, part.id, part.fill.finish(trailers).await) }
        });
        let mut result = Err(StoreError::Full);
        for (place, id, ended) in join_all(ends).await {
            self.shared.spares.remove(id);
            match ended {
                Ok(()) => result = Ok(()),
                Err(error) => {
                    self.shared.tiers[place].note(&error);
                    self.without.push(place);
                    result = result.or(Err(error));
                }
            }
        }
        if result.is_ok() {
            Self::retire_older(&self.shared, &self.key, &self.variant, &self.without).await;
        }
        result
    }
}

impl Drop for TieredFill {
    fn drop(&mut self) {
        for id in &self.covered {
            self.shared.spares.remove(*id);
        }
    }
}

// === impl Part ===

impl Part {
    pub(super) fn new(place: Place, fill: Box<dyn Fill>) -> Self {
        let stored = fill.stored();
        Self {
            place,
            id: outer(place, stored.id),
            body: stored.body,
            fill,
        }
    }

    /// A tier that cannot keep the body goes at the pace of its readers, which nobody waits for who has it elsewhere.
    async fn write(&mut self, chunk: Bytes, has_spare: bool) -> Written {
        let body = &self.body;
        let given_up = || has_spare && body.state() == BodyState::Failed;
        let mut writing = self.fill.write(chunk);
        let written = poll_fn(|cx| match writing.as_mut().poll(cx) {
            Poll::Ready(written) => Poll::Ready(Some(written)),
            Poll::Pending if given_up() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match written.await {
            Some(Err(error)) => Written::Failed(error),
            None => Written::Dispensable,
            Some(Ok(())) if given_up() => Written::Dispensable,
            Some(Ok(())) => Written::Taken,
        }
    }
}

// === impl Tier ===

impl Tier {
    /// Removes what it has of a variant that it did not get.
    async fn retire(&self, key: &CacheKey, variant: &Variant) {
        let found = self.lookup(key).await.unwrap_or_default();
        if found.iter().any(|stored| stored.meta.vary == *variant) {
            // All variants of the URL: rather too much than an old one in place of a new one.
            let _ = self.purge(&Purge::hard(Selection::Url(key.clone()))).await;
        }
    }
}
