//! Requests to Consul's HTTP API.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Builder;
use crate::link::{Link, LinkError};
use crate::secret::{Secret, Unreadable};
use crate::tls::TlsError;

/// The most of an error's text that is told.
const TOLD: usize = 200;

/// Consul was not asked, or gave no answer that makes sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsulError {
    /// The address is none.
    #[error(
        "`{0}` is no address of Consul: write host:port, http://host:port or https://host:port"
    )]
    Address(String),
    /// No certificate is for such a name.
    #[error("`{0}` is no name of a server: write for example \"server.dc1.consul\"")]
    ServerName(String),
    /// A file cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS to Consul: {0}")]
    Tls(rustls::Error),
    /// No connection.
    #[error("cannot connect to Consul: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("the connection to Consul broke: {0}")]
    Http(#[from] hyper::Error),
    /// The connection ended before there was an answer.
    #[error("Consul closed the connection")]
    Closed,
    /// No answer in time.
    #[error("Consul does not answer within {0:?}")]
    Late(Duration),
    /// The answer is larger than is read.
    #[error("Consul's answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Another status than 200.
    #[error("Consul answers {status}: {text}")]
    Status {
        /// Which one.
        status: StatusCode,
        /// What it says about it.
        text: String,
    },
    /// The answer is no JSON, or another one than was asked for.
    #[error("Consul's answer makes no sense: {0}")]
    Answer(String),
}

impl From<LinkError> for ConsulError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Http(error) => Self::Http(error),
            LinkError::Closed => Self::Closed,
            LinkError::TooLarge(most) => Self::TooLarge(most),
        }
    }
}

impl From<TlsError> for ConsulError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::File { path, source } => Self::File { path, source },
            TlsError::Rustls(error) => Self::Tls(error),
        }
    }
}

impl From<Unreadable> for ConsulError {
    fn from(Unreadable { path, source }: Unreadable) -> Self {
        Self::File { path, source }
    }
}

/// Asks one Consul.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Settings>);

struct Settings {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Secret,
    wait: Duration,
    timeout: Duration,
    max_response: usize,
}

/// What Consul said, with status 200.
#[derive(Debug)]
pub(super) struct Answer {
    /// The state of what was asked about, for the next query.
    pub(super) index: Option<u64>,
    pub(super) body: Bytes,
}

// === impl Client ===

impl Client {
    pub(super) fn new(builder: Builder) -> Result<Self, ConsulError> {
        let bad = || ConsulError::Address(builder.address.clone());
        let address = Address::parse(&builder.address).ok_or_else(bad)?;
        let bad_name = || {
            let name = builder.tls.server_name.as_ref();
            ConsulError::ServerName(name.unwrap_or(&address.host).clone())
        };
        let tls = match address.tls {
            true => {
                let name = builder.tls.name(&address.host).ok_or_else(bad_name)?;
                Some((builder.tls.connector()?, name))
            }
            false => None,
        };
        Ok(Self(Arc::new(Settings {
            host: address.host,
            port: address.port,
            tls,
            token: builder.token,
            wait: builder.wait,
            timeout: builder.timeout,
            max_response: builder.max_response,
        })))
    }

    /// How long a query is held back.
    pub(super) fn wait(&self) -> Duration {
        self.0.wait
    }

    /// Asks for something that is answered at once.
    pub(super) async fn get(
        &self,
        link: &mut Option<Link>,
        target: &str,
    ) -> Result<Answer, ConsulError> {
        self.within(link, target, self.0.timeout, true).await
    }

    /// Asks for something that is held back until it changes. Consul adds up to a sixteenth of the wait.
    pub(super) async fn hold(
        &self,
        link: &mut Option<Link>,
        target: &str,
    ) -> Result<Answer, ConsulError> {
        let limit = self.0.wait + self.0.wait / 16 + self.0.timeout;
        // One that breaks off is not sent again by itself: it may be another Consul that answers now, or one that has lost
        // its data, and its index means nothing there.
        self.within(link, target, limit, false).await
    }

    /// On `link`, if it is open, and otherwise on a new one, which is left there.
    async fn within(
        &self,
        link: &mut Option<Link>,
        target: &str,
        limit: Duration,
        again: bool,
    ) -> Result<Answer, ConsulError> {
        // Taken out: what breaks off in the middle is never used again.
        let asked = timeout(limit, self.ask(link.take(), target, again)).await;
        let (answer, used) = asked.map_err(|_| ConsulError::Late(limit))??;
        *link = Some(used);
        let (head, body) = answer.into_parts();
        if head.status != StatusCode::OK {
            return Err(refused(head.status, &body));
        }
        Ok(Answer {
            index: index(&head.headers),
            body,
        })
    }

