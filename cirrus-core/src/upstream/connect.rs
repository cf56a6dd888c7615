//! New connections to origins.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::pool::{Io, Transport, Wire};
use crate::cache::Scheme;
use crate::config::OriginProtocol;

/// Makes connections. Origins are verified against the system's trusted roots (`SSL_CERT_FILE` names others).
#[derive(Default)]
pub(crate) struct Connector {
    /// Read once, at the first connection with TLS; an error stays until the next start.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

// === impl Connector ===

impl Connector {
    /// A new connection, TLS included, within `limit`.
    ///
    /// # Cancel safety
    ///
    /// A dropped future closes what it had opened.
    pub(crate) async fn connect(&self, transport: &Transport, limit: Duration) -> io::Result<Wire> {
        tokio::time::timeout(limit, self.dial(transport))
            .await
            .unwrap_or_else(|_| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "no connection in time",
                ))
            })
    }

    async fn dial(&self, transport: &Transport) -> io::Result<Wire> {
        let url = &transport.url;
        let tcp = tcp(url.host(), url.port()).await?;
        let io = match url.scheme() {
            Scheme::Http => Io::Tcp(tcp),
            Scheme::Https => {
                let name = transport.sni.as_deref().unwrap_or(url.host());
                let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                let tls = TlsConnector::from(self.tls()?)
                    .with_alpn(alpn(transport.protocol))
                    .connect(name, tcp)
                    .await?;
                Io::Tls(Box::new(tls))
            }
        };
        Ok(Wire::new(io))
    }

    fn tls(&self) -> io::Result<Arc<ClientConfig>> {
        let config = self.tls.get_or_init(|| {
            client_config()
                .map(Arc::new)
                .map_err(|error| error.to_string())
        });
        config.clone().map_err(io::Error::other)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

/// Each address in turn, until one answers.
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    for address in lookup_host((host, port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth())
}

/// What the origin may choose from, the best first.
fn alpn(protocol: OriginProtocol) -> Vec<Vec<u8>> {
    let offered: &[&[u8]] = match protocol {
        OriginProtocol::Http1 => &[b"http/1.1"],
        OriginProtocol::Http2 => &[b"h2"],
        OriginProtocol::Auto => &[b"h2", b"http/1.1"],
    };
    offered.iter().map(|name| name.to_vec()).collect()
}
