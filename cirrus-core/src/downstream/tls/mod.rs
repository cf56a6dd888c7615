//! TLS on the client's side: ClientHello → certificate → handshake.

mod loads;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    Accepted, Acceptor as HelloReader, ClientHello, NoServerSessionStorage, ResolvesServerCert,
};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::cert::{CertProvider, Certificate, Hello, Lookup, ServerName};
use loads::Loads;

/// Accepts TLS connections with the certificates of one provider. Clones are one: they share session tickets and loads,
/// so that a client that comes back to another worker resumes its session.
///
/// TLS 1.2 and 1.3; no early data, because it can be replayed (RFC 8446 §8); no client certificates.
#[derive(Clone)]
pub(crate) struct Acceptor {
    provider: Arc<dyn CertProvider>,
    config: Arc<ServerConfig>,
    loads: Loads,
    limit: HandshakeTimeout,
}

/// Longest time from the first byte to the end of the handshake, loading of a cold certificate included. Default: 10 s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandshakeTimeout(pub(crate) Duration);

/// Starts work that outlives whoever asked for it.
#[derive(Clone)]
pub(crate) struct Spawn(Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>);

/// What a handshake has settled.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    /// The one that was presented. On a resumed session none is presented: the one that would have been.
    pub(crate) certificate: Arc<Certificate>,
    /// The connection speaks HTTP/2; otherwise HTTP/1.1.
    pub(crate) h2: bool,
    /// The name the client asked for.
    pub(crate) sni: Option<ServerName>,
}

/// Why there is no connection. The client has been told whatever can be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// The client took too long.
    #[error("the handshake took too long")]
    Timeout,
    /// Plain HTTP; it has been answered 400.
    #[error("plain HTTP on a port that speaks TLS")]
    NotTls,
    /// Nothing is served under this name, or its certificate could not be had.
    #[error("no certificate for {}", .0.as_ref().map_or("a client that names no host", ServerName::as_str))]
    NoCertificate(Option<ServerName>),
    /// The client went away.
    #[error("the connection broke during the handshake")]
    Io(#[source] io::Error),
    /// A certificate authority has seen what it wanted to see (RFC 8737).
    #[error("a certificate authority has looked")]
    Challenge,
    /// The two could not agree, or the client broke the protocol.
    #[error("the handshake failed")]
    Tls(#[source] rustls::Error),
}

/// Resolves to what was chosen before the handshake: the caller then knows the very certificate that was presented.
#[derive(Debug)]
struct Chosen(Option<Arc<CertifiedKey>>);

/// What rustls would say without a certificate is `access_denied`. This is the record that says `unrecognized_name`
/// (RFC 6066 §3): alert, version 3.3, two bytes: fatal, 112.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What certificate authorities speak (RFC 8737 §4), and nothing beside it.
const ACME_TLS: &[u8] = b"acme-tls/1";

const SPEAKS_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 34\r\n\
    connection: close\r\n\
    \r\n\
    this port speaks TLS: use https://";

// === impl Acceptor ===

impl Acceptor {
    /// Accepts with certificates of `provider`, and offers `alpn` (the first is preferred). Cold certificates are loaded
    /// by `spawn`.
    pub(crate) fn new(
        provider: Arc<dyn CertProvider>,
        alpn: &[&[u8]],
        spawn: Spawn,
    ) -> Result<Self, rustls::Error> {
        let loads = Loads::new(Arc::clone(&provider), spawn);
        let config = Arc::new(config(alpn)?);
        let limit = HandshakeTimeout::default();
        Ok(Self {
            provider,
            config,
            loads,
            limit,
        })
    }

    /// Offers other protocols; tickets of the same names are good for both.
    #[must_use]
    pub(crate) fn speaking(mut self, alpn: &[&[u8]]) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        self.config = Arc::new(config);
        self
    }

    /// With another limit.
    #[must_use]
    pub(crate) fn with_timeout(mut self, limit: HandshakeTimeout) -> Self {
        self.limit = limit;
        self
    }

    /// Performs one handshake.
    ///
    /// # Cancel safety
    ///
    /// A dropped future closes the connection; the load of a cold certificate goes on.
    pub(crate) async fn accept<IO>(&self, io: IO) -> Result<(TlsStream<IO>, Handshake), AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        match tokio::time::timeout(self.limit.0, self.handshake(io)).await {
            Ok(done) => done,
            Err(_) => Err(AcceptError::Timeout),
        }
    }

    async fn handshake<IO>(&self, mut io: IO) -> Result<(TlsStream<IO>, Handshake), AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let accepted = read_hello(&mut io).await?;
        let sni = accepted
            .client_hello()
            .server_name()
            .and_then(ServerName::new);
        if asks_for_challenge(&accepted.client_hello()) {
            return self.answer_challenge(accepted, io, sni).await;
        }
        let Some(certificate) = self.certificate(sni.as_ref()).await else {
            say(&mut io, &UNRECOGNIZED_NAME).await;
            return Err(AcceptError::NoCertificate(sni));
        };
        let start = StartHandshake::from_parts(accepted, io);
        let stream = start.into_stream(self.config_for(&certificate)).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((
            stream,
            Handshake {
                certificate,
                h2,
                sni,
            },
        ))
    }

    /// Shows the authority what it wants to see. There is no connection: nothing is said on it (RFC 8737 §3).
    async fn answer_challenge<IO, T>(
        &self,
        accepted: Accepted,
        mut io: IO,
        sni: Option<ServerName>,
    ) -> Result<T, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let key = match &sni {
            Some(name) => self.provider.alpn_challenge(name).await,
            None => None,
        };
        let Some(key) = key else {
            say(&mut io, &UNRECOGNIZED_NAME).await;
            return Err(AcceptError::NoCertificate(sni));
        };
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        config.cert_resolver = Arc::new(Chosen(Some(key)));
        // Whoever comes back with a ticket would not see the certificate.
        config.send_tls13_tickets = 0;
        let start = StartHandshake::from_parts(accepted, io);
        let mut stream = start.into_stream(Arc::new(config)).await?;
        let _ = stream.shutdown().await;
        Err(AcceptError::Challenge)
    }

    async fn certificate(&self, sni: Option<&ServerName>) -> Option<Arc<Certificate>> {
        match self.provider.lookup(&Hello::new(sni)) {
            Lookup::Found(certificate) => Some(certificate),
            Lookup::Cold(name) => self.loads.load(name).await,
            Lookup::Unknown => None,
        }
    }

    /// Differs from the shared one in its certificate only, so tickets of one are good for the other; rustls itself
    /// resumes a session only under the name it began with.
    fn config_for(&self, certificate: &Certificate) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::new(Chosen(Some(Arc::clone(&certificate.key))));
        Arc::new(config)
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn config(alpn: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Chosen(None)));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // Tickets keep no state here; a session cache would be one lock for all workers.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn asks_for_challenge(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.next() == Some(ACME_TLS) && offered.next().is_none()
}

