//! Consul: where it is, and the gateway to its services.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::health::HealthConfig;
use super::upstream::{OriginProtocol, TimeoutsConfig, UpstreamTlsConfig};
use crate::config::value::{NamePattern, Period, SecretText};

/// Consul, as services named `consul://DATACENTRE/SERVICE` and gateways ask it. A change needs a restart; the token's file
/// is read again for every query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConsulConfig {
    /// Where an agent listens: `"host:port"`, `"http://host:port"` or `"https://host:port"`. By default what the
    /// environment's `CONSUL_ADDR` says, or else `"127.0.0.1:8500"`.
    pub address: Option<String>,
    /// The ACL token. Either this or `token_file`, which is better kept from others. Without both, the environment's
    /// `CONSUL_HTTP_TOKEN` or `CONSUL_HTTP_TOKEN_FILE`.
    pub token: Option<SecretText>,
    /// A file with the ACL token. Relative paths start at the configuration file.
    pub token_file: Option<PathBuf>,
    /// A PEM file of the only authorities believed with `https`. By default the system's trusted roots.
    pub ca: Option<PathBuf>,
    /// The name that Consul's certificate must be for, such as `"server.dc1.consul"`. By default the host of `address`.
    pub server_name: Option<String>,
    /// A PEM file with the certificate shown to Consul, its chain behind it. Goes with `key`.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the key of `certificate`.
    pub key: Option<PathBuf>,
}

/// Serves `/{datacentre}/{service}/{path}`, behind the route's own prefix, from whatever instances Consul knows: each
/// service is looked for when it is first asked for. `{path}` and query go to the instance as they came. A datacentre or
/// service that Consul does not know is answered 404, one of which no instance is well 503.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConsulGatewayConfig {
    /// Only services of these names, such as `["shop-*"]`; others are unknown. By default every one.
    pub allow: Vec<NamePattern>,
    /// No services of these names, whatever `allow` says.
    pub deny: Vec<NamePattern>,
    /// Only instances with all of these tags.
    pub tags: Vec<String>,
    /// Only instances for which this holds, in Consul's own language: `"Service.Meta.public == \"yes\""`.
    pub filter: Option<String>,
    /// Whether instances whose checks warn take requests too.
    pub warning: bool,
    /// Whether instances are spoken to with TLS. An instance's meta value `scheme` goes before it.
    pub https: bool,
    /// Datacentres that stand in for each other, best first: when nobody of a service is there in the one that is asked
    /// for, and it is among these, the others are tried. By default none.
    pub failover: Vec<String>,
    /// Services in use at the same time, 1 to 100000; one more is answered 503.
    pub max_services: u32,
    /// How long a service is followed that nobody asks for, at least 1 s.
    pub drop_after: Period,
    /// How long a service that Consul does not know any more is still looked for where it was last.
    pub keep_unknown: Period,
    /// Idle connections kept for each instance and worker, 0 to 65536.
    pub pool: u32,
    /// How long a connection may be idle; less than the instances' own limit.
    pub idle_time: Period,
    /// The version of HTTP that instances are spoken to in.
    pub protocol: OriginProtocol,
    /// How long an instance may take.
    pub timeouts: TimeoutsConfig,
    /// When an instance is left out after failures.
    pub health: HealthConfig,
    /// TLS to instances.
    pub tls: UpstreamTlsConfig,
}

// === defaults ===

impl Default for ConsulGatewayConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            tags: Vec::new(),
            filter: None,
            warning: false,
            https: false,
            failover: Vec::new(),
            max_services: 1000,
            drop_after: Period::secs(600),
            keep_unknown: Period::secs(300),
            pool: 32,
            idle_time: Period::secs(60),
            protocol: OriginProtocol::default(),
            timeouts: TimeoutsConfig::default(),
            health: HealthConfig::default(),
            tls: UpstreamTlsConfig::default(),
        }
    }
}
