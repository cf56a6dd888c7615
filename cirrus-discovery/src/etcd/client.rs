//! Requests to etcd's JSON gateway, at whichever server answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::answer::{LoggedIn, login, read};
use super::{Builder, EtcdError};
use crate::address::Address;
use crate::link::{Lines, Link};
use crate::secret::Secret;

/// The most of an error's text that is told.
const TOLD: usize = 200;

/// How etcd is asked.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Settings>);

struct Settings {
    addresses: Vec<Address>,
    tls: Option<TlsConnector>,
    user: Option<String>,
    password: Secret,
    timeout: Duration,
    read_every: Duration,
    max_response: usize,
}

/// The connection of one watch to one of the servers, and the way to the next one.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    addresses: Vec<Address>,
    /// Which of them.
    turn: usize,
    link: Option<Link>,
    /// What a login has given.
    token: Option<HeaderValue>,
}

// === impl Client ===

impl Client {
    pub(super) fn new(builder: Builder) -> Result<Self, EtcdError> {
        let addresses = builder
            .addresses
            .into_iter()
            .map(|text| Address::parse(&text, 2379).ok_or(EtcdError::Address(text)));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(EtcdError::Address(String::new()));
        }
        let tls = builder
            .is_tls
            .then(|| builder.tls.connector())
            .transpose()?;
        Ok(Self(Arc::new(Settings {
            addresses,
            tls,
            user: builder.user,
            password: builder.password,
            timeout: builder.timeout,
            read_every: builder.read_every,
            max_response: builder.max_response,
        })))
    }

    /// With these servers, or else with its own.
    pub(super) fn session(&self, addresses: Vec<Address>) -> Session {
        let addresses = match addresses.is_empty() {
            true => self.0.addresses.clone(),
            false => addresses,
        };
        Session {
            client: self.clone(),
            addresses,
            turn: 0,
            link: None,
            token: None,
        }
    }

    pub(super) fn read_every(&self) -> Duration {
        self.0.read_every
    }

    async fn connect(&self, address: &Address) -> Result<Link, EtcdError> {
        let failed = |source| EtcdError::Connect {
            at: address.to_string(),
            source,
        };
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
        let stream = stream.map_err(failed)?;
        let Some(connector) = &self.0.tls else {
            return Ok(Link::new(stream).await?);
        };
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| EtcdError::Address(address.to_string()))?;
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        Ok(Link::new(stream).await?)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("addresses", &self.addresses)
            .field("tls", &self.tls.is_some())
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

// === impl Session ===

impl Session {
    /// Asks each server in turn, until one answers.
    pub(super) async fn ask<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &Value,
    ) -> Result<T, EtcdError> {
        // A connection that was there before may have been closed meanwhile: that says nothing about its server.
        let again = usize::from(self.link.is_some());
        let mut tries = self.addresses.len() + again;
        loop {
            tries -= 1;
            let limit = self.client.0.timeout;
            let asked = timeout(limit, self.exchange(path, body)).await;
            match asked.unwrap_or_else(|_| Err(self.late())) {
                Ok(answer) => return read(&answer),
                Err(error) if tries == 0 => {
                    self.give_up();
                    return Err(error);
                }
                Err(_) => self.give_up(),
            }
        }
    }

    /// Asks each server in turn for an answer line by line, until one begins.
    pub(super) async fn lines(&mut self, path: &str, body: &Value) -> Result<Lines, EtcdError> {
        let mut tries = self.addresses.len();
        loop {
            tries -= 1;
            let limit = self.client.0.timeout;
            let asked = timeout(limit, self.begin(path, body)).await;
            match asked.unwrap_or_else(|_| Err(self.late())) {
                Ok(lines) => return Ok(lines),
                Err(error) if tries == 0 => {
                    self.give_up();
                    return Err(error);
                }
                Err(_) => self.give_up(),
            }
        }
    }

    /// The next request goes to the next server, after a new login.
    pub(super) fn give_up(&mut self) {
        (self.link, self.token) = (None, None);
        self.turn = (self.turn + 1) % self.addresses.len();
    }

    async fn exchange(&mut self, path: &str, body: &Value) -> Result<Bytes, EtcdError> {
        // Taken out: what breaks off in the middle is never used again.
        let mut link = self.connected().await?;
        self.log_in(&mut link).await?;
        let request = self.request(path, body)?;
        let answer = post(&mut link, request, self.client.0.max_response).await?;
        self.link = Some(link);
        Ok(answer)
    }

    async fn begin(&mut self, path: &str, body: &Value) -> Result<Lines, EtcdError> {
        let mut link = self.client.connect(self.address()).await?;
        self.log_in(&mut link).await?;
        let most = self.client.0.max_response;
        let answer = link.lines(self.request(path, body)?, most).await?;
        let (head, mut lines) = answer.into_parts();
        if head.status == StatusCode::OK {
            return Ok(lines);
        }
        let text = lines.next().await?.unwrap_or_default();
        Err(refused(head.status, &text))
    }

    async fn connected(&mut self) -> Result<Link, EtcdError> {
        match self.link.take().filter(Link::is_open) {
            Some(link) => Ok(link),
            None => self.client.connect(self.address()).await,
        }
    }

    /// A token is good for every server.
    async fn log_in(&mut self, link: &mut Link) -> Result<(), EtcdError> {
        let settings = self.client.0.clone();
        let Some(user) = settings.user.as_ref().filter(|_| self.token.is_none()) else {
            return Ok(());
        };
        let password = settings.password.read().await?.unwrap_or_default();
        let request = self.request("/v3/auth/authenticate", &login(user, &password))?;
        let answer = post(link, request, settings.max_response).await?;
        let answer: LoggedIn = read(&answer)?;
        let mut token = HeaderValue::try_from(answer.token)
            .map_err(|_| EtcdError::Answer("the token cannot stand in a header".into()))?;
        token.set_sensitive(true);
        self.token = Some(token);
        Ok(())
    }

    fn request(&self, path: &str, body: &Value) -> Result<Request<Full<Bytes>>, EtcdError> {
        let mut request = Request::post(path)
            .header(HOST, self.address().to_string())
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::from(body.to_string()));
        request.map_err(|error| EtcdError::Answer(error.to_string()))
    }

    fn address(&self) -> &Address {
        &self.addresses[self.turn]
    }

    fn late(&self) -> EtcdError {
        EtcdError::Late {
            at: self.address().to_string(),
            limit: self.client.0.timeout,
        }
    }
}

async fn post(
    link: &mut Link,
    request: Request<Full<Bytes>>,
    max_response: usize,
) -> Result<Bytes, EtcdError> {
    let answer = link.exchange(request, max_response).await?;
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body()),
        status => Err(refused(status, answer.body())),
    }
}

fn refused(status: StatusCode, body: &[u8]) -> EtcdError {
    if status == StatusCode::NOT_FOUND {
        return EtcdError::NoGateway;
    }
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let text = match said.as_ref().and_then(|said| said["message"].as_str()) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    EtcdError::Refused {
        status: status.as_u16(),
        text: text.trim().chars().take(TOLD).collect(),
    }
}
