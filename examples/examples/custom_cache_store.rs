//! Another place for responses: a shelf that keeps whatever it is given until that is purged.
//!
//! It never makes room, so it is for reading rather than for use. Arguments: the origin's URL, the address to listen on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use cirrus_core::cache::buffer::{self, Writer};
use cirrus_core::cache::{
    BodyState, CacheKey, CacheStore, Fill, Meta, Mode, Moment, ObjectId, Purge, Purged, Selection,
    StoreError, Stored,
};
use cirrus_core::config::ListenConfig;
use cirrus_core::{BoxError, Clock, Server, SystemClock};
use cirrus_discovery::{Fixed, proxy_to};
use http::HeaderMap;

/// Keeps every response until it is purged. Clones are the same shelf.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Objects>>);

#[derive(Default)]
struct Objects {
    /// The variants of each URL, newest first, those still growing included.
    by_key: HashMap<CacheKey, Vec<Stored>>,
    last_id: u64,
    /// How many purges there have been.
    purges: Moment,
}

/// A response on its way into the shelf.
struct Filling {
    place: Place,
    body: Writer,
}

/// Where a response stands. Given up again unless its body becomes whole.
struct Place {
    shelf: Shelf,
    key: CacheKey,
    stored: Stored,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [origin, listen] = cirrus_examples::arguments(["http://127.0.0.1:3000", "127.0.0.1:8080"]);
    let mut config = proxy_to([origin.parse()?]);
    config.listen = vec![ListenConfig::plain(listen.parse()?)];
    Server::builder()
        .config(Fixed::new(config))
        .cache(Shelf::default())
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}

// === impl Shelf ===

impl Shelf {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CacheStore for Shelf {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        Ok(self.objects().by_key.get(key).cloned().unwrap_or_default())
    }

    fn moment(&self) -> Moment {
        self.objects().purges
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        let (writer, body) = buffer::growing(meta.length);
        let mut objects = self.objects();
        // The origin was asked before a purge, of this or of something else: better to ask again.
        if meta.asked.is_some_and(|asked| asked < objects.purges) {
            return Err(StoreError::Purged);
        }
        objects.last_id += 1;
        let stored = Stored::new(ObjectId(objects.last_id), Arc::new(meta), Arc::new(body));
        // From now on it is found, and its readers wait for what is still to come.
        let variants = objects.by_key.entry(key.clone()).or_default();
        variants.insert(0, stored.clone());
        let place = Place {
            shelf: self.clone(),
            key: key.clone(),
            stored,
        };
        Ok(Box::new(Filling {
            place,
            body: writer,
        }))
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        let mut objects = self.objects();
        let mut variants = objects.by_key.get_mut(key).into_iter().flatten();
        let Some(stored) = variants.find(|stored| stored.id == id) else {
            return Ok(false);
        };
        stored.meta = Arc::new(meta);
        Ok(true)
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let mut concerned = 0;
        let mut objects = self.objects();
        objects.purges.0 += 1;
        // This visits every object: a store of any size needs `cirrus_core::cache::epochs`.
        for (key, variants) in &mut objects.by_key {
            variants.retain_mut(|stored| {
                if !is_meant(&purge.what, key, &stored.meta) {
                    return true;
                }
                concerned += 1;
                expire(stored);
                purge.mode == Mode::Soft
            });
        }
        Ok(Purged::counted(concerned))
    }
}

fn is_meant(what: &Selection, key: &CacheKey, meta: &Meta) -> bool {
    match what {
        Selection::Url(url) => key == url,
        Selection::Prefix { host, path } => {
            key.host() == &**host && key.target().starts_with(&**path)
        }
        Selection::Tag(tag) => meta.tags.contains(tag),
        Selection::Host(host) => key.host() == &**host,
        Selection::All => true,
        // A kind that this store has never heard of: too much is safe, too little is not.
        _ => true,
    }
}

fn expire(stored: &mut Stored) {
    let meta = Arc::make_mut(&mut stored.meta);
    meta.set_freshness(meta.freshness().expired(SystemClock.now()));
}

// === impl Filling ===

#[async_trait]
impl Fill for Filling {
    fn stored(&self) -> Stored {
        self.place.stored.clone()
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.body.write(chunk).await
    }

    async fn finish(self: Box<Self>, trailers: HeaderMap) -> Result<(), StoreError> {
        self.body.finish(trailers)?;
        self.place.retire_older();
        Ok(())
    }
}

// === impl Place ===

impl Place {
    /// Removes what this object replaces.
    fn retire_older(&self) {
        let mut objects = self.shelf.objects();
        if let Some(variants) = objects.by_key.get_mut(&self.key) {
            let (vary, id) = (&self.stored.meta.vary, self.stored.id);
            variants.retain(|other| other.meta.vary != *vary || other.id >= id);
        }
    }
}

impl Drop for Place {
    /// A fill that was not finished never happened.
    fn drop(&mut self) {
        if self.stored.body.state() == BodyState::Whole {
            return;
        }
        if let Some(variants) = self.shelf.objects().by_key.get_mut(&self.key) {
            variants.retain(|other| other.id != self.stored.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    cirrus_core::testing::store_suite!(Shelf::default);
}
