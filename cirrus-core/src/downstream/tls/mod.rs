//! TLS on the client's side: ClientHello → certificate → handshake.

mod auth;
mod challenge;
mod coverage;
pub(crate) mod hello;
mod identity;
mod loads;
mod reading;
mod resume;
mod rules;
mod schemes;
mod session;
mod terms;
#[cfg(test)]
mod tests;
mod tickets;
mod turns;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::cert::{CertProvider, Certificate, Hello, Lookup, ServerName};
use crate::upstream::Cluster;
pub(crate) use auth::{ClientAuth, check_auth};
pub(crate) use identity::ClientIdentity;
use loads::Loads;
use reading::{UNRECOGNIZED_NAME, name_of, read_hello, say};
pub(crate) use rules::Rules;
use schemes::usable_schemes;
pub(crate) use session::TlsSession;
pub(crate) use terms::Terms;
pub(crate) use tickets::check_secret;
pub(crate) use turns::Turns;

/// Accepts TLS connections with the certificates of one provider. Clones are one: they share sessions and loads, so that
/// a client that comes back to another worker resumes its session.
///
/// What a site says about TLS holds under its names. No early data, because it can be replayed (RFC 8446 §8).
#[derive(Clone)]
pub(crate) struct Acceptor {
    provider: Arc<dyn CertProvider>,
    terms: Arc<Terms>,
    /// Whether its listener has HTTP/2.
    http2: bool,
    loads: Loads,
    limit: HandshakeTimeout,
    /// Room for handshakes.
    room: Arc<Semaphore>,
    turns: Option<Turns>,
}

/// Longest time from the first byte to the end of the handshake, loading of a cold certificate included. Default: 10 s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandshakeTimeout(pub(crate) Duration);

/// Starts work that outlives whoever asked for it.
#[derive(Clone)]
pub(crate) struct Spawn(Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>);

/// What became of a connection.
#[derive(Debug)]
pub(crate) enum Accepted<IO> {
    /// TLS ends here.
    Ended(Box<TlsStream<IO>>, Handshake),
    /// It goes to a cluster as it is, with what its client has said already.
    Passed(IO, Vec<u8>, Arc<Cluster>),
}

/// What a handshake has settled.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    /// The one that was presented. On a resumed session none is presented: the one that would have been.
    pub(crate) certificate: Arc<Certificate>,
    /// The connection speaks HTTP/2; otherwise HTTP/1.1.
    pub(crate) h2: bool,
    /// The name the client asked for.
    pub(crate) sni: Option<ServerName>,
    pub(crate) session: Arc<TlsSession>,
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

// === impl Acceptor ===

impl Acceptor {
    /// Accepts with certificates of `provider`. Cold certificates are loaded by `spawn`.
    pub(crate) fn new(provider: Arc<dyn CertProvider>, terms: Arc<Terms>, spawn: Spawn) -> Self {
        Self {
            loads: Loads::new(Arc::clone(&provider), spawn),
            provider,
            terms,
            http2: true,
            limit: HandshakeTimeout::default(),
            room: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            turns: None,
        }
    }

    /// Offers HTTP/1.1 only; tickets of the same names are good for both.
    #[must_use]
    pub(crate) fn without_http2(mut self) -> Self {
        self.http2 = false;
        self
    }

    /// With room for so many handshakes at the same time, over all clones.
    #[must_use]
    pub(crate) fn with_room(mut self, most: u32) -> Self {
        self.room = Arc::new(Semaphore::new(most as usize));
        self
    }

    /// With turns that the handshakes of one worker take.
    #[must_use]
    pub(crate) fn with_turns(mut self, turns: Turns) -> Self {
        self.turns = Some(turns);
        self
    }

    /// Room for one more handshake, if there is any.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
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
    pub(crate) async fn accept<IO>(&self, io: IO) -> Result<Accepted<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        match tokio::time::timeout(self.limit.0, self.begin(io)).await {
            Ok(done) => done,
            Err(_) => Err(AcceptError::Timeout),
        }
    }

    async fn begin<IO>(&self, mut io: IO) -> Result<Accepted<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut said = Vec::new();
        if let Some(passed) = self.terms.passthrough() {
            let name = name_of(&mut io, &mut said).await?;
            let cluster = name.map(|name| {
                let name = name.as_ref().map_or("", ServerName::as_str);
                passed.passthrough.as_ref()?.lookup(name).cloned()
            });
            if let Some(cluster) = cluster.flatten() {
                return Ok(Accepted::Passed(io, said, cluster));
            }
        }
        let (stream, handshake) = self.handshake(io, &said).await?;
        Ok(Accepted::Ended(Box::new(stream), handshake))
    }

    async fn handshake<IO>(
        &self,
        mut io: IO,
        said: &[u8],
    ) -> Result<(TlsStream<IO>, Handshake), AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let accepted = read_hello(&mut io, said).await?;
        let sni = accepted
            .client_hello()
            .server_name()
            .and_then(ServerName::new);
        if challenge::is_asked_for(&accepted.client_hello()) {
            return challenge::answer(&*self.provider, accepted, io, sni).await;
        }
        let rules = self.terms.rules(sni.as_ref());
        let certificate = match &rules {
            Some(_) => {
                self.certificate(sni.as_ref(), &accepted.client_hello())
                    .await
            }
            None => None,
        };
        let (Some(rules), Some(certificate)) = (rules, certificate) else {
            say(&mut io, &UNRECOGNIZED_NAME).await;
            return Err(AcceptError::NoCertificate(sni));
        };
        let config = self.config(&rules, &certificate)?;
        let start = StartHandshake::from_parts(accepted, io).into_stream(config);
        let stream = match &self.turns {
            Some(turns) => turns.take(start).await?,
            None => start.await?,
        };
        let connection = stream.get_ref().1;
        let h2 = connection.alpn_protocol() == Some(b"h2");
        let session = Arc::new(TlsSession::of(connection, &rules, self.terms.strict));
        Ok((
            stream,
            Handshake {
                certificate,
                h2,
                sni,
                session,
            },
        ))
    }

    async fn certificate(
        &self,
        sni: Option<&ServerName>,
        hello: &ClientHello<'_>,
    ) -> Option<Arc<Certificate>> {
        let schemes = usable_schemes(hello);
        if let Some(found) = self.look_up(sni, &schemes).await {
            return Some(found);
        }
        let default = self.terms.default_name.as_ref()?;
        self.look_up(Some(default), &schemes).await
    }

    async fn look_up(
        &self,
        name: Option<&ServerName>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<Certificate>> {
        let hello = Hello::new(name).with_schemes(schemes);
        match self.provider.lookup(&hello) {
            Lookup::Found(certificate) => Some(certificate),
            Lookup::Cold(name) => self.loads.load(name).await,
            Lookup::Unknown => None,
        }
    }

    /// Differs from the rules' own in its certificate only, so tickets of one are good for the other; rustls itself
    /// resumes a session only under the name it began with.
    fn config(
        &self,
        rules: &Rules,
        certificate: &Certificate,
    ) -> Result<Arc<ServerConfig>, AcceptError> {
        let config = rules
            .config(&self.terms.resumptions, self.http2)
            .map_err(AcceptError::Tls)?;
        let mut config = ServerConfig::clone(&config);
        config.cert_resolver = Arc::new(Chosen(Some(Arc::clone(&certificate.key))));
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
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
