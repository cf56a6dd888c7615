//! Connections to whoever has the key just now.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{
    AsyncConnectionConfig, ClientTlsConfig, Cmd, ConnectionAddr, FromRedisValue,
    IntoConnectionInfo, RedisConnectionInfo, RedisResult, TlsCertificates, cmd,
};
use tokio::time::timeout;

use super::{Builder, Mode, RedisError};
use crate::address::Address;
use crate::secret::Secret;
use crate::tls::{TlsError, TlsFiles};

/// How often nodes of a cluster may send somebody to another one.
const REDIRECTS: usize = 5;

/// How Redis is asked.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Settings>);

struct Settings {
    addresses: Vec<Address>,
    mode: Mode,
    database: u16,
    user: Option<String>,
    password: Secret,
    tls: Option<TlsCertificates>,
    timeout: Duration,
    read_every: Duration,
}

/// Connections to the server that has a key.
pub(super) struct Session {
    pub(super) at: Address,
    reader: MultiplexedConnection,
    /// Tell when there is something to read, if Redis lets us know.
    hints: Option<(PubSubSink, PubSubStream)>,
    is_cluster: bool,
}

/// Whether somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Login {
    Wanted,
    Anonymous,
}

// === impl Client ===

impl Client {
    pub(super) fn new(builder: Builder) -> Result<Self, RedisError> {
        let addresses = builder
            .addresses
            .into_iter()
            .map(|text| Address::parse(&text, 6379).ok_or(RedisError::Address(text)));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(RedisError::Address(String::new()));
        }
        let tls = builder.is_tls.then(|| certificates(&builder.tls));
        Ok(Self(Arc::new(Settings {
            addresses,
            mode: builder.mode,
            database: builder.database,
            user: builder.user,
            password: builder.password,
            tls: tls.transpose()?,
            timeout: builder.timeout,
            read_every: builder.read_every,
        })))
    }

    pub(super) fn addresses(&self) -> &[Address] {
        &self.0.addresses
    }

    pub(super) fn read_every(&self) -> Duration {
        self.0.read_every
    }

    /// Connects to whoever has the key, by the first of these that helps.
    pub(super) async fn session(
        &self,
        addresses: &[Address],
        key: &str,
    ) -> Result<Session, RedisError> {
        let mut last = None;
        for address in addresses {
            match self.within(address, self.session_by(address, key)).await {
                Ok(session) => return Ok(session),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| RedisError::Address(String::new())))
    }

    /// Where the master is by what a Sentinel says, if there are any and one answers.
    pub(super) async fn master(&self, addresses: &[Address]) -> Option<Address> {
        let Mode::Sentinel(master) = &self.0.mode else {
            return None;
        };
        for address in addresses {
            let asked = self.within(address, self.ask_sentinel(address, master));
            if let Ok(master) = asked.await {
                return Some(master);
            }
        }
        None
    }

    /// Within the time that an answer may take.
    pub(super) async fn within<T>(
        &self,
        at: &Address,
        asked: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let limit = self.0.timeout;
        let late = |_| RedisError::Late {
            at: at.to_string(),
            limit,
        };
        timeout(limit, asked).await.map_err(late)?
    }

    async fn session_by(&self, address: &Address, key: &str) -> Result<Session, RedisError> {
        let (at, reader) = match &self.0.mode {
            Mode::Single => (address.clone(), self.dial(address).await?),
            Mode::Sentinel(master) => {
                let at = self.ask_sentinel(address, master).await?;
                let mut reader = self.dial(&at).await?;
                is_master(&at, &mut reader).await?;
                (at, reader)
            }
            Mode::Cluster => self.owner(address, key).await?,
        };
        Ok(Session {
            hints: self.hints(&at, key).await?,
            at,
            reader,
            is_cluster: self.0.mode == Mode::Cluster,
        })
    }

    /// The node that has the key, to which the others point.
    async fn owner(
        &self,
        first: &Address,
        key: &str,
    ) -> Result<(Address, MultiplexedConnection), RedisError> {
        let mut at = first.clone();
        for _ in 0..=REDIRECTS {
            let mut reader = self.dial(&at).await?;
            let kind: RedisResult<String> = ask(&mut reader, true, cmd("TYPE").arg(key)).await;
            match kind {
                Ok(_) => return Ok((at, reader)),
                Err(error) => match redirected(&error, &at) {
                    Some(other) => at = other,
                    None => return Err(failed(&at, error)),
                },
            }
        }
        Err(RedisError::Redirects)
    }

    /// Sentinels often want no login while Redis does; those that do get the same one.
    async fn ask_sentinel(&self, at: &Address, master: &str) -> Result<Address, RedisError> {
        let mut question = cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(master);
        let mut answer = self.ask_as(Login::Anonymous, at, &question).await;
        let is_closed = |error: &redis::RedisError| error.code() == Some("NOAUTH");
        if answer.as_ref().is_err_and(is_in(is_closed)) {
            answer = self.ask_as(Login::Wanted, at, &question).await;
        }
        let found: Option<(String, u16)> = answer?;
        let (host, port) = found.ok_or_else(|| RedisError::NoMaster {
            at: at.to_string(),
            master: master.to_owned(),
        })?;
        Ok(Address { host, port })
    }

    async fn ask_as<T: FromRedisValue>(
        &self,
        login: Login,
        at: &Address,
        question: &Cmd,
    ) -> Result<T, RedisError> {
        let client = self.client(at, login).await?;
        let mut connection = connect(&client, at).await?;
        let answer = question.query_async(&mut connection).await;
        answer.map_err(|error| failed(at, error))
    }

    async fn dial(&self, at: &Address) -> Result<MultiplexedConnection, RedisError> {
        connect(&self.client(at, Login::Wanted).await?, at).await
    }

    /// Subscribed to what tells of changes. Redis may not allow that: then there are none.
    async fn hints(
        &self,
        at: &Address,
        key: &str,
    ) -> Result<Option<(PubSubSink, PubSubStream)>, RedisError> {
        let client = self.client(at, Login::Wanted).await?;
        let hints = client.get_async_pubsub().await;
        let mut hints = hints.map_err(|error| failed(at, error))?;
        let changes = format!("__keyspace@{}__:{key}", self.0.database);
        let mut subscribed = 0;
        for channel in [key, changes.as_str()] {
            match hints.subscribe(channel).await {
                Ok(()) => subscribed += 1,
                Err(error) if error.is_io_error() => return Err(failed(at, error)),
                Err(error) => tracing::info!(channel, %error, "Redis does not tell of changes"),
            }
        }
        Ok((subscribed > 0).then(|| hints.split()))
    }

    async fn client(&self, at: &Address, login: Login) -> Result<redis::Client, RedisError> {
        let settings = &self.0;
        let (host, port) = (at.host.clone(), at.port);
        let mut info = RedisConnectionInfo::default();
        if login == Login::Wanted {
            info = info.set_db(settings.database.into());
            if let Some(user) = &settings.user {
                info = info.set_username(user);
            }
            if let Some(password) = settings.password.read().await? {
                info = info.set_password(password);
            }
        }
        let address = match settings.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let made = address.into_connection_info().and_then(|address| {
            let address = address.set_redis_settings(info);
            match &settings.tls {
                None => redis::Client::open(address),
                Some(tls) => redis::Client::build_with_tls(address, tls.clone()),
            }
        });
        made.map_err(|error| failed(at, error))
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("addresses", &self.addresses)
            .field("mode", &self.mode)
            .field("tls", &self.tls.is_some())
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

// === impl Session ===

impl Session {
    /// Every record with its id. `None` if another node has the key by now.
    pub(super) async fn read(
        &mut self,
        key: &str,
    ) -> Result<Option<Vec<(Bytes, Bytes)>>, RedisError> {
        match self.try_read(key).await {
            Ok(Ok(records)) => Ok(Some(records)),
            Ok(Err(kind)) => Err(RedisError::Kind(kind)),
            Err(error) if redirected(&error, &self.at).is_some() => Ok(None),
            Err(error) => Err(failed(&self.at, error)),
        }
    }

    async fn try_read(&mut self, key: &str) -> RedisResult<Result<Vec<(Bytes, Bytes)>, String>> {
        let kind: String = self.ask(cmd("TYPE").arg(key)).await?;
        Ok(match kind.as_str() {
            "none" => Ok(Vec::new()),
            "hash" => {
                let all: Vec<(Vec<u8>, Vec<u8>)> = self.ask(cmd("HGETALL").arg(key)).await?;
                let pairs = all.into_iter();
                Ok(pairs.map(|(id, text)| (id.into(), text.into())).collect())
            }
            "set" => {
                let all: Vec<Vec<u8>> = self.ask(cmd("SMEMBERS").arg(key)).await?;
                let texts = all.into_iter().map(Bytes::from);
                Ok(texts.map(|text| (text.clone(), text)).collect())
            }
            other => Err(other.to_owned()),
        })
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        ask(&mut self.reader, self.is_cluster, command).await
    }

    /// Resolves when there may be something to read; `false` if there will be no more hints.
    ///
    /// # Cancel safety
    ///
    /// No hint is lost.
    pub(super) async fn hint(&mut self) -> bool {
        match &mut self.hints {
            Some((_, hints)) => hints.next().await.is_some(),
            None => std::future::pending().await,
        }
    }

    /// Whether hints can still come.
    pub(super) async fn is_told(&mut self) -> Result<(), RedisError> {
        let Some((sink, _)) = &mut self.hints else {
            return Ok(());
        };
        let answer: RedisResult<redis::Value> = sink.ping().await;
        answer.map(drop).map_err(|error| failed(&self.at, error))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("at", &self.at)
            .field("hints", &self.hints.is_some())
            .finish_non_exhaustive()
    }
}

async fn connect(
    client: &redis::Client,
    at: &Address,
) -> Result<MultiplexedConnection, RedisError> {
    // Who calls has a limit of his own, which is longer than the client's.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.map_err(|error| failed(at, error))
}

/// In a cluster a node answers for a key that is just being moved to it only if it is told to.
async fn ask<T: FromRedisValue>(
    reader: &mut MultiplexedConnection,
    is_cluster: bool,
    command: &Cmd,
) -> RedisResult<T> {
    if is_cluster {
        cmd("ASKING").exec_async(reader).await?;
    }
    command.query_async(reader).await
}

/// Where an error points to. Without a host it is the one that was asked.
fn redirected(error: &redis::RedisError, asked: &Address) -> Option<Address> {
    let (node, _) = error.redirect_node()?;
    let (host, port) = node.rsplit_once(':')?;
    let host = match host.trim_matches(['[', ']']) {
        "" => asked.host.as_str(),
        host => host,
    };
    Some(Address {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

/// A user may not be allowed to ask: then Sentinel is believed.
async fn is_master(at: &Address, reader: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let role: RedisResult<Vec<redis::Value>> = cmd("ROLE").query_async(reader).await;
    let role = role.ok().and_then(|role| role.into_iter().next());
    match role.and_then(|role| redis::from_redis_value::<String>(role).ok()) {
        Some(role) if role != "master" => Err(RedisError::NotMaster(at.to_string())),
        _ => Ok(()),
    }
}

fn is_in(test: impl Fn(&redis::RedisError) -> bool) -> impl FnOnce(&RedisError) -> bool {
    move |error| matches!(error, RedisError::Redis { source, .. } if test(source))
}

fn failed(at: &Address, source: redis::RedisError) -> RedisError {
    RedisError::Redis {
        at: at.to_string(),
        source,
    }
}

/// As the client wants them: it reads no files.
fn certificates(files: &TlsFiles) -> Result<TlsCertificates, RedisError> {
    // What makes no sense is told now, and not at the first connection.
    files.connector()?;
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| TlsError::File {
            path: path.to_owned(),
            source,
        })
    };
    let client_tls = match &files.identity {
        Some((certificate, key)) => Some(ClientTlsConfig {
            client_cert: read(certificate)?,
            client_key: read(key)?,
        }),
        None => None,
    };
    let root_cert = files.ca.as_deref().map(read).transpose()?;
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}
