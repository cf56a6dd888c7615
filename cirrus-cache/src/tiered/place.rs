//! Which tier an object is in, written into its id.

use cirrus_core::cache::ObjectId;

/// Most tiers of one store.
pub(super) const MOST_TIERS: usize = 8;

/// An id has this many bits for its own.
const OWN: u32 = 61;

/// A tier by its distance: 0 is the nearest.
pub(super) type Place = usize;

/// A tier's own id as the whole store gives it out. That of the nearest stays as it is.
pub(super) fn outer(place: Place, id: ObjectId) -> ObjectId {
    debug_assert!(id.0 >> OWN == 0, "ids are less than 2^60");
    ObjectId((place as u64) << OWN | id.0)
}

/// Which tier an id is of, and what it is called there.
pub(super) fn inner(id: ObjectId) -> (Place, ObjectId) {
    // Three bits.
    let place = usize::try_from(id.0 >> OWN).unwrap_or_default();
    (place, ObjectId(id.0 & ((1 << OWN) - 1)))
}
