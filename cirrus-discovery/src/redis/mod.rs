//! Endpoints of services that Redis knows.

mod error;
mod key;
mod link;
mod watch;

pub use error::RedisError;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::discovery::{Discovery, Endpoints, ServiceName};
use cirrus_core::{BoxError, Updates};
use futures_util::stream;

use crate::secret::Secret;
use crate::services::failed;
use crate::tls::TlsFiles;
use key::Key;
use link::Client;
use watch::Watch;

/// Where Redis listens unless told otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:6379";

/// Endpoints of services that Redis knows: a hash for each service, with a record in JSON in each field, or a set of such
/// records.
///
/// A service is named `redis:///services:payment`, which is its key. A record is a URL or a table such as
/// `{"url": "http://10.0.0.7:8080", "weight": 3}`. With addresses, as in `redis://10.0.0.5:6379/services:payment`, those
/// are asked instead of this one's own.
///
/// A key that is not there is an [`UnknownService`](cirrus_core::discovery::UnknownService), as is everything in a Redis
/// that has lost its data. One record that is `null`, or empty, says that the service is known and nobody is there. A
/// record that makes no sense is left out and logged; the others stay.
///
/// The key is read every [`read_every`](Builder::read_every): that is the truth. It is read at once when something is
/// published in the channel of the key's own name, and at every change where Redis has keyspace notifications
/// (`notify-keyspace-events` with `K` and `h`, `s`, `g`, `x`).
///
/// Each watch has two connections. Clones share their settings.
///
/// ```
/// use cirrus_discovery::redis::Redis;
///
/// let redis = Redis::builder()
///     .addresses(["10.0.0.5:26379", "10.0.0.6:26379"])
///     .sentinel("mymaster")
///     .build()?;
/// # drop(redis);
/// # Ok::<(), cirrus_discovery::redis::RedisError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Redis(Client);

/// How Redis is asked.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    addresses: Vec<String>,
    mode: Mode,
    database: u16,
    user: Option<String>,
    password: Secret,
    is_tls: bool,
    tls: TlsFiles,
    timeout: Duration,
    read_every: Duration,
}

/// Who is at the addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// A server; of several the first that answers.
    #[default]
    Single,
    /// Sentinels, who know the master of this name.
    Sentinel(String),
    /// Some nodes of a cluster.
    Cluster,
}

// === impl Redis ===

impl Redis {
    /// Begins with a server on this machine that wants no login.
    pub fn builder() -> Builder {
        Builder {
            addresses: vec![DEFAULT_ADDRESS.to_owned()],
            mode: Mode::Single,
            database: 0,
            user: None,
            password: Secret::None,
            is_tls: false,
            tls: TlsFiles::default(),
            timeout: Duration::from_secs(5),
            read_every: Duration::from_secs(5),
        }
    }
}

impl Discovery for Redis {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        match Key::parse(service.as_str()) {
            Ok(key) => {
                let watch = Watch::new(self.0.clone(), service.clone(), key);
                Box::pin(stream::unfold(watch, Watch::next))
            }
            Err(error) => failed(error.into()),
        }
    }

    fn check(&self, service: &ServiceName) -> Result<(), BoxError> {
        Ok(Key::parse(service.as_str()).map(drop)?)
    }
}

// === impl Builder ===

impl Builder {
    /// Servers, Sentinels or nodes, `host:port` each. By default `127.0.0.1:6379`.
    pub fn addresses<T: Into<String>>(mut self, addresses: impl IntoIterator<Item = T>) -> Self {
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// The addresses are those of Sentinels, who are asked for the master of this name, and again with every full read.
    pub fn sentinel(mut self, master: impl Into<String>) -> Self {
        self.mode = Mode::Sentinel(master.into());
        self
    }

    /// The addresses are those of some nodes of a cluster.
    pub fn cluster(mut self) -> Self {
        self.mode = Mode::Cluster;
        self
    }

    /// The number of the database. By default 0, and a cluster has no other one.
    pub fn database(mut self, database: u16) -> Self {
        self.database = database;
        self
    }

    /// Logs in as this user. With a password alone that is `default`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The user's password. Sentinels get user and password too, if they ask for them.
    pub fn password(mut self, password: impl Into<Arc<str>>) -> Self {
        self.password = Secret::Text(password.into());
        self
    }

    /// A file with the user's password, read again for every login.
    pub fn password_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.password = Secret::File(Arc::new(file.into()));
        self
    }

    /// Speaks TLS to all of them.
    pub fn tls(mut self) -> Self {
        self.is_tls = true;
        self
    }

    /// With TLS: a PEM file of the only authorities believed. By default the system's.
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.ca = Some(file.into());
        self
    }

    /// With TLS: PEM files of the certificate shown to Redis, and of its key.
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The longest time for connecting to one address, and for an answer. By default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often the key is read, give or take half of it. By default 5 s.
    pub fn read_every(mut self, time: Duration) -> Self {
        self.read_every = time.max(Duration::from_millis(100));
        self
    }

    /// Reads the certificates. Nobody is asked yet.
    ///
    /// # Errors
    ///
    /// An address makes no sense, or a file cannot be used.
    pub fn build(self) -> Result<Redis, RedisError> {
        Client::new(self).map(Redis)
    }
}
