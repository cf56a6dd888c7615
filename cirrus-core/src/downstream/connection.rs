//! What is known about the connection a request came on.

use std::net::SocketAddr;
use std::sync::Arc;

use super::tls::TlsSession;
use super::{Certificate, ServerName};
use crate::cache::Scheme;

/// What is known about the connection a request came on.
///
/// An embedder with an accept loop of its own puts an `Arc` of it into the request's extensions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Whether TLS protects it.
    pub scheme: Scheme,
    /// The certificate that was shown, if TLS ended here.
    pub certificate: Option<Arc<Certificate>>,
    /// The name the client asked for in TLS (SNI).
    pub server_name: Option<ServerName>,
    /// What the handshake has settled, if TLS ended here.
    pub(crate) session: Option<Arc<TlsSession>>,
    /// A client that ends its side has not left.
    pub(crate) half_close: bool,
}

// === impl Connection ===

impl Connection {
    /// A connection without TLS.
    #[must_use]
    pub fn plain(peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            peer,
            local,
            scheme: Scheme::Http,
            certificate: None,
            server_name: None,
            session: None,
            half_close: false,
        }
    }

    /// The same connection with TLS, ended here with this certificate or somewhere before with another.
    #[must_use]
    pub fn secured(mut self, certificate: Option<Arc<Certificate>>) -> Self {
        self.scheme = Scheme::Https;
        self.certificate = certificate;
        self
    }

    /// The same connection, whose client asked for this name in TLS.
    #[must_use]
    pub fn with_server_name(mut self, name: Option<ServerName>) -> Self {
        self.server_name = name;
        self
    }
}
