//! Sockets, TLS and HTTP: bytes become a request.
//!
//! The stations, in order: `listen` accepts (`proxy_protocol` learns whose the connection is), `tls` shakes hands
//! ([`CertProvider`]), `sniff` sees which HTTP a client begins with, `http` chooses `h1`, which refuses requests that could
//! be read in two ways, or `h2`; `pace` hurries clients that dawdle, `hygiene` refuses what is ambiguous and takes away
//! what is meant for one hop only.
//!
//! [`CertProvider`]: crate::downstream::CertProvider

mod activity;
mod cert;
mod clients;
mod connection;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod h1;
mod h2;
mod http;
pub(crate) mod hygiene;
mod known_host;
pub(crate) mod listen;
mod manage;
mod pace;
pub(crate) mod proxy_protocol;
mod sniff;
pub mod tls;
mod upgrade;
mod websocket;

pub(crate) use activity::Activity;
pub use cert::{CertError, CertProvider, Certificate, Hello, Lookup, ServerName};
pub(crate) use clients::{Clients, Counted};
pub use connection::Connection;
pub(crate) use known_host::{KnownClaims, KnownHost};
pub use manage::{CertDone, CertReport, CertTask, ManageError};
pub(crate) use pace::Pace;
pub(crate) use upgrade::Upgrade;
pub(crate) use websocket::Bridged;
