//! Endpoints of services that Consul knows.

mod client;
mod record;
mod reference;
mod watch;

pub use client::ConsulError;
pub use reference::{CheckPolicy, ConsulService, InvalidService};

use std::collections::BTreeMap;
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
use watch::Watch;

/// Where a Consul agent listens unless told otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8500";

/// Endpoints of services that Consul knows, over its HTTP API, by blocking queries.
///
/// A service is named as [`ConsulService`] says: `payment`, `dc1/payment`, `consul://dc1/payment?tag=v2`. One whose
/// instances all fail their checks is known, with nobody there; one without instances, or in a datacentre that Consul
/// does not know, is an [`UnknownService`](cirrus_core::discovery::UnknownService), as is everything in a Consul that
/// has lost its data. A record that makes no sense is left out and logged; the others stay.
///
/// Of an instance it takes, from the meta values of its service:
///
/// * `weight`, 0 to 65535, where 0 takes none; without it Consul's own `Weights`, by whether its checks pass or warn
/// * `zone`, by which clusters may prefer endpoints near them, and `priority`, 0 to 255, of which the lowest number is
///   asked first; without them the meta values of its node with the same names
/// * `scheme` (`http` or `https`) and `sni`, the name asked for in TLS
///
/// `near` sorts the endpoints of a set; which of them is asked is a matter of balancing, zones and priorities.
///
/// Each watch has one connection. Clones share their settings.
///
/// ```
/// use cirrus_discovery::consul::Consul;
///
/// let consul = Consul::builder().address("127.0.0.1:8500").build()?;
/// # drop(consul);
/// # Ok::<(), cirrus_discovery::consul::ConsulError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Consul(Client);

/// How Consul is asked.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    address: String,
    token: Secret,
    tls: TlsFiles,
    wait: Duration,
    timeout: Duration,
    max_response: usize,
}

// === impl Consul ===

impl Consul {
    /// Begins with an agent on this machine, and no token.
    pub fn builder() -> Builder {
        Builder {
            address: DEFAULT_ADDRESS.to_owned(),
            token: Secret::None,
            tls: TlsFiles::default(),
            wait: Duration::from_secs(55),
            timeout: Duration::from_secs(10),
            max_response: 32 << 20,
        }
    }

    /// The datacentres that Consul knows, nearest first, those that cannot be reached just now included.
    ///
    /// # Errors
    ///
    /// Consul gives no answer, or none that makes sense.
    pub async fn datacentres(&self) -> Result<Vec<String>, ConsulError> {
        let answer = self.0.get(&mut None, "/v1/catalog/datacenters").await?;
        answer.json()
    }

    /// The services of a datacentre with their tags; by default the agent's own.
    ///
    /// # Errors
    ///
    /// Consul gives no answer, or none that makes sense.
    pub async fn services(
        &self,
        datacentre: Option<&str>,
    ) -> Result<BTreeMap<String, Vec<String>>, ConsulError> {
        let mut target = "/v1/catalog/services".to_owned();
        if let Some(datacentre) = datacentre {
            target.push_str("?dc=");
            reference::encode(datacentre, &mut target);
        }
        self.0.get(&mut None, &target).await?.json()
    }
}

impl Discovery for Consul {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let name = service.clone();
        match service.as_str().parse::<ConsulService>() {
            Ok(service) => {
                let watch = Watch::new(self.0.clone(), name, service);
                Box::pin(stream::unfold(watch, Watch::next))
            }
            // Nothing will ever make sense of it; an end would only be begun again.
            Err(error) => failed(error.into()),
        }
    }

    fn check(&self, service: &ServiceName) -> Result<(), BoxError> {
        service.as_str().parse::<ConsulService>()?;
        Ok(())
    }
}

// === impl Builder ===

impl Builder {
    /// `host:port`, `http://host:port` or `https://host:port`. By default `127.0.0.1:8500`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// The ACL token that every query carries. By default none.
    pub fn token(mut self, token: impl Into<Arc<str>>) -> Self {
        self.token = Secret::Text(token.into());
        self
    }

    /// A file with the ACL token, read again for every query.
    pub fn token_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.token = Secret::File(Arc::new(file.into()));
        self
    }

    /// With TLS: a PEM file of the only authorities believed. By default the system's.
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.ca = Some(file.into());
        self
    }

    /// With TLS: PEM files of the certificate shown to Consul, and of its key.
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.identity = Some((certificate.into(), key.into()));
        self
    }

    /// With TLS: the name that Consul's certificate must be for, such as `server.dc1.consul`. By default the host of the
    /// [address](Self::address).
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.tls.server_name = Some(name.into());
        self
    }

    /// How long Consul holds a query back while nothing changes: 1 s to 10 min, by default 55 s. A connection that has
    /// died without a word is noticed after this, a sixteenth of it, and [`timeout`](Self::timeout).
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait.clamp(Duration::from_secs(1), Duration::from_secs(600));
        self
    }

    /// The longest time for connecting, and for an answer that is not held back. By default 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest answer that is read. By default 32 MiB.
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// Reads the certificates. Consul is not asked yet.
    ///
    /// # Errors
    ///
    /// The address makes no sense, or a file cannot be used.
    pub fn build(self) -> Result<Consul, ConsulError> {
        Client::new(self).map(Consul)
    }
}
