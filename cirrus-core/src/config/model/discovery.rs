//! Where the endpoints of services come from.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OriginConfig;
use crate::config::value::Period;

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
}

/// When a set of endpoints is suddenly too small to be believed at once. The endpoints before stay until a second full
/// reading, after `hold`, says the same. Endpoints of weight 0 do not count. Holds for every cluster with a `service`.
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
