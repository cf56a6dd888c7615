//! The objects that are being filled here; Redis gets them when they are whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cirrus_core::cache::buffer::Buffer;
use cirrus_core::cache::epochs::Era;
use cirrus_core::cache::{CacheKey, Meta, ObjectId};
use parking_lot::Mutex;

/// Most bytes of all bodies being filled: 64 MiB. Beyond, they are passed on without being stored.
const MOST_BYTES: u64 = 64 << 20;

/// An object that is being filled. Another takes its place when it is revalidated.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) id: ObjectId,
    pub(super) incarnation: u64,
    pub(super) era: Era,
    pub(super) meta: Arc<Meta>,
    pub(super) body: Buffer,
}

#[derive(Default)]
pub(super) struct Growing {
    objects: Mutex<HashMap<CacheKey, Vec<Object>, foldhash::fast::RandomState>>,
    bytes: AtomicU64,
}

// === impl Growing ===

impl Growing {
    pub(super) fn add(&self, key: &CacheKey, object: Object) {
        let mut objects = self.objects.lock();
        objects.entry(key.clone()).or_default().push(object);
    }

    pub(super) fn find(&self, key: &CacheKey) -> Vec<Object> {
        self.objects.lock().get(key).cloned().unwrap_or_default()
    }

    pub(super) fn get(&self, key: &CacheKey, id: ObjectId) -> Option<Object> {
        let objects = self.objects.lock();
        objects
            .get(key)?
            .iter()
            .find(|object| object.id == id)
            .cloned()
    }

    pub(super) fn remove(&self, key: &CacheKey, id: ObjectId) {
        let mut objects = self.objects.lock();
        let Some(of_key) = objects.get_mut(key) else {
            return;
        };
        of_key.retain(|object| object.id != id);
        if of_key.is_empty() {
            objects.remove(key);
        }
    }

    pub(super) fn remove_all(&self, key: &CacheKey) -> u64 {
        let removed = self.objects.lock().remove(key);
        removed.map_or(0, |objects| objects.len() as u64)
    }

    /// `false` if it is not there any more.
    pub(super) fn replace(&self, key: &CacheKey, object: Object) -> bool {
        let mut objects = self.objects.lock();
        let of_key = objects.get_mut(key);
        let place = of_key.and_then(|all| all.iter_mut().find(|other| other.id == object.id));
        place.map(|place| *place = object).is_some()
    }

    /// Takes room for more of a body; `false` if there is none.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes <= MOST_BYTES {
            return true;
        }
        self.give_back(bytes);
        false
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
