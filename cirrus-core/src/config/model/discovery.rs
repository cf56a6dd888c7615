//! Where the endpoints of services come from.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OriginConfig;
use crate::config::value::{Period, SecretText};

/// How the endpoints of clusters with a `service` are found. A change needs a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DiscoveryConfig {
    /// A directory for the last good endpoints of each service, so that the edge starts and serves while nobody can be
    /// asked; made if it is not there. By default a start begins without endpoints.
    /// Relative paths start at the configuration file.
    pub state: Option<PathBuf>,
    /// When a set of endpoints is suddenly too small to be believed at once. By default every set is.
    pub guard: DiscoveryGuardConfig,
    /// Services of the form `dns://…` and `dns+srv://…`.
    pub dns: DnsDiscoveryConfig,
    /// Services of the form `etcd://…`.
    pub etcd: EtcdDiscoveryConfig,
    /// Services of the form `redis://…`.
    pub redis: RedisDiscoveryConfig,
}

/// Services of the form `etcd:///PREFIX`, each with a record in JSON under every key that begins with the prefix. A change
/// needs a restart; a password's file is read again for every login.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EtcdDiscoveryConfig {
    /// The servers: `"host:port"`, port 2379 unless given. When one does not answer the next is asked. A service's own, as
    /// in `etcd://10.0.0.1:2379,10.0.0.2:2379/PREFIX`, go before these.
    pub addresses: Vec<String>,
    /// The user to log in as. By default nobody logs in.
    pub user: Option<String>,
    /// The user's password. Either this or `password_file`, which is better kept from others.
    pub password: Option<SecretText>,
    /// A file with the user's password. Relative paths start at the configuration file.
    pub password_file: Option<PathBuf>,
    /// Whether the servers are spoken to with TLS.
    pub tls: bool,
    /// A PEM file of the only authorities believed with `tls`. By default the system's trusted roots.
    pub ca: Option<PathBuf>,
    /// A PEM file with the certificate shown to the servers, its chain behind it. Goes with `key`.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the key of `certificate`.
    pub key: Option<PathBuf>,
    /// How long connecting to one server and its answer may take, 10 ms to 1 min.
    pub timeout: Period,
    /// How often everything is read again, give or take half of it, 1 s to 1 h. Changes are known at once without it; this
    /// is for a watch that has died without a word.
    pub read_every: Period,
}

/// Services of the form `redis:///KEY`, each a hash with a record in JSON in every field, or a set of such records. A change
/// needs a restart; a password's file is read again for every login.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RedisDiscoveryConfig {
    /// Servers, Sentinels or nodes of a cluster: `"host:port"`, port 6379 unless given. When one does not answer the next
    /// is asked. A service's own, as in `redis://10.0.0.5:6379/KEY`, go before these.
    pub addresses: Vec<String>,
    /// Who is at the addresses.
    pub mode: RedisMode,
    /// The master's name, as Sentinels know it. Goes with `mode = "sentinel"`.
    pub master: Option<String>,
    /// The number of the database. A cluster has only 0.
    pub database: u16,
    /// The user to log in as. By default, with a password, `default`.
    pub user: Option<String>,
    /// The user's password. Either this or `password_file`, which is better kept from others. Sentinels get it if they ask.
    pub password: Option<SecretText>,
    /// A file with the user's password. Relative paths start at the configuration file.
    pub password_file: Option<PathBuf>,
    /// Whether all of them are spoken to with TLS.
    pub tls: bool,
    /// A PEM file of the only authorities believed with `tls`. By default the system's trusted roots.
    pub ca: Option<PathBuf>,
    /// A PEM file with the certificate shown to Redis, its chain behind it. Goes with `key`.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the key of `certificate`.
    pub key: Option<PathBuf>,
    /// How long connecting to one address and its answer may take, 10 ms to 1 min.
    pub timeout: Period,
    /// How often a key is read, give or take half of it, 1 s to 1 h. It is read at once when something is published in the
    /// channel of its own name, or when Redis has keyspace notifications.
    pub read_every: Period,
}

