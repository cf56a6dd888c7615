//! A harness (origin, proxy, client) and one conformance suite for each trait.
//!
//! ```
//! # use cirrus_core::testing::{Client, Origin, proxy, reply};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let origin = Origin::new().get("/", |_| reply("hello")).run().await;
//! let proxy = proxy::to(&origin).run().await;
//! let response = Client::to(proxy.address()).get("/").await;
//! assert_eq!((response.status, response.text()), (200, "hello"));
//! # }
//! ```

pub mod cache_rules;
pub mod cert_suite;
pub mod certs;
mod client;
pub mod config_suite;
pub mod discovery_suite;
pub mod forwarder;
pub mod load;
pub mod nsd;
mod origin;
pub mod pieces;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod rolling_suite;
pub mod store_suite;

pub use crate::__cache_rules as cache_rules;
pub use crate::__cert_provider_suite as cert_provider_suite;
pub use crate::__config_source_suite as config_source_suite;
pub use crate::__discovery_suite as discovery_suite;
pub use crate::__rolling_suite as rolling_suite;
pub use crate::__store_suite as store_suite;
pub use client::{Client, Reply};
pub use forwarder::Forwarder;
pub use load::Load;
pub use origin::{Asked, Describe, Origin, Running as RunningOrigin, reply, scripted};
