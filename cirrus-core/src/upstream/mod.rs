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
mod link;
pub(crate) mod pool;
mod slots;
mod tunnel;

pub(crate) use cluster::{Cluster, Rules};
pub(crate) use connect::{ClientTls, Connector, Introduction, check_tls};
pub(crate) use forward::{Asked, Forward};
pub(crate) use h1::Times;
pub(crate) use h2::Sessions;
pub(crate) use pool::Keep;
pub use pool::{IDLE_TIME, MAX_IDLE};
pub(crate) use slots::Crowd;