/// Who is at the addresses of Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RedisMode {
    /// A server; of several the first that answers.
    #[default]
    Single,
    /// Sentinels, which know who the master is.
    Sentinel,
    /// Some nodes of a cluster.
    Cluster,
}

/// When a set of endpoints is suddenly too small to be believed at once. The endpoints before stay until a second full
/// reading, after `hold`, says the same. Endpoints of weight 0 do not count. Holds for every cluster with a `service`, and for
/// the services of gateways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DiscoveryGuardConfig {
    /// A set with fewer endpoints than this, and fewer than before, is held back.
    pub min_endpoints: u32,
    /// A set is held back if more than this share of the most that there were within `hold` is gone, in percent, 0 to
    /// 100: with 50, five of ten may go at once, six may not; with 99 only a set without endpoints is held back. With 100
    /// nothing is held back for its share.
    pub max_shrink: u8,
    /// How long a set is held back before discovery is asked again, 1 s to 1 d. An error of discovery begins it anew.
    pub hold: Period,
}

/// Services of the form `dns://…` and `dns+srv://…`: how their names are resolved, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DnsDiscoveryConfig {
    /// Name servers to ask, such as `["10.0.0.2:53"]`. By default those of the machine.
    #[schemars(with = "Vec<String>")]
    pub servers: Vec<SocketAddr>,
    /// An answer holds for this long at least, 100 ms to 1 h, whatever its TTL.
    pub min_ttl: Period,
    /// An answer holds for this long at the most, `min_ttl` to 1 d, whatever its TTL.
    pub max_ttl: Period,
    /// How long after a failure, or an answer that the name does not exist, the next question is asked, 100 ms to 1 h.
    pub retry: Period,
    /// How long one question to one server may take, 10 ms to 1 min.
    pub timeout: Period,
}

/// A table of endpoints that is changed through the admin API; clusters refer to it as `registry://NAME`. A change needs
/// a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RegistryConfig {
    /// A file that keeps the table over restarts; begins to exist with the first change. Without it changes are lost at
    /// the end. Relative paths start at the configuration file.
    pub file: Option<PathBuf>,
    /// The service that `/add`, `/get` and `/delete` on the admin listener change. They are off unless it is given.
    pub legacy: Option<String>,
    /// Services with their first endpoints.
    pub service: Vec<RegistryServiceConfig>,
}

/// The first endpoints of a service, for as long as the table does not know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RegistryServiceConfig {
    /// Its name.
    pub name: String,
    /// Its endpoints; they get the ids 1, 2 and so on.
    #[serde(default)]
    pub origin: Vec<OriginConfig>,
}

impl Default for DiscoveryGuardConfig {
    fn default() -> Self {
        Self {
            min_endpoints: 0,
            max_shrink: 100,
            hold: Period::secs(30),
        }
    }
}

impl Default for DnsDiscoveryConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            min_ttl: Period::secs(1),
            max_ttl: Period::secs(300),
            retry: Period::secs(5),
            timeout: Period::secs(2),
        }
    }
}

impl Default for EtcdDiscoveryConfig {
    fn default() -> Self {
        Self {
            addresses: vec!["127.0.0.1:2379".to_owned()],
            user: None,
            password: None,
            password_file: None,
            tls: false,
            ca: None,
            certificate: None,
            key: None,
            timeout: Period::secs(5),
            read_every: Period::secs(30),
        }
    }
}

impl Default for RedisDiscoveryConfig {
    fn default() -> Self {
        Self {
            addresses: vec!["127.0.0.1:6379".to_owned()],
            mode: RedisMode::default(),
            master: None,
            database: 0,
            user: None,
            password: None,
            password_file: None,
            tls: false,
            ca: None,
            certificate: None,
            key: None,
            timeout: Period::secs(5),
            read_every: Period::secs(5),
        }
    }
}
