//! Parsed certificates in memory: found without a lock, bounded in number.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use cirrus_core::downstream::Certificate;

/// Certificates by what they are stored under.
///
/// A lookup reads one of many small maps through an atomic swap; a change copies that map. When a map is full, one goes
/// that has not been looked up since the last time one had to go.
pub(super) struct Shelf {
    parts: Vec<ArcSwap<Part>>,
    room: usize,
}

type Part = HashMap<Arc<str>, Arc<Kept>>;

/// One certificate.
pub(super) struct Kept {
    pub(super) certificate: Arc<Certificate>,
    /// Of the text that it was made from.
    print: u64,
    used: AtomicBool,
}

/// So few in each part that copying one costs little.
const PART: usize = 128;

// === impl Shelf ===

impl Shelf {
    /// For as many as `capacity`, and a few more.
    pub(super) fn new(capacity: usize) -> Self {
        let parts = capacity.div_ceil(PART).max(1);
        Self {
            parts: std::iter::repeat_with(ArcSwap::default)
                .take(parts)
                .collect(),
            // Names do not spread evenly.
            room: capacity.div_ceil(parts) + PART / 4,
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Kept>> {
        let kept = Arc::clone(self.part(id).load().get(id)?);
        // Only the first of many writes: the others would take the line of memory from each other.
        if !kept.used.load(Ordering::Relaxed) {
            kept.used.store(true, Ordering::Relaxed);
        }
        Some(kept)
    }

    pub(super) fn put(&self, id: &str, kept: Kept) {
        let (id, kept) = (Arc::<str>::from(id), Arc::new(kept));
        self.part(&id).rcu(|part| {
            let mut part = Part::clone(part);
            if part.len() >= self.room && !part.contains_key(&id) {
                make_room(&mut part);
            }
            part.insert(Arc::clone(&id), Arc::clone(&kept));
            part
        });
    }

    pub(super) fn remove(&self, id: &str) {
        self.part(id).rcu(|part| {
            let mut part = Part::clone(part);
            part.remove(id);
            part
        });
    }

    /// What all of them are stored under.
    pub(super) fn ids(&self) -> Vec<Arc<str>> {
        let parts = self.parts.iter();
        parts
            .flat_map(|part| part.load().keys().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// All of them; that does not count as use.
    pub(super) fn all(&self) -> impl Iterator<Item = (Arc<str>, Arc<Certificate>)> {
        self.parts.iter().flat_map(|part| {
            let part = part.load();
            let kept = part.iter();
            kept.map(|(id, kept)| (Arc::clone(id), Arc::clone(&kept.certificate)))
                .collect::<Vec<_>>()
        })
    }

    /// One of them; that does not count as use.
    pub(super) fn peek(&self, id: &str) -> Option<Arc<Certificate>> {
        let part = self.part(id).load();
        Some(Arc::clone(&part.get(id)?.certificate))
    }

    fn part(&self, id: &str) -> &ArcSwap<Part> {
        // The remainder is less than the number of parts.
        let index = hash(id) % self.parts.len() as u64;
        &self.parts[usize::try_from(index).unwrap_or(0)]
    }
}

fn make_room(part: &mut Part) {
    let unused = part
        .iter()
        .find(|(_, kept)| !kept.used.swap(false, Ordering::Relaxed))
        .map(|(id, _)| Arc::clone(id));
    // All were in use: now none is marked, and any of them goes.
    let goes = unused.or_else(|| part.keys().next().cloned());
    if let Some(id) = goes {
        part.remove(&id);
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

// === impl Kept ===

impl Kept {
    /// Made from `text`.
    pub(super) fn new(certificate: Arc<Certificate>, text: &str) -> Self {
        Self {
            certificate,
            print: hash(text),
            used: AtomicBool::new(true),
        }
    }

    /// Whether it was made from this very text.
    pub(super) fn is_of(&self, text: &str) -> bool {
        self.print == hash(text)
    }
}

#[cfg(test)]
mod tests {
    use cirrus_core::testing::certs;

    use super::*;

    #[test]
    fn is_bounded_and_keeps_what_is_used() {
        let shelf = Shelf::new(100);
        let certificate = Arc::new(certs::for_names(&["a.example"]).certificate());
        let put = |id: &str| {
            let kept = Kept::new(Arc::clone(&certificate), id);
            shelf.put(id, kept);
        };
        put("busy.example");
        for number in 0..10_000 {
            put(&format!("n{number}.example"));
            assert!(shelf.find("busy.example").is_some(), "after {number}");
        }
        let kept = shelf.ids().len();
        assert!((100..200).contains(&kept), "{kept} are kept");
    }

    #[test]
    fn what_is_put_again_replaces() {
        let shelf = Shelf::new(10);
        for text in ["one", "two"] {
            let certificate = Arc::new(certs::for_names(&["a.example"]).certificate());
            let kept = Kept::new(certificate, text);
            shelf.put("a.example", kept);
        }
        assert!(shelf.find("a.example").unwrap().is_of("two"));
        shelf.remove("a.example");
        assert!(shelf.find("a.example").is_none());
    }
}
