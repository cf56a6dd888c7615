//! Sockets, TLS and HTTP: bytes become a request.
//!
//! The stations, in order: `listen` accepts (`proxy_protocol` learns whose the connection is), `tls` shakes hands
//! ([`CertProvider`]), `http` chooses HTTP/2 or `h1`, which refuses requests that could be read in two ways,
//! `hygiene` refuses what is ambiguous and takes away what is meant for one hop only.
//!
//! [`CertProvider`]: crate::downstream::CertProvider

mod activity;
mod cert;
mod connection;
mod h1;
mod http;
pub(crate) mod hygiene;
mod known_host;
pub(crate) mod listen;
pub(crate) mod proxy_protocol;
pub mod tls;
pub(crate) mod upgrade;

pub(crate) use activity::Activity;
pub use cert::{CertError, CertProvider, Certificate, Hello, Lookup, ServerName};
pub use connection::Connection;
pub(crate) use known_host::KnownHost;
