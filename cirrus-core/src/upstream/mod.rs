//! The request reaches an origin: cluster → balance → pool or connect → exchange.

pub(crate) mod balance;
mod cluster;
mod connect;
mod forward;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
pub(crate) mod gateway;
pub(crate) mod h1;
pub(crate) mod h2;
mod ledger;
mod link;
mod mirror;
mod overdue;
pub(crate) mod passthrough;
pub(crate) mod pool;
mod replay;
mod retry;
mod slots;
mod split;
mod sticky;
mod target;
mod tried;
mod tunnel;
mod watched;

#[cfg(feature = "testing")]
pub(crate) use balance::Wanted;
pub(crate) use balance::{Plan, Selection, Sticky, Subset, hash};
pub(crate) use cluster::{Backend, Balance, Cluster, Rules};
pub(crate) use connect::{ClientTls, Connector, Introduction, check_tls};
pub(crate) use forward::{Asked, Forward};
pub(crate) use h1::Times;
pub(crate) use h2::Sessions;
pub(crate) use mirror::Mirroring;
pub(crate) use pool::Keep;
pub use pool::{IDLE_TIME, MAX_IDLE};
pub(crate) use retry::{Reason as RetryReason, Rules as RetryRules};
pub(crate) use slots::Crowd;
pub(crate) use sticky::StickyLayer;
pub(crate) use target::{Part, Target};
pub(crate) use tried::Tried;