    async fn ask(
        &self,
        known: Option<Link>,
        target: &str,
        again: bool,
    ) -> Result<(Response<Bytes>, Link), ConsulError> {
        let max = self.0.max_response;
        if let Some(mut known) = known.filter(Link::is_open) {
            match known.exchange(self.request(target).await?, max).await {
                // Consul has closed it meanwhile; a new one tells whether it is well.
                Err(LinkError::Http(_) | LinkError::Closed) if again => {}
                answer => return Ok((answer?, known)),
            }
        }
        let mut fresh = self.connect().await?;
        let answer = fresh.exchange(self.request(target).await?, max).await?;
        Ok((answer, fresh))
    }

    async fn connect(&self) -> Result<Link, ConsulError> {
        let limit = self.0.timeout;
        let connecting = async {
            let host = self.0.host.trim_matches(['[', ']']);
            let stream = TcpStream::connect((host, self.0.port)).await;
            let stream = stream.map_err(ConsulError::Connect)?;
            match &self.0.tls {
                None => Ok(Link::new(stream).await?),
                Some((connector, name)) => {
                    let stream = connector.connect(name.clone(), stream).await;
                    Ok(Link::new(stream.map_err(ConsulError::Connect)?).await?)
                }
            }
        };
        let connected = timeout(limit, connecting).await;
        connected.map_err(|_| ConsulError::Late(limit))?
    }

    async fn request(&self, target: &str) -> Result<Request<Full<Bytes>>, ConsulError> {
        let host = format!("{}:{}", self.0.host, self.0.port);
        let mut request = Request::get(target).header(HOST, host);
        if let Some(token) = self.token().await? {
            request = request.header("x-consul-token", token);
        }
        let request = request.body(Full::default());
        request.map_err(|error| ConsulError::Answer(error.to_string()))
    }

    async fn token(&self) -> Result<Option<HeaderValue>, ConsulError> {
        let Some(text) = self.0.token.read().await? else {
            return Ok(None);
        };
        let mut token = HeaderValue::try_from(text)
            .map_err(|_| ConsulError::Answer("the token cannot stand in a header".into()))?;
        token.set_sensitive(true);
        Ok(Some(token))
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// The state of what was asked about. Zero would be a query that is not held back: Consul never means it.
fn index(headers: &HeaderMap) -> Option<u64> {
    let index = headers.get("x-consul-index")?.to_str().ok()?;
    index.parse().ok().map(|index: u64| index.max(1))
}

fn refused(status: StatusCode, body: &[u8]) -> ConsulError {
    let text = String::from_utf8_lossy(body);
    let text = text.trim().chars().take(TOLD).collect();
    ConsulError::Status { status, text }
}

// === impl Answer ===

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ConsulError> {
        serde_json::from_slice(&self.body).map_err(|error| ConsulError::Answer(error.to_string()))
    }
}

/// Where Consul listens.
#[derive(Debug, PartialEq)]
struct Address {
    /// An IPv6 address in brackets.
    host: String,
    port: u16,
    tls: bool,
}

// === impl Address ===

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return None,
            None => (false, text),
        };
        let authority: http::uri::Authority = rest.trim_end_matches('/').parse().ok()?;
        let host = authority.host();
        // `Authority::port` tells nothing of a port that is too large, as if none were written.
        let port = match authority.as_str().strip_prefix(host)? {
            "" if tls => 8501,
            "" => 8500,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        Some(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_consuls_own_tools_read_them() {
        let parsed = |text: &str| {
            let address = Address::parse(text)?;
            Some((address.host, address.port, address.tls))
        };
        let is = |host: &str, port, tls| Some((host.to_owned(), port, tls));
        assert_eq!(parsed("127.0.0.1:8500"), is("127.0.0.1", 8500, false));
        assert_eq!(
            parsed("consul.internal"),
            is("consul.internal", 8500, false)
        );
        assert_eq!(
            parsed("https://consul.internal/"),
            is("consul.internal", 8501, true)
        );
        assert_eq!(parsed("http://[::1]:18500"), is("[::1]", 18500, false));
        for text in [
            "",
            "ftp://a",
            "a:b:c",
            "http://user@a:1",
            "a b",
            "a:65536",
            "a:",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