/// Reads up to the whole ClientHello.
///
/// Not tokio-rustls's `LazyConfigAcceptor`: that answers plain HTTP with a TLS alert before anybody can look.
async fn read_hello<IO>(io: &mut IO) -> Result<Accepted, AcceptError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = HelloReader::default();
    let mut bytes = Vec::with_capacity(4096);
    read_some(io, &mut bytes).await?;
    // A TLS record begins with a content type below 24, every HTTP method with a capital letter.
    if bytes.first().is_some_and(u8::is_ascii_uppercase) {
        say(io, SPEAKS_TLS).await;
        return Err(AcceptError::NotTls);
    }
    loop {
        feed(&mut hello, &bytes)?;
        match hello.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => read_some(io, &mut bytes).await?,
            Err((error, mut alert)) => {
                bytes.clear();
                alert.write_all(&mut bytes)?;
                say(io, &bytes).await;
                return Err(AcceptError::Tls(error));
            }
        }
    }
}

async fn read_some<IO: AsyncRead + Unpin>(io: &mut IO, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    match io.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn feed(hello: &mut HelloReader, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        hello.read_tls(&mut bytes)?;
    }
    Ok(())
}

/// The last words. That they arrive is worth no error: the connection ends anyway.
async fn say<IO: AsyncWrite + Unpin>(io: &mut IO, words: &[u8]) {
    if io.write_all(words).await.is_ok() {
        let _ = io.shutdown().await;
    }
}

// === impl HandshakeTimeout ===

impl Default for HandshakeTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

// === impl Spawn ===

impl Spawn {
    /// Starts what it is given with `start`.
    pub(crate) fn new(start: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(start))
    }

    fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        (self.0)(Box::pin(work));
    }
}

impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawn")
    }
}

// === impl AcceptError ===

impl From<io::Error> for AcceptError {
    /// tokio-rustls wraps what rustls says into an I/O error.
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(error) => Self::Tls(error),
            Err(error) => Self::Io(error),
        }
    }
}

// === impl Chosen ===

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}
