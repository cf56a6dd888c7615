//! Large responses kept in slices, so that no part of them needs the whole (RFC 9111 §3.3, §3.4).
//!
//! ```text
//! GET ─► index ─┬─ there ─► source ─► slice ─┬─ there ─► its bytes
//!               │                            └─ not ───► Range to the origin, once for all who wait
//!               └─ not ───► keep: Range to the origin ─► index and first slice
//! ```
//!
//! An [`Index`] is stored under the key of the URL, with the header of the response and no content. It has its variant,
//! its freshness and its tags, is revalidated and purged like any other, and names a generation; the slices are stored
//! under keys with that generation. Without their index they cannot be found: whatever removes it removes them all, at
//! once, in every store. They hold no second opinion about freshness.

mod cut;
mod index;
mod keep;
mod open;
mod prime;
mod source;

pub(super) use self::index::{ContentRange, Index};
use self::index::{can_be_sliced, generation, is_same};
pub(super) use self::keep::Asked;
pub(super) use self::prime::{Unprimed, primed};
use self::source::Source;

/// The response is not the one any more that the slices so far are of.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the origin's response has changed while it was fetched in slices")]
pub(super) struct Changed;
