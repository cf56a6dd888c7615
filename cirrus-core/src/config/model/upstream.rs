//! Where requests go: clusters and their origins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::balance::{BalanceConfig, RetryConfig};
use super::health::{BreakerConfig, CheckConfig, HealthConfig};
use crate::config::value::{OriginUrl, Period};

/// A named group of endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// The name that routes refer to; unique.
    pub name: String,
    /// Endpoints written down here. Either these or `service`.
    #[serde(default)]
    pub origin: Vec<OriginConfig>,
    /// A service whose endpoints are found, such as `"dns://api.internal:8080"`. Either this or `origin`.
    #[serde(default)]
    pub service: Option<String>,
    /// The version of HTTP that its endpoints are spoken to in.
    #[serde(default)]
    pub protocol: OriginProtocol,
    /// How long the origin may take.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// When an endpoint is left out.
    #[serde(default)]
    pub health: HealthConfig,
    /// Looks after the endpoints at intervals.
    #[serde(default)]
    pub check: Vec<CheckConfig>,
    /// Stops asking the cluster while it does not answer.
    #[serde(default)]
    pub breaker: Option<BreakerConfig>,
    /// TLS to the endpoints whose URLs begin with `https`.
    #[serde(default)]
    pub tls: UpstreamTlsConfig,
    /// Connections kept open between requests.
    #[serde(default)]
    pub pool: PoolConfig,
    /// Begins every connection with a PROXY protocol header that tells the client's address. Every request then has a
    /// connection of its own.
    #[serde(default)]
    pub proxy_protocol: Option<SendProxyProtocol>,
    /// How endpoints are chosen.
    #[serde(default)]
    pub balance: BalanceConfig,
    /// What is tried again, for routes and sites that do not say so themselves. By default only connecting, with up to
    /// three endpoints.
    #[serde(default)]
    pub retry: Option<RetryConfig>,
}

/// The version of HTTP that origins are spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OriginProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, many requests on one connection, as gRPC needs it. Without TLS the origin is not asked whether it speaks
    /// it (prior knowledge). Requests that ask for another protocol, such as WebSocket, are answered 502.
    Http2,
    /// With TLS what the origin chooses, HTTP/2 offered first (ALPN), and HTTP/1.1 for requests that ask for another
    /// protocol. Without TLS always HTTP/1.1.
    Auto,
}

/// One address of a site or cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OriginConfig {
    /// `http://host:port` or `https://host:port`, without a path; the port is 80 or 443 unless given. Or `unix:/path`,
    /// a Unix socket that is spoken to without TLS.
    pub url: OriginUrl,
    /// Its share of the requests against the other weights, 1 to 65535.
    #[serde(default = "one")]
    pub weight: u16,
    /// The name asked for and verified in TLS. By default the host of `url`.
    #[serde(default)]
    pub sni: Option<String>,
    /// The zone that it is in; see `balance.zone`.
    #[serde(default)]
    pub zone: Option<String>,
    /// 0 to 255. Those of a higher number are asked only when too few of the lower ones are up.
    #[serde(default)]
    pub priority: u8,
    /// Gets no requests but those of the sessions that it has.
    #[serde(default)]
    pub drain: bool,
    /// What a `subset` chooses it by, such as `{ version = "v2" }`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// How long the origin may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TimeoutsConfig {
    /// For a new connection, TLS included; then another endpoint is tried.
    pub connect: Period,
    /// From the request sent to the response's header; then the answer is 504.
    pub first_byte: Period,
    /// Between two reads of the response's body; then the response is cut off.
    pub idle: Period,
}

/// TLS to origins. Sessions are resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct UpstreamTlsConfig {
    /// A PEM file of the only authorities believed. By default the system's trusted roots.
    /// Relative paths start at the configuration file.
    pub ca: Option<PathBuf>,
    /// A PEM file with the certificate shown to origins that ask for one, its chain behind it. Goes with `key`.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the key of `certificate`.
    pub key: Option<PathBuf>,
    /// Whether the origin's certificate must be valid and for its name. Without it anybody on the way can read and
    /// change everything.
    pub verify: bool,
    /// The oldest version of TLS that is spoken.
    pub min_version: UpstreamTlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub enum UpstreamTlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SendProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Connections kept open between requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Idle connections kept for each endpoint and worker, 0 to 65536.
    pub max_idle: u32,
    /// How long a connection may be idle; less than the origin's own limit, so that it does not close under a request.
    pub idle_time: Period,
    /// How old a connection may become; then it carries no further request. By default any age.
    pub max_age: Option<Period>,
    /// Requests that one connection carries, 1 to 4294967295. By default any number.
    pub max_requests: Option<u32>,
    /// Connections to each endpoint at the same time, over all workers, 1 to 1000000. By default any number.
    pub max_connections: Option<u32>,
    /// With `max_connections`: requests that wait for a connection to one endpoint, 0 to 1000000; one more is
    /// answered 503.
    pub max_pending: u32,
    /// With `max_connections`: how long a request waits for a connection; then it is answered 503.
    pub wait: Period,
}

// === defaults ===

impl Default for UpstreamTlsConfig {
    fn default() -> Self {
        Self {
            ca: None,
            certificate: None,
            key: None,
            verify: true,
            min_version: UpstreamTlsVersion::default(),
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_idle: 128,
            idle_time: Period::secs(60),
            max_age: None,
            max_requests: None,
            max_connections: None,
            max_pending: 1024,
            wait: Period::secs(1),
        }
    }
}

impl Default for TimeoutsConfig {
    fn default() -> Self {
        Self {
            connect: Period::secs(5),
            first_byte: Period::secs(60),
            idle: Period::secs(60),
        }
    }
}

fn one() -> u16 {
    1
}
