//! The configuration as its author writes it. What it means is compiled from it into a [`Snapshot`](super::Snapshot).
//!
//! Every value parses where it stands: a field that holds an address holds nothing else.
//! The doc comments are the user's reference: `docs/configuration.md` and the JSON Schema are generated from them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parse::Written;
use super::value::{HeaderText, HeaderTitle, MethodName, OriginUrl, Period, Size, StatusNumber};
use crate::routing::{HostPattern, PathPattern};

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The sockets that clients connect to. Without any, only the admin listener serves.
    pub listen: Vec<ListenConfig>,
    /// The listener for operators: `/metrics`, `/healthz`, `/readyz` and the API. Off unless given.
    pub admin: Option<AdminConfig>,
    /// Workers, draining, and whose forwarding headers are believed.
    pub server: ServerConfig,
    /// What one client or connection may use at the most.
    pub limits: LimitsConfig,
    /// The store that all caching sites share.
    pub cache: CacheConfig,
    /// Where server certificates come from.
    pub certificates: CertificatesConfig,
    /// One line for every request.
    pub access_log: AccessLogConfig,
    /// Named groups of endpoints that routes refer to.
    pub cluster: Vec<Arc<ClusterConfig>>,
    /// What is served under which host names.
    pub site: Vec<Arc<SiteConfig>>,

    /// Where each field stands in the text it was read from, so that faults found later can point there.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) document: Written,
}

/// One socket. A change needs a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ListenConfig {
    /// Address and port, for example `"0.0.0.0:80"` or `"[::]:443"`. Port 0 takes a free one.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// TLS with HTTP/1.1 and HTTP/2 chosen by ALPN. Needs `[certificates]`.
    #[serde(default)]
    pub tls: bool,
    /// Networks whose connections must begin with a PROXY protocol header (version 1 or 2), such as a load balancer's.
    /// Its source and destination become the connection's addresses. Connections from elsewhere must not begin with
    /// one and are served as they are.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub proxy_protocol: Vec<IpNet>,
}

/// The listener for operators. A change needs a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AdminConfig {
    /// Address and port. It has no authentication yet, so only loopback addresses are allowed.
    #[schemars(with = "String")]
    pub address: SocketAddr,
}

/// Workers, draining, and whose forwarding headers are believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Threads that serve traffic, 1 to 1024. By default one for each core. A change needs a restart.
    pub workers: Option<u16>,
    /// How long requests in flight may take to finish after SIGTERM or SIGINT; then their connections are closed.
    pub drain: Period,
    /// Networks whose `Forwarded` and `X-Forwarded-*` fields are believed and extended.
    /// From anybody else they are replaced.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
}

/// What one client or connection may use at the most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitsConfig {
    /// Connections open at the same time, over all listeners; one more is closed at once. A change needs a restart.
    pub connections: u32,
    /// Bytes of a request's line and header fields, 8 KiB to 1 MiB; more is answered 431.
    pub header_bytes: Size,
    /// How long a client may take to send a request's header.
    pub header_time: Period,
    /// How long a client may take for a TLS handshake. A change needs a restart.
    pub handshake_time: Period,
    /// How long a connection may stay open without a request.
    pub idle_time: Period,
    /// Concurrent HTTP/2 streams on one connection, 1 to 10000.
    pub streams: u32,
}

/// The store that all caching sites share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheConfig {
    /// Memory for stored responses, metadata included; at least 1 MiB. A change needs a restart.
    pub memory: Size,
    /// The largest body that is stored; larger ones pass through. By default an eighth of `memory`;
    /// at most a quarter.
    /// A change needs a restart.
    pub max_object: Option<Size>,
}

/// Where server certificates come from. A change needs a restart; the files themselves are watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CertificatesConfig {
    /// A directory of pairs `NAME.pem` (chain) and `NAME.key`; chosen by SNI from the names inside the certificates.
    /// Relative paths start at the configuration file. Read again when a file changes.
    pub directory: Option<PathBuf>,
    /// Makes a self-signed certificate, for development, for any name that `directory` does not cover.
    pub self_signed: bool,
}

/// One line for every request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AccessLogConfig {
    /// The lines' form.
    pub format: AccessLogFormat,
    /// A file to append to. By default standard output. A change needs a restart.
    pub file: Option<PathBuf>,
}

