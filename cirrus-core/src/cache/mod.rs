//! Responses kept and used again (RFC 9111).
//!
//! [`CacheStore`] is the trait for the places where they are kept; its backends live in `cirrus-cache` and elsewhere.
//!
//! [`CacheStore`]: crate::cache::CacheStore

pub mod buffer;
pub mod epochs;

mod admission;
mod conditional;
mod control;
mod fetch;
mod flight;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod header;
mod invalidate;
mod key;
mod keying;
mod layer;
mod lines;
pub(crate) mod log;
mod lookups;
mod meta;
mod method;
mod multipart;
mod outage;
mod outcome;
mod passage;
pub(crate) mod peer;
#[cfg(feature = "testing")]
pub(crate) mod pieces;
mod policy;
mod precondition;
mod pump;
mod purge;
pub(crate) mod purger;
mod range;
pub(crate) mod selection;
mod serve;
mod slice;
mod store;
mod tag;
mod vary;
mod visit;

pub(crate) use flight::Flights;
pub use header::StoredHeader;
pub use key::{CacheKey, Scheme};
pub(crate) use keying::{Keying, Parameters, decoded, selections_of};
pub(crate) use layer::CacheLayer;
pub(crate) use lines::Prepared;
pub use log::{LogPosition, LogUpdate, PurgeLog};
pub(crate) use lookups::{Bypass, Lookups};
pub use meta::{Freshness, Meta};
pub(crate) use method::PurgeMethod;
#[cfg(feature = "testing")]
pub(crate) use outage::wait_longer;
pub(crate) use outage::{LOOKUP_LIMIT, Outage, within};
pub use outcome::{CacheOutcome, Forward, Forwarded};
pub(crate) use passage::{Lookup, Passage};
pub(crate) use peer::purges::Purges;
pub(crate) use peer::{Door, PeerLayer, Peering, Peers};
pub use policy::{Lifetimes, Rules};
pub use purge::{Mode, Purge, Purged, Selection};
pub use selection::InvalidSelection;
pub use store::{
    BodyState, ByteRange, CacheStore, Fill, Moment, ObjectId, StoreError, Stored, StoredBody, Usage,
};
pub use tag::Tags;
pub use vary::Variant;
