//! Sockets, TLS and HTTP: bytes become a request.
//!
//! The stations, in order: `listen` accepts (`proxy_protocol` learns whose the connection is), `tls` shakes hands
//! ([`CertProvider`]), `sniff` sees which HTTP a client begins with, `framing` refuses HTTP/1 requests that could be read
//! in two ways, `http` speaks HTTP/1.1 and `h2` HTTP/2, `pace` hurries clients that dawdle, `hygiene` refuses what is ambiguous and takes away what is meant for one hop only.
//!
//! [`CertProvider`]: crate::downstream::CertProvider

mod activity;
mod cert;
mod clients;
mod connection;
mod framing;
mod h2;
mod http;
pub(crate) mod hygiene;
pub(crate) mod listen;
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
pub(crate) use pace::Pace;
pub(crate) use upgrade::Upgrade;
pub(crate) use websocket::Bridged;
