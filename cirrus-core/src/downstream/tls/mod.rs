//! TLS on the client's side: ClientHello → certificate → handshake.

mod auth;
mod coverage;
pub(crate) mod hello;
mod identity;
mod loads;
mod resume;
mod rules;
mod session;
#[cfg(test)]
mod tests;
mod tickets;
mod turns;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::server::{
    Accepted as WholeHello, Acceptor as HelloReader, ClientHello, ResolvesServerCert,
};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::cert::{CertProvider, Certificate, Hello, Lookup, ServerName};
use crate::clock::Clock;
use crate::config::{Live, Snapshot, TlsConfig};
use crate::server::Drain;
use crate::upstream::Cluster;
pub(crate) use auth::{ClientAuth, check_auth};
pub(crate) use identity::ClientIdentity;
use loads::Loads;
pub(crate) use resume::Resumptions;
pub(crate) use rules::Rules;
pub(crate) use session::TlsSession;
pub(crate) use tickets::{BadSecret, check_secret};
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

/// What connections are accepted by.
pub(crate) struct Terms {
    /// Where sites say what they have to do with TLS.
    live: Option<Arc<Live>>,
    resumptions: Resumptions,
    strict: bool,
    default_name: Option<ServerName>,
    /// Where no site says anything.
    rules: Arc<Rules>,
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

const SPEAKS_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 34\r\n\
    connection: close\r\n\
    \r\n\
    this port speaks TLS: use https://";

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

// === impl Terms ===

impl Terms {
    /// As configured.
    pub(crate) fn new(
        config: &TlsConfig,
        clock: Arc<dyn Clock>,
        live: Option<Arc<Live>>,
    ) -> Result<Arc<Self>, BadSecret> {
        Ok(Arc::new(Self {
            live,
            resumptions: Resumptions::new(config, clock)?,
            strict: config.strict_sni,
            default_name: config.default_name.as_deref().and_then(ServerName::new),
            rules: Arc::new(Rules::of(config)),
        }))
    }

    /// What holds under a name; `None` if nothing is to be served under it.
    fn rules(&self, sni: Option<&ServerName>) -> Option<Arc<Rules>> {
        let Some(live) = &self.live else {
            return Some(Arc::clone(&self.rules));
        };
        let live = live.now();
        if self.strict && sni.is_none() {
            return None;
        }
        // Who names no host is whoever the site for every host takes.
        let site = live.hosts.lookup(sni.map_or("", ServerName::as_str));
        if self.strict && site.is_none() {
            return None;
        }
        let own = site.and_then(|site| site.tls.as_ref());
        Some(own.map_or_else(|| Arc::clone(&live.tls), |own| Arc::clone(&own.rules)))
    }

    /// The names whose connections are passed on, if there are any.
    fn passthrough(&self) -> Option<Arc<Snapshot>> {
        let live = self.live.as_ref()?.now();
        live.passthrough.is_some().then_some(live)
    }

    /// Reads again what stands in files, at intervals, and looks whether every host has a certificate of `provider` when
    /// the configuration has changed.
    pub(crate) async fn follow(self: Arc<Self>, provider: Arc<dyn CertProvider>, drain: Drain) {
        let mut ticks = tokio::time::interval(LOOK);
        let mut revision = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = drain.begun() => return,
            }
            let live = self.live.as_ref().map(|live| live.now());
            if let Some(live) = live.filter(|live| live.revision != revision) {
                revision = live.revision;
                if self.default_name.is_none() {
                    coverage::report(&*provider, &live);
                }
            }
            let terms = Arc::clone(&self);
            let look = tokio::task::spawn_blocking(move || terms.reload());
            if let Err(error) = look.await {
                tracing::error!(%error, "the files of TLS could not be looked at");
            }
        }
    }

    fn reload(&self) {
        self.resumptions.reload();
        let Some(live) = &self.live else { return };
        let live = live.now();
        let asking = live.sites.iter().filter_map(|site| site.tls.as_ref());
        for auth in asking.filter_map(|tls| tls.rules.auth.as_ref()) {
            auth.reload();
        }
    }
}

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The signatures that a client can make use of: with TLS 1.2 only those that its suites have room for.
fn usable_schemes(hello: &ClientHello<'_>) -> Vec<SignatureScheme> {
    let has = |names: &[CipherSuite]| hello.cipher_suites().iter().any(|one| names.contains(one));
    let is_new = has(&[
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ]);
    let (ecdsa, rsa) = match is_new {
        true => (true, true),
        false => (has(&ECDSA_SUITES), has(&RSA_SUITES)),
    };
    let fits = |scheme: &SignatureScheme| if is_rsa(*scheme) { rsa } else { ecdsa };
    hello
        .signature_schemes()
        .iter()
        .copied()
        .filter(fits)
        .collect()
}

fn is_rsa(scheme: SignatureScheme) -> bool {
    use SignatureScheme as S;
    let pkcs1 = [
        S::RSA_PKCS1_SHA256,
        S::RSA_PKCS1_SHA384,
        S::RSA_PKCS1_SHA512,
    ];
    let pss = [S::RSA_PSS_SHA256, S::RSA_PSS_SHA384, S::RSA_PSS_SHA512];
    pkcs1.contains(&scheme) || pss.contains(&scheme)
}

const ECDSA_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

const RSA_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Reads up to the whole ClientHello.
///
/// Not tokio-rustls's `LazyConfigAcceptor`: that answers plain HTTP with a TLS alert before anybody can look.
async fn read_hello<IO>(io: &mut IO, said: &[u8]) -> Result<WholeHello, AcceptError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = HelloReader::default();
    let mut bytes = Vec::with_capacity(4096);
    match said {
        [] => read_some(io, &mut bytes).await?,
        said => bytes.extend_from_slice(said),
    }
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

/// The name that the client asks for, as far as `said` is what a client of TLS says; what it said is left there.
async fn name_of<IO: AsyncRead + Unpin>(
    io: &mut IO,
    said: &mut Vec<u8>,
) -> io::Result<Option<Option<ServerName>>> {
    loop {
        if io.read_buf(said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match hello::read(said) {
            Ok(hello::Beginning::Incomplete) => {}
            Ok(hello::Beginning::Named(name)) => return Ok(Some(name)),
            // Whoever ends TLS here says what is wrong with it.
            Err(_) => return Ok(None),
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
