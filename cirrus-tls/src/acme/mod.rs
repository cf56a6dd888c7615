//! Certificates by ACME (RFC 8555): obtained, renewed, and shared by all nodes.
//!
//! [`Acme`] serves the certificates of a [`CertStore`]. Those that are [`Wanted`] it obtains from an [`Authority`], and
//! renews in time. Control over a name is shown by HTTP-01, TLS-ALPN-01 (RFC 8737) or, through a [`DnsSolver`], DNS-01.
//!
//! ```no_run
//! use std::sync::Arc;
//! use cirrus_tls::acme::{Acme, Authority, DiskStore, Wanted};
//!
//! # fn make() -> Result<(), cirrus_core::BoxError> {
//! let certificates = Acme::builder(Arc::new(DiskStore::open("acme")?))
//!     .authority(Authority::lets_encrypt())
//!     .contact(["mailto:admin@shop.example"])
//!     .want(Wanted::new(["shop.example", "www.shop.example"]))
//!     .build()?;
//! # Ok(())
//! # }
//! ```

mod account;
mod agenda;
mod builder;
mod challenge;
mod dns;
mod error;
mod http;
mod manage;
mod on_demand;
mod order;
mod orders;
mod provider;
mod schedule;
mod served;
mod settings;
mod shelf;
mod state;
mod store;

pub use builder::AcmeBuilder;
pub use dns::{AcmeDns, DnsSolver, Propagation, Rfc2136, Script, SolverError, TsigKey, TxtRecord};
pub use error::IssueError;
pub use on_demand::OnDemand;
pub use provider::{Acme, CertStatus};
pub use settings::{Authority, Challenge, Renewal, Wanted, binding_key};
#[cfg(feature = "redis")]
pub use store::RedisStore;
pub use store::{CertRecord, CertStore, DiskStore, Lease, RecordError, Slot, StoreError};
