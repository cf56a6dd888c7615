//! Where Cirrus gets its configuration and its endpoints from: implementations of
//! [`ConfigSource`](cirrus_core::config::ConfigSource) and [`Discovery`](cirrus_core::discovery::Discovery).
//!
//! Configuration:
//!
//! * [`File`]: a TOML or JSON file, watched. What most servers want.
//! * [`Fixed`]: what the program itself says, and may replace at any time. [`proxy_to`] writes a simple one.
//!
//! Endpoints of services:
//!
//! * [`Services`]: sends each service to the backend that its scheme names: `dns://…`, `file://…`, and so on.
//! * [`Dns`]: addresses (`dns://api.internal:8080`) or SRV records (`dns+srv://_http._tcp.api.internal`).
//! * [`EndpointFile`]: lists in a file, watched.
//! * [`Table`]: what the program itself says, service by service, and may change at any time.
//! * [`Consul`](consul::Consul): what Consul knows, in all its datacentres.
//! * [`Etcd`](etcd::Etcd): records under a prefix in etcd.
//! * `redis::Redis`, with the feature `redis`: records in a hash or a set in Redis.
//!
//! The registry that operators change is [`cirrus_core::discovery::Registry`].
//!
//! ```
//! use cirrus_core::discovery::{Endpoint, Endpoints};
//! use cirrus_discovery::{Fixed, Table};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = Fixed::toml(
//!     r#"
//!     cluster = [{ name = "pay", service = "payments" }]
//!     site = [{ hosts = ["pay.example"], cluster = "pay" }]
//!     "#,
//! )?;
//! let payments: Endpoints = [Endpoint::new("http://10.0.0.7:8080".parse()?)].into_iter().collect();
//! let discovery = Table::new([("payments", payments)]);
//!
//! // Later, from anywhere in the program: clones share what they say.
//! discovery.set("payments", Endpoints::default());
//! # drop(source);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod address;
pub mod consul;
mod dns;
mod endpoint_file;
pub mod etcd;
mod file;
mod fixed;
mod link;
mod pace;
mod proxy;
mod records;
#[cfg(feature = "redis")]
pub mod redis;
mod reference;
mod reuse;
mod secret;
mod services;
mod table;
mod telling;
mod tls;

pub use cirrus_core::discovery::UnknownService;
pub use dns::Dns;
pub use endpoint_file::EndpointFile;
pub use file::{File, FileError};
pub use fixed::Fixed;
pub use proxy::proxy_to;
pub use services::{Services, UnknownScheme};
pub use table::Table;
