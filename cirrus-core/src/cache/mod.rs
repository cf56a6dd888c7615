//! Responses kept and used again (RFC 9111).
//!
//! [`CacheStore`] is the trait for the places where they are kept; its backends live in `cirrus-cache` and elsewhere.

pub mod buffer;
mod key;
mod meta;
mod purge;
mod store;

pub use key::{CacheKey, Scheme};
pub use meta::{Freshness, Meta, Variant};
pub use purge::{Mode, Purge, Purged, Selection};
pub use store::{BodyState, ByteRange, CacheStore, Fill, ObjectId, Stored, StoredBody, StoreError, Usage};
