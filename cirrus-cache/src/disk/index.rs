//! Where the records are, by the hashes of their keys.
//!
//! A slot has 24 bytes. With the table's control byte and its load of 44 to 88 percent, and eight more bytes in the
//! segment's list, an object takes 37 to 65 bytes, some 46 on average: 4.6 GB for 100 million.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use parking_lot::RwLock;

const SHARDS: usize = 64;

/// The places of all records. Its locks are held for a few instructions at a time.
pub(super) struct Index {
    shards: Box<[RwLock<HashTable<Slot>>]>,
    objects: AtomicU64,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Of its key.
    pub(super) hash: u64,
    pub(super) segment: u32,
    /// Where in the segment's log its frame starts.
    pub(super) at: u32,
    /// Of its frame; 0 once it is condemned.
    pub(super) len: u32,
    /// Of [`Meta::vary`](cirrus_core::cache::Meta::vary).
    pub(super) variant: u32,
}

// === impl Index ===

impl Index {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            objects: AtomicU64::new(0),
        }
    }

    fn shard(&self, hash: u64) -> &RwLock<HashTable<Slot>> {
        // The table itself goes by the lowest and the highest bits.
        &self.shards[usize::try_from(hash >> 40).unwrap_or_default() % SHARDS]
    }

    pub(super) fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    /// All slots of keys with this hash, condemned ones too.
    pub(super) fn slots(&self, hash: u64) -> Vec<Slot> {
        let table = self.shard(hash).read();
        let slots = table.iter_hash(hash).filter(|slot| slot.hash == hash);
        slots.copied().collect()
    }

    /// In the place of one of the same key and variant, as far as their hashes tell. For what is found at the start.
    pub(super) fn place(&self, slot: Slot) {
        let mut table = self.shard(slot.hash).write();
        let same = |other: &Slot| other.hash == slot.hash && other.variant == slot.variant;
        match table.find_mut(slot.hash, same) {
            Some(place) => *place = slot,
            None => {
                table.insert_unique(slot.hash, slot, |slot| slot.hash);
                self.count(slot, 1);
            }
        }
    }

    pub(super) fn insert(&self, slot: Slot) {
        let mut table = self.shard(slot.hash).write();
        table.insert_unique(slot.hash, slot, |slot| slot.hash);
        self.count(slot, 1);
    }

    /// `false` if it is not there any more.
    pub(super) fn remove(&self, slot: Slot) -> bool {
        let mut table = self.shard(slot.hash).write();
        let Ok(entry) = table.find_entry(slot.hash, |other| *other == slot) else {
            return false;
        };
        entry.remove();
        self.count(slot, -1);
        true
    }

    /// In one step: who looks finds one of them.
    pub(super) fn replace(&self, slot: Slot, new: Slot) -> bool {
        let mut table = self.shard(slot.hash).write();
        match table.find_mut(slot.hash, |other| *other == slot) {
            Some(place) => *place = new,
            None => return false,
        }
        self.count(slot, -1);
        self.count(new, 1);
        true
    }

    /// Its object is not found any more. The slot stays, as long as its segment does, to tell that there is a record
    /// which a restart would find again.
    pub(super) fn condemn(&self, slot: Slot) {
        self.replace(slot, Slot { len: 0, ..slot });
    }

    /// Whatever of this hash is in that segment; gives how many objects that were.
    pub(super) fn remove_of(&self, hash: u64, segment: u32) -> u64 {
        let mut removed = 0;
        for slot in self.slots(hash) {
            if slot.segment == segment && self.remove(slot) && slot.len > 0 {
                removed += 1;
            }
        }
        removed
    }

    fn count(&self, slot: Slot, by: i64) {
        if slot.len > 0 {
            self.objects
                .fetch_add(by.cast_unsigned(), Ordering::Relaxed);
        }
    }
}
