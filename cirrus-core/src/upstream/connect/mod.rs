//! New connections to origins: name → address → socket → introduction → TLS.

mod introduce;
mod race;
mod resolve;
mod system;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use self::race::race;
use self::resolve::{Lookup, Resolver, Unresolved};
use self::system::System;
use super::pool::{Io, Transport, Wire};
use crate::cache::Scheme;
use crate::config::{OriginUrl, UpstreamTlsConfig};
pub(crate) use introduce::Introduction;
pub(crate) use tls::{ClientTls, Unusable, check as check_tls};

/// Makes connections. One for all workers: names are resolved once for all of them, and TLS sessions are shared.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) resolver: Resolver,
    /// Where a cluster says nothing about TLS. Made at the first connection with TLS; an error stays until the next
    /// start.
    tls: OnceLock<ClientTls>,
}

/// What is too late.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no connection in time")]
struct Late;

// === impl Connector ===

impl Default for Connector {
    /// One that resolves names as the machine is told to, on the runtime of whoever makes it.
    fn default() -> Self {
        Self::resolving(System::default())
    }
}

impl Connector {
    fn resolving(lookup: impl Lookup) -> Self {
        Self {
            resolver: Resolver::new(lookup),
            tls: OnceLock::new(),
        }
    }

    /// A new connection, TLS included, within `limit`.
    ///
    /// # Cancel safety
    ///
    /// A dropped future closes what it had opened.
    pub(crate) async fn connect(
        &self,
        transport: &Transport,
        limit: Duration,
    ) -> io::Result<Box<Wire>> {
        tokio::time::timeout(limit, self.dial(transport))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, Late)))
    }

    /// A new connection without TLS, whatever the endpoint's URL says, within `limit`.
    pub(crate) async fn connect_plain(
        &self,
        transport: &Transport,
        limit: Duration,
    ) -> io::Result<Io> {
        tokio::time::timeout(limit, self.dial_plain(transport))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, Late)))
    }

    async fn dial_plain(&self, transport: &Transport) -> io::Result<Io> {
        let url = &transport.url;
        if let Some(path) = url.unix_path() {
            let mut unix = UnixStream::connect(path).await?;
            introduce(transport, &mut unix).await?;
            return Ok(Io::Unix(unix));
        }
        let mut tcp = self.tcp(url).await?;
        introduce(transport, &mut tcp).await?;
        Ok(Io::Tcp(tcp))
    }

    async fn dial(&self, transport: &Transport) -> io::Result<Box<Wire>> {
        let url = &transport.url;
        if let Some(path) = url.unix_path() {
            let mut unix = UnixStream::connect(path).await?;
            introduce(transport, &mut unix).await?;
            return Ok(Wire::new(Io::Unix(unix)));
        }
        let mut tcp = self.tcp(url).await?;
        introduce(transport, &mut tcp).await?;
        let io = match url.scheme() {
            Scheme::Http => Io::Tcp(tcp),
            Scheme::Https => {
                let name = transport.sni.as_deref().unwrap_or(url.host());
                let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                let connector = TlsConnector::from(self.tls(transport)?);
                let connector = connector.with_alpn(tls::alpn(transport.protocol));
                Io::Tls(Box::new(connector.connect(name, tcp).await?))
            }
        };
        Ok(Wire::new(io))
    }

    async fn tcp(&self, url: &OriginUrl) -> io::Result<TcpStream> {
        let stream = match url.host().parse::<IpAddr>() {
            Ok(address) => TcpStream::connect((address, url.port())).await?,
            Err(_) => self.by_name(url.host(), url.port()).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn by_name(&self, name: &str, port: u16) -> io::Result<TcpStream> {
        let addresses = self
            .resolver
            .resolve(name)
            .await
            .map_err(io::Error::other)?;
        let addresses = addresses
            .iter()
            .map(|&address| SocketAddr::new(address, port));
        let stream = race(addresses, TcpStream::connect).await?;
        self.resolver.worked(name, stream.peer_addr()?.ip());
        Ok(stream)
    }

    fn tls(&self, transport: &Transport) -> io::Result<Arc<rustls::ClientConfig>> {
        let usual = || ClientTls::new(&UpstreamTlsConfig::default());
        let tls = match &transport.tls {
            Some(tls) => tls,
            None => self.tls.get_or_init(usual),
        };
        tls.config().map_err(io::Error::other)
    }
}

async fn introduce(
    transport: &Transport,
    io: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> io::Result<()> {
    match transport.introduction {
        Some(introduction) => introduction.write(io).await,
        None => Ok(()),
    }
}

/// The word for `Proxy-Status` (RFC 9209 §2.3) that tells why there is no connection.
pub(crate) fn word(error: &io::Error) -> &'static str {
    let cause = error.get_ref();
    if let Some(tls) = cause.and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        return tls_word(tls);
    }
    if cause.is_some_and(|cause| cause.is::<Unresolved>()) {
        return "dns_error";
    }
    if cause.is_some_and(|cause| cause.is::<Unusable>()) {
        return "proxy_configuration_error";
    }
    match error.kind() {
        io::ErrorKind::TimedOut => "connection_timeout",
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => "connection_terminated",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "destination_ip_unroutable"
        }
        // Of what speaks another protocol than is expected of it; TLS has its own words.
        io::ErrorKind::InvalidData => "http_protocol_error",
        _ => "connection_refused",
    }
}

/// As [`word`], for a connection that had been made.
pub(crate) fn word_of_broken(error: &io::Error) -> &'static str {
    let cause = error.get_ref();
    let tls = cause.and_then(|cause| cause.downcast_ref::<rustls::Error>());
    tls.map_or("connection_terminated", tls_word)
}

fn tls_word(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(_) => "tls_certificate_error",
        rustls::Error::AlertReceived(_) => "tls_alert_received",
        _ => "tls_protocol_error",
    }
}

#[cfg(test)]
mod tests;
