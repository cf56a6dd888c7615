//! The configuration as its author writes it. What it means is compiled from it into a [`Snapshot`](super::Snapshot).
//!
//! Every value parses where it stands: a field that holds an address holds nothing else.
//! The doc comments are the user's reference: `docs/configuration.md` and the JSON Schema are generated from them.

mod access;
mod acme;
mod balance;
mod caching;
mod consul;
mod content;
mod discovery;
mod disk;
mod health;
mod passthrough;
mod peers;
mod purging;
mod shaping;
mod site;
mod store;
mod tls;
mod upstream;

use super::parse::Written;
use super::value::{KeyHash, Period, Size};
pub use access::{
    AccessConfig, ApiKeysConfig, BasicAuthConfig, ForwardAuthConfig, JwtAlgorithm, JwtConfig,
};
pub use acme::{
    AcmeAuthorityConfig, AcmeCertificateConfig, AcmeChallenge, AcmeConfig, AcmeDnsConfig,
    AcmeRedisConfig, OnDemandConfig,
};
pub use balance::{
    BalanceConfig, BalancePolicy, MirrorConfig, RetryConfig, SameSite, SplitConfig, StickyConfig,
    SubsetConfig, SubsetFallback,
};
pub use caching::{CacheBypassConfig, CacheKeyConfig, CacheKeyQueryConfig, RequestCacheControl};
pub use consul::{ConsulConfig, ConsulGatewayConfig};
pub use content::{
    CompressionConfig, CompressionLevel, ContentCoding, CorsConfig, HeaderEditsConfig,
    RewriteConfig,
};
pub use discovery::{
    DiscoveryConfig, DiscoveryGuardConfig, DnsDiscoveryConfig, EtcdDiscoveryConfig,
    RedisDiscoveryConfig, RedisMode, RegistryConfig, RegistryServiceConfig,
};
pub use disk::DiskCacheConfig;
pub use health::{
    AtLeastConfig, BodyMatchConfig, BreakerConfig, CheckConfig, CheckKind, CheckState, HealthConfig,
};
use ipnet::IpNet;
pub use passthrough::PassthroughConfig;
pub use peers::{PeerConfig, PeersConfig};
pub use purging::{PurgeLogConfig, PurgeMethodConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use shaping::{ConcurrencyConfig, RateLimitConfig, RequestIdConfig};
pub use site::{
    FilesConfig, RedirectConfig, RespondConfig, RouteConfig, SetCookie, SiteCacheConfig, SiteConfig,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
pub use store::RedisCacheConfig;
pub use tls::{
    ClientAuthConfig, ClientAuthMode, ClientCertField, HstsConfig, Resumption, SiteTlsConfig,
    TlsConfig, TlsVersion,
};
pub use upstream::{
    ClusterConfig, OriginConfig, OriginProtocol, PoolConfig, SendProxyProtocol, TimeoutsConfig,
    UpstreamTlsConfig, UpstreamTlsVersion,
};

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
    /// TLS with clients.
    pub tls: TlsConfig,
    /// One line for every request.
    pub access_log: AccessLogConfig,
    /// How the endpoints of clusters with a `service` are found.
    pub discovery: DiscoveryConfig,
    /// Consul. Without it services and gateways ask the agent that the environment names.
    pub consul: Option<ConsulConfig>,
    /// Named groups of endpoints that routes refer to.
    pub cluster: Vec<Arc<ClusterConfig>>,
    /// A table of endpoints that is changed through the admin API.
    pub registry: Option<RegistryConfig>,
    /// Names whose connections are handed on as they are.
    pub passthrough: Vec<PassthroughConfig>,
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
    /// TLS. Needs `[certificates]`.
    #[serde(default)]
    pub tls: bool,
    /// HTTP/2 besides HTTP/1.1: with TLS by ALPN, without by prior knowledge (the client begins with it).
    #[serde(default = "yes")]
    pub http2: bool,
    /// Serves HTTP/1 clients that end their side of the connection behind their request, such as `nc -N`. By default
    /// that is taken for a client that has left, and its request is given up.
    #[serde(default)]
    pub half_close: bool,
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
    /// Address and port. Without `tokens` only loopback addresses are allowed. It speaks plain HTTP: on a network that
    /// others listen to, put TLS before it.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// Names with the hashes of tokens, one of which must be in `Authorization: Bearer` to change anything, and on an
    /// address that is not loopback to read anything but `/healthz` and `/readyz`. The names stand in the log.
    #[serde(default)]
    pub tokens: BTreeMap<String, KeyHash>,
    /// Lets every program on this machine change things without a token. Not with `tokens`, and on loopback only.
    #[serde(default)]
    pub open: bool,
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
    /// Lets checks run programs (`kind = "script"`). Whoever may change the configuration can run anything then.
    pub allow_scripts: bool,
}

/// What one client or connection may use at the most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitsConfig {
    /// Connections open at the same time, over all listeners; one more is closed at once. A change needs a restart.
    pub connections: u32,
    /// Connections of one client open at the same time, over all listeners; one more is closed at once. An IPv6 client is
    /// a /64. With PROXY protocol the address that it names counts; `server.trusted_proxies` are not counted. As many as
    /// `connections` switches it off.
    pub connections_per_client: u32,
    /// Requests on one connection, at least 1; with the last one it ends: `Connection: close` or GOAWAY.
    pub requests_per_connection: u32,
    /// Bytes of a request's line and header fields, 8 KiB to 1 MiB; more is answered 431.
    pub header_bytes: Size,
    /// How long a client may take to send a request's header.
    pub header_time: Period,
    /// How long a client may take for a TLS handshake. A change needs a restart.
    pub handshake_time: Period,
    /// TLS handshakes at the same time, over all listeners; the connection of one more is closed at once. A change needs a
    /// restart.
    pub handshakes: u32,
    /// How long a connection may stay open without a request.
    pub idle_time: Period,
    /// How long a client may take nothing of a response that waits for it; then its connection is closed, with HTTP/2 its
    /// stream reset.
    pub send_time: Period,
    /// How long a client may send nothing of a request's body; then it is answered 408. While the origin is what a body
    /// waits for, this does not count.
    pub body_idle_time: Period,
    /// Bytes a second that a client must send of a request's body, after a grace of 10 s and over all the time that it
    /// is waited for; slower ones are answered 408. 0 for as slowly as one likes.
    pub body_rate: Size,
    /// Concurrent HTTP/2 streams on one connection, 1 to 10000.
    pub streams: u32,
    /// Bytes of a response that wait in memory for an HTTP/1 client, 64 KiB to 16 MiB; no more is taken from the origin
    /// until the client has taken some. An HTTP/2 stream has 64 KiB, fixed.
    pub connection_buffer: Size,
    /// Bytes of responses that may wait for all HTTP/1 clients that are slower than their responses; at least 1 MiB.
    /// Beyond it each of them gets its response in small pieces.
    pub total_buffer: Size,
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
    /// A disk to keep responses on, over restarts.
    pub disk: Option<DiskCacheConfig>,
    /// A list of purges that several edges follow.
    pub purge_log: Option<PurgeLogConfig>,
    /// A level behind `memory` that edges share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisCacheConfig>,
    /// Edges that fetch for each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<PeersConfig>,
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
    /// Certificates that are obtained and renewed by themselves, for names that `directory` does not cover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeConfig>,
    /// A directory with the root of a local authority, `root.pem` and `root.key`, that signs the certificates of
    /// `self_signed`, which it switches on. Made if it is not there, and printed once: tell your machine to trust it.
    pub local_ca: Option<PathBuf>,
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

// === impl ListenConfig ===

impl ListenConfig {
    /// A listener without TLS.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            tls: false,
            http2: true,
            half_close: false,
            proxy_protocol: Vec::new(),
        }
    }
}

// === defaults ===

fn yes() -> bool {
    true
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            workers: None,
            drain: Period::secs(30),
            trusted_proxies: Vec::new(),
            allow_scripts: false,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 65_536,
            connections_per_client: 1024,
            requests_per_connection: 10_000,
            header_bytes: Size::kib(16),
            header_time: Period::secs(10),
            handshake_time: Period::secs(10),
            handshakes: 4096,
            idle_time: Period::secs(60),
            send_time: Period::secs(60),
            body_idle_time: Period::secs(30),
            body_rate: Size::of(240),
            streams: 128,
            connection_buffer: Size::kib(256),
            total_buffer: Size::mib(1024),
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            memory: Size::mib(256),
            max_object: None,
            disk: None,
            purge_log: None,
            redis: None,
            peers: None,
        }
    }
}
