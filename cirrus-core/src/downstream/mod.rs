//! Sockets, TLS and HTTP: bytes become a request.
//!
//! The stations, in order: `listen` accepts (`proxy_protocol` learns whose the connection is), `tls` shakes hands
//! ([`CertProvider`]), `framing` refuses requests that could be read in two ways, `http` speaks HTTP/1.1 and HTTP/2,
//! `hygiene` refuses what is ambiguous and takes away what is meant for one hop only.
//!
//! [`CertProvider`]: crate::downstream::CertProvider

mod activity;
mod cert;
mod connection;
mod framing;
mod http;
pub(crate) mod hygiene;
pub(crate) mod listen;
pub(crate) mod proxy_protocol;
pub mod tls;

pub(crate) use activity::Activity;
pub use cert::{CertError, CertProvider, Certificate, Hello, Lookup, ServerName};
pub use connection::Connection;
