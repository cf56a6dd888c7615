//! All segments, oldest first, and the room that they take.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::io::Io;
use super::record::BLOCK;
use super::segment::{Paths, Segment};

/// The segments, of which the oldest makes room when there is none left.
pub(super) struct Segments {
    directory: PathBuf,
    io: Arc<Io>,
    seed: u64,
    capacity: u64,
    /// How large one becomes.
    size: u64,
    live: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// Where the next bytes go. Held by threads that may wait for the disk.
    space: Mutex<Space>,
    used: AtomicU64,
}

/// The newest segment.
struct Space {
    current: Option<Arc<Segment>>,
    /// Where its data ends.
    end: u64,
    last_id: u32,
}

/// So many bytes in a segment.
pub(super) struct Place {
    pub(super) segment: Arc<Segment>,
    pub(super) at: u64,
}

/// How large segments are for a store of this capacity.
pub(super) fn segment_size(capacity: u64) -> u64 {
    (capacity / 128).clamp(4 * BLOCK, 2 << 30)
}

// === impl Segments ===

impl Segments {
    /// `live`: what was found in `directory`, which is for nothing else.
    pub(super) fn new(
        directory: PathBuf,
        io: Arc<Io>,
        seed: u64,
        capacity: u64,
        live: BTreeMap<u32, Arc<Segment>>,
    ) -> io::Result<Self> {
        let current = live.last_key_value().map(|(_, last)| Arc::clone(last));
        let space = Space {
            end: current.as_ref().map_or(Ok(0), |last| last.data_len())?,
            last_id: current.as_ref().map_or(0, |last| last.id),
            current,
        };
        let used = live.values().map(|segment| segment.used()).sum();
        Ok(Self {
            directory,
            io,
            seed,
            capacity,
            size: segment_size(capacity),
            live: RwLock::new(live),
            space: Mutex::new(space),
            used: AtomicU64::new(used),
        })
    }

    pub(super) fn get(&self, id: u32) -> Option<Arc<Segment>> {
        self.live.read().get(&id).map(Arc::clone)
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Most bytes that are written at once.
    pub(super) fn unit(&self) -> u64 {
        (self.size / 4 / BLOCK).clamp(1, 8) * BLOCK
    }

    /// Room for so many bytes of a body; with 0 of them, for a record only. Segments that it cost are in `evicted`.
    pub(super) fn allocate(
        &self,
        bytes: u64,
        evicted: &mut Vec<Arc<Segment>>,
    ) -> io::Result<Place> {
        let mut space = self.space.lock();
        let segment = match &space.current {
            Some(current) if !self.is_full(current, bytes) => Arc::clone(current),
            _ => self.roll(&mut space)?,
        };
        let at = space.end;
        space.end += bytes;
        drop(space);
        self.charge(&segment, bytes, evicted);
        Ok(Place { segment, at })
    }

    fn is_full(&self, segment: &Segment, more: u64) -> bool {
        segment.is_gone() || (segment.used() > 0 && segment.used() + more > self.size)
    }

    fn roll(&self, space: &mut Space) -> io::Result<Arc<Segment>> {
        let id = space.last_id + 1;
        let paths = Paths::of(&self.directory, id);
        let segment = Arc::new(Segment::open(paths, id, self.seed, &self.io)?);
        space.last_id = id;
        space.end = 0;
        if let Some(before) = space.current.replace(Arc::clone(&segment)) {
            before.seal();
        }
        self.live.write().insert(id, Arc::clone(&segment));
        Ok(segment)
    }

    /// Whether its log may take another record about what it has already.
    pub(super) fn takes_news(&self, segment: &Segment) -> bool {
        segment.log_len() < self.size
    }

    /// Counts bytes that `segment` is to have, and makes room for them: in other segments, the oldest first.
    pub(super) fn charge(&self, segment: &Segment, bytes: u64, evicted: &mut Vec<Arc<Segment>>) {
        let live = self.live.read();
        // What is removed is no longer counted.
        if live.contains_key(&segment.id) {
            segment.add_used(bytes);
            self.used.fetch_add(bytes, Ordering::Relaxed);
        }
        drop(live);
        self.shrink(evicted);
    }

    /// Removes the oldest as long as there are too many bytes.
    pub(super) fn shrink(&self, evicted: &mut Vec<Arc<Segment>>) {
        while self.used() > self.capacity {
            let Some(oldest) = self.evict_oldest() else {
                return;
            };
            evicted.push(oldest);
        }
    }

    /// Takes the oldest segment out, unless there is no other.
    pub(super) fn evict_oldest(&self) -> Option<Arc<Segment>> {
        let mut live = self.live.write();
        if live.len() < 2 {
            return None;
        }
        let (_, oldest) = live.pop_first()?;
        self.used.fetch_sub(oldest.used(), Ordering::Relaxed);
        Some(oldest)
    }

    /// Takes all segments out whose objects all began before `number`.
    pub(super) fn evict_before(&self, number: u64) -> Vec<Arc<Segment>> {
        // What comes from now on goes to a segment of its own.
        let mut space = self.space.lock();
        space.current = None;
        let mut live = self.live.write();
        let dead: Vec<_> = live
            .values()
            .filter(|segment| segment.youngest() < number)
            .map(Arc::clone)
            .collect();
        for segment in &dead {
            live.remove(&segment.id);
            self.used.fetch_sub(segment.used(), Ordering::Relaxed);
        }
        dead
    }

    /// When the oldest object of all records began.
    pub(super) fn oldest(&self) -> u64 {
        let live = self.live.read();
        let oldest = live.values().map(|segment| segment.oldest());
        oldest.min().unwrap_or(u64::MAX)
    }
}
