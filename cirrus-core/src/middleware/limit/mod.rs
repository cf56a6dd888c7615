//! How much a route takes on: how often, how many at once, how long, how large.

mod body_size;
mod buckets;
mod concurrency;
mod deadline;
mod kept;
mod pace;
mod rate;

pub(crate) use body_size::{BodySizeLayer, is_too_large};
pub use buckets::{Buckets, TooMany};
pub(crate) use concurrency::{ConcurrencyLayer, Gate};
pub(crate) use deadline::DeadlineLayer;
pub(crate) use kept::States;
pub(crate) use rate::{RateLimit, RateLimitLayer};
