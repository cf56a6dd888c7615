//! Where requests go: clusters and their origins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// A service whose endpoints the program's service discovery finds. Either this or `origin`.
    #[serde(default)]
    pub service: Option<String>,
    /// The version of HTTP that its endpoints are spoken to in.
    #[serde(default)]
    pub protocol: OriginProtocol,
    /// How long the origin may take.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// When an endpoint is left out after failures.
    #[serde(default)]
    pub health: HealthConfig,
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
    /// `http://host:port` or `https://host:port`, without a path. The port is 80 or 443 unless given.
    pub url: OriginUrl,
    /// Its share of the requests against the other weights, 1 to 65535.
    #[serde(default = "one")]
    pub weight: u16,
    /// The name asked for and verified in TLS. By default the host of `url`.
    #[serde(default)]
    pub sni: Option<String>,
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

/// When an endpoint is left out after failures. An only endpoint is never left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HealthConfig {
    /// Connections refused or timed out in a row before the endpoint is ejected, 1 to 1000.
    pub failures: u32,
    /// How long an ejected endpoint gets no requests.
    pub eject: Period,
}

// === defaults ===

impl Default for TimeoutsConfig {
    fn default() -> Self {
        Self {
            connect: Period::secs(5),
            first_byte: Period::secs(60),
            idle: Period::secs(60),
        }
    }
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            failures: 3,
            eject: Period::secs(10),
        }
    }
}

fn one() -> u16 {
    1
}
