//! Endpoints of services that etcd knows.

mod answer;
mod client;
mod error;
mod prefix;
mod watch;

pub use error::EtcdError;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::discovery::{Discovery, Endpoints, ServiceName};
use cirrus_core::{BoxError, Updates};
use futures_util::stream;

use crate::secret::Secret;
use crate::services::failed;
use crate::tls::TlsFiles;
use client::Client;
use prefix::Prefix;
use watch::Watch;

/// Where etcd listens unless told otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:2379";

/// Endpoints of services that etcd knows: a prefix for each service, with a record in JSON for each endpoint.
///
/// A service is named `etcd:///services/payment`: every key that begins with `/services/payment/` is an endpoint's, and
/// its value a URL or a table such as `{"url": "http://10.0.0.7:8080", "weight": 3}`. With addresses, as in
/// `etcd://10.0.0.1:2379,10.0.0.2:2379/services/payment`, those are asked instead of this one's own. A prefix that does
/// not end with a slash is written `etcd:///?prefix=payment-`.
///
/// A prefix without keys is an [`UnknownService`](cirrus_core::discovery::UnknownService), as is everything in an etcd
/// that has lost its data. One key with the value `null`, or with none, says that the service is known and nobody is
/// there. A record that makes no sense is left out and logged; the others stay.
///
/// Changes are watched, and behind a lost connection the watch goes on where it was. All the same everything is read again
/// every [`read_every`](Builder::read_every): that is the truth, whatever the watch has said.
///
/// It needs etcd 3.4 or newer, with its JSON gateway. Each watch has two connections. Clones share their settings.
///
/// ```
/// use cirrus_discovery::etcd::Etcd;
///
/// let etcd = Etcd::builder().addresses(["10.0.0.1:2379", "10.0.0.2:2379"]).build()?;
/// # drop(etcd);
/// # Ok::<(), cirrus_discovery::etcd::EtcdError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Etcd(Client);

/// How etcd is asked.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    addresses: Vec<String>,
    user: Option<String>,
    password: Secret,
    is_tls: bool,
    tls: TlsFiles,
    timeout: Duration,
    read_every: Duration,
    max_response: usize,
}

// === impl Etcd ===

impl Etcd {
    /// Begins with a server on this machine that wants no login.
    pub fn builder() -> Builder {
        Builder {
            addresses: vec![DEFAULT_ADDRESS.to_owned()],
            user: None,
            password: Secret::None,
            is_tls: false,
            tls: TlsFiles::default(),
            timeout: Duration::from_secs(5),
            read_every: Duration::from_secs(30),
            max_response: 32 << 20,
        }
    }
}

impl Discovery for Etcd {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        match Prefix::parse(service.as_str()) {
            Ok(prefix) => {
                let watch = Watch::new(&self.0, service.clone(), prefix);
                Box::pin(stream::unfold(watch, Watch::next))
            }
            Err(error) => failed(error.into()),
        }
    }

    fn check(&self, service: &ServiceName) -> Result<(), BoxError> {
        Ok(Prefix::parse(service.as_str()).map(drop)?)
    }
}

// === impl Builder ===

impl Builder {
    /// The servers, `host:port` each; any of them is as good as the others. By default `127.0.0.1:2379`.
    pub fn addresses<T: Into<String>>(mut self, addresses: impl IntoIterator<Item = T>) -> Self {
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Logs in as this user.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The user's password.
    pub fn password(mut self, password: impl Into<Arc<str>>) -> Self {
        self.password = Secret::Text(password.into());
        self
    }

    /// A file with the user's password, read again for every login.
    pub fn password_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.password = Secret::File(Arc::new(file.into()));
        self
    }

    /// Speaks TLS to the servers.
    pub fn tls(mut self) -> Self {
        self.is_tls = true;
        self
    }

    /// With TLS: a PEM file of the only authorities believed. By default the system's.
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.ca = Some(file.into());
        self
    }

    /// With TLS: PEM files of the certificate shown to etcd, and of its key.
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The longest time for connecting, and for an answer of one server. By default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often everything is read again, give or take half of it. By default 30 s. A watch that has died without a
    /// word is noticed then.
    pub fn read_every(mut self, time: Duration) -> Self {
        self.read_every = time.max(Duration::from_millis(100));
        self
    }

    /// The largest answer that is read. By default 32 MiB.
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// Reads the certificates. Nobody is asked yet.
    ///
    /// # Errors
    ///
    /// An address makes no sense, or a file cannot be used.
    pub fn build(self) -> Result<Etcd, EtcdError> {
        Client::new(self).map(Etcd)
    }
}
