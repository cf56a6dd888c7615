//! The core of Cirrus: four traits, and the engine that serves traffic.
//!
//! A request walks through the modules in this order:
//! [`downstream`] → [`routing`] → [`middleware`] → [`cache`] → [`upstream`].
//! Everything it consults is in one immutable [`config::Snapshot`], taken once.
//!
//! The four traits are [`config::ConfigSource`], [`discovery::Discovery`], [`cache::CacheStore`] and
//! [`downstream::CertProvider`]. Their backends live in crates of their own; a stranger's are as good as ours.

#![forbid(unsafe_code)]

/// Sockets, TLS and HTTP: bytes become a request.
pub mod downstream;

/// The request finds its site and route.
pub mod routing;

/// What happens around every request: the log line, errors into responses, what a route asks for, forwarding headers.
pub mod middleware;

/// Responses kept and used again (RFC 9111).
pub mod cache;

/// The request reaches an origin.
pub mod upstream;

/// The configuration: as written, as meant, and how it changes.
pub mod config;

/// Finds the endpoints of services.
pub mod discovery;

/// Which endpoints may be asked.
pub mod health;

/// Answers that need no origin.
mod respond;

/// What would be done with a request.
pub mod explain;

/// What operators can count.
pub mod metrics;

/// Puts it all together: builder, workers, drain, admin listener.
pub mod server;

/// HTTP/1.1 on the wire, for both sides.
mod codec;

mod body;
mod clock;
mod error;

/// A harness (origin, proxy, client) and one conformance suite for each trait.
#[cfg(feature = "testing")]
pub mod testing;

/// What the fuzz targets run.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;

pub use body::{AtEnd, Body, Ended, Request, Response};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use error::{BoxError, Error, Kind, Side};
pub use server::Server;

/// Whole values, each replacing the one before. An error is an item, not the end. Dropping it ends the watch.
pub type Updates<T> =
    std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<T, BoxError>> + Send>>;