/// The form of an access-log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AccessLogFormat {
    /// No access log.
    #[default]
    Off,
    /// A JSON object a line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

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
    /// How long the origin may take.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// When an endpoint is left out after failures.
    #[serde(default)]
    pub health: HealthConfig,
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

/// What is served under which host names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SiteConfig {
    /// Host names: `"shop.example"`, `"*.shop.example"` (any depth below), or `"*"` (every host no other site has).
    /// Each may stand in one site only.
    pub hosts: Vec<HostPattern>,
    /// The name in metrics and logs. By default the first of `hosts`.
    pub name: Option<String>,
    /// Where requests go that no route matches. Either these, or `cluster`, or neither (404).
    pub origin: Vec<OriginConfig>,
    /// The named cluster where requests go that no route matches.
    pub cluster: Option<String>,
    /// Whether and how responses are cached.
    pub cache: SiteCacheConfig,
    /// How long the origins in this site may take. A named cluster has its own.
    pub timeouts: TimeoutsConfig,
    /// When an origin in this site is left out. A named cluster has its own.
    pub health: HealthConfig,
    /// Header fields set on every request to the origin. `Host` is the client's unless it is set here.
    pub upstream_headers: BTreeMap<HeaderTitle, HeaderText>,
    /// What is done with some of the requests. The most specific match wins, whatever the order.
    pub route: Vec<RouteConfig>,
}

/// Whether and how responses are cached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SiteCacheConfig {
    /// Stores what RFC 9111 allows a shared cache to store.
    pub enable: bool,
    /// Freshness for responses that say nothing about theirs. By default they are not stored.
    pub default_ttl: Option<Period>,
}

/// A match and what is done. Give exactly one of `origin`, `cluster`, `redirect`, `respond` and `files`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RouteConfig {
    /// `"/a"` exactly, `"/a/*"` everything below (and `/a` itself), `"/user/{id}/posts"` one segment each,
    /// `"*.jpg"` or `"/img/*.jpg"` by ending. By default every path.
    #[serde(default)]
    pub path: PathPattern,
    /// Methods, such as `["GET", "POST"]`; `GET` takes HEAD along. By default every method.
    #[serde(default)]
    pub methods: Vec<MethodName>,
    /// Header fields that must be there with this value; `"*"` is any value.
    #[serde(default)]
    pub headers: BTreeMap<HeaderTitle, HeaderText>,
    /// Query parameters that must be there with this value; `"*"` is any value.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// To these origins.
    #[serde(default)]
    pub origin: Vec<OriginConfig>,
    /// To this named cluster.
    #[serde(default)]
    pub cluster: Option<String>,
    /// To another address.
    #[serde(default)]
    pub redirect: Option<RedirectConfig>,
    /// A fixed response.
    #[serde(default)]
    pub respond: Option<RespondConfig>,
    /// Files of a directory.
    #[serde(default)]
    pub files: Option<FilesConfig>,
    /// Replaces the site's `cache` for this route.
    #[serde(default)]
    pub cache: Option<SiteCacheConfig>,
}

/// To another address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RedirectConfig {
    /// The `Location`. `{host}` (with its port, if the request named one), `{path}` (with its query) and the route's own `{params}` are filled in.
    pub to: HeaderText,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    pub status: StatusNumber,
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RespondConfig {
    /// The status, 200 to 599.
    #[serde(default = "okay")]
    pub status: StatusNumber,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// Header fields. `Content-Type` is `text/plain; charset=utf-8` unless set here.
    #[serde(default)]
    pub headers: BTreeMap<HeaderTitle, HeaderText>,
}

/// Files of a directory, for GET and HEAD, with ranges and conditional requests. Symbolic links are followed, and files
/// whose names begin with a dot are served. What stands in the path behind the
/// route's prefix is looked for in the directory; `index.html` stands for a directory itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FilesConfig {
    /// The directory. Relative paths start at the configuration file.
    pub directory: PathBuf,
}

// === impl ListenConfig ===

impl ListenConfig {
    /// A listener without TLS.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            tls: false,
            proxy_protocol: Vec::new(),
        }
    }
}

// === defaults ===

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            workers: None,
            drain: Period::secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 65_536,
            header_bytes: Size::kib(16),
            header_time: Period::secs(10),
            handshake_time: Period::secs(10),
            idle_time: Period::secs(60),
            streams: 128,
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            memory: Size::mib(256),
            max_object: None,
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

fn found() -> StatusNumber {
    StatusNumber(302)
}

fn okay() -> StatusNumber {
    StatusNumber(200)
}
