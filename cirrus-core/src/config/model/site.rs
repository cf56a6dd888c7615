//! What is served: sites, their routes, and what routes do.

use super::access::{AccessConfig, ApiKeysConfig, BasicAuthConfig, ForwardAuthConfig, JwtConfig};
use super::balance::{BalanceConfig, MirrorConfig, RetryConfig, SplitConfig, SubsetConfig};
use super::caching::{CacheBypassConfig, CacheKeyConfig, RequestCacheControl};
use super::consul::ConsulGatewayConfig;
use super::content::{CompressionConfig, CorsConfig, HeaderEditsConfig, RewriteConfig};
use super::health::{BreakerConfig, CheckConfig, HealthConfig};
use super::purging::PurgeMethodConfig;
use super::shaping::{ConcurrencyConfig, RateLimitConfig, RequestIdConfig};
use super::tls::SiteTlsConfig;
use super::upstream::{
    OriginConfig, OriginProtocol, PoolConfig, SendProxyProtocol, TimeoutsConfig, UpstreamTlsConfig,
};
use crate::config::value::{
    HeaderText, HeaderTitle, MethodName, Period, PeriodBound, Size, SizeBound, SplitKey,
    StatusNumber, StatusSet,
};
use crate::routing::{HostPattern, PathPattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    /// What clients of the site have to do with TLS.
    pub tls: Option<SiteTlsConfig>,
    /// Where requests go that no route matches, and those of routes that name nothing else. Either these, or `cluster`, or
    /// neither (404).
    pub origin: Vec<OriginConfig>,
    /// The named cluster where these requests go.
    pub cluster: Option<String>,
    /// Whether and how responses are cached.
    pub cache: SiteCacheConfig,
    /// The version of HTTP that the origins in this site are spoken to in. A named cluster has its own.
    pub protocol: OriginProtocol,
    /// How long the origins in this site may take. A named cluster has its own.
    pub timeouts: TimeoutsConfig,
    /// When an origin in this site is left out. A named cluster has its own.
    pub health: HealthConfig,
    /// Looks after the origins in this site at intervals. A named cluster has its own.
    pub check: Vec<CheckConfig>,
    /// Stops asking the origins in this site while they do not answer. A named cluster has its own.
    pub breaker: Option<BreakerConfig>,
    /// TLS to the origins in this site. A named cluster has its own.
    pub upstream_tls: UpstreamTlsConfig,
    /// Connections to the origins in this site. A named cluster has its own.
    pub pool: PoolConfig,
    /// Begins every connection to the origins in this site with a PROXY protocol header that tells the client's
    /// address. A named cluster has its own.
    pub upstream_proxy_protocol: Option<SendProxyProtocol>,
    /// How the origins in this site are chosen. A named cluster has its own.
    pub balance: BalanceConfig,
    /// Which endpoints of the cluster are asked. By default all.
    pub subset: Option<SubsetConfig>,
    /// What is tried again. By default as the cluster has it.
    pub retry: Option<RetryConfig>,
    /// A copy of some of the requests goes to another cluster.
    pub mirror: Option<MirrorConfig>,
    /// Header fields set on every request to the origin. `Host` is the client's unless it is set here.
    pub upstream_headers: BTreeMap<HeaderTitle, HeaderText>,
    /// Changes to the header of every request to the origin, after everything else that is set on it.
    pub request_headers: Option<HeaderEditsConfig>,
    /// Changes to the header of every response of the site, errors included.
    pub response_headers: Option<HeaderEditsConfig>,
    /// Which other origins' scripts may read the responses.
    pub cors: Option<CorsConfig>,
    /// Whether and how responses are compressed. By default they are not.
    pub compression: Option<CompressionConfig>,
    /// How often clients may ask, over all routes that do not say otherwise. Every one of them must allow a request.
    pub rate_limit: Vec<RateLimitConfig>,
    /// How many requests are served at the same time, over all routes that do not say otherwise. By default any number.
    pub concurrency: Option<ConcurrencyConfig>,
    /// The longest from a request's header to its response's last byte. Before the response's header has been sent the
    /// answer is 504; after it the response is cut off. By default `"none"`.
    pub deadline: PeriodBound,
    /// The largest body of a request; a larger one is answered 413, a chunked one as soon as it has grown too large.
    /// `"none"` for any size.
    pub max_body: SizeBound,
    /// Gives every request an identifier. Off unless given.
    pub request_id: Option<RequestIdConfig>,
    /// Takes part in distributed traces (W3C Trace Context): a valid `traceparent` is continued with a new parent,
    /// otherwise a trace begins here. The trace's identifier is in the access log.
    pub trace_context: bool,
    /// Who may come, by address.
    pub access: Option<AccessConfig>,
    /// Asks for name and password.
    pub basic_auth: Option<BasicAuthConfig>,
    /// Asks for a key.
    pub api_keys: Option<ApiKeysConfig>,
    /// Asks for a signed token.
    pub jwt: Option<JwtConfig>,
    /// Asks another service.
    pub forward_auth: Option<ForwardAuthConfig>,
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
    /// The same by status, which goes before `default_ttl`: `{ "404" = "10s", "5xx" = "1s" }`. One status goes before its
    /// class.
    pub status_ttl: BTreeMap<StatusSet, Period>,
    /// Freshness whatever origins say, of responses that may be stored and are cacheable by default (RFC 9110 §15.1).
    /// `no-store`, `private` and `no-cache` stay in force, and so does `Age`: it is counted from when the origin made the
    /// response.
    pub override_ttl: Option<Period>,
    /// Freshness for responses that only say when they were last modified: this part of the time since then, in percent,
    /// 0 to 100. It goes before `default_ttl`. By default 0: none.
    pub heuristic_percent: u8,
    /// The most that comes of `heuristic_percent`. By default `"1d"`.
    pub heuristic_max: Option<Period>,
    /// How long a stale response is served while it is revalidated behind the client's back, if the origin neither says
    /// so nor forbids it. By default not at all.
    pub stale_while_revalidate: Option<Period>,
    /// How long a stale response stands in for an origin that fails, if the origin neither says so nor forbids it. By
    /// default not at all.
    pub stale_if_error: Option<Period>,
    /// What becomes of responses that set cookies.
    pub set_cookie: SetCookie,
    /// What names a response. By default scheme, host, path and query as they stand.
    pub key: CacheKeyConfig,
    /// Requests that the cache is not used for.
    pub bypass: CacheBypassConfig,
    /// What the `Cache-Control` of requests is worth.
    pub request_cache_control: RequestCacheControl,
    /// How long requests for what is being fetched already wait for that answer's header; then one of them asks for all
    /// once more, and the others each for themselves. At least `"1ms"`, by default `"5s"`.
    pub lock_timeout: Option<Period>,
    /// Tells the key in `Cache-Status`, for whoever looks for the reason of a miss. Keys of more than 1024 bytes are left
    /// out.
    pub show_key: bool,
    /// Fetches and stores large responses in parts of this size, so that a part of one needs no more than itself: 64 KiB to
    /// 64 MiB, `"1MiB"` for video and downloads. By default every response is fetched and stored as a whole.
    pub slice: Option<Size>,
    /// Who may purge with the method PURGE. By default nobody.
    pub purge: Option<PurgeMethodConfig>,
}

/// What becomes of responses that set cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SetCookie {
    /// They are not stored.
    #[default]
    Refuse,
    /// They are stored without: only the client whose request was forwarded gets the cookies.
    Strip,
    /// They are stored as they are, as RFC 9111 §7.3 has it: every client gets the same cookies.
    Keep,
}

/// A match and what is done: one of `origin`, `cluster`, `split`, `redirect`, `respond`, `files` and `consul_gateway`.
/// A route with none of them sends requests where the site does, to its own `origin` or `cluster`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RouteConfig {
    /// `"/a"` exactly, `"/a/*"` everything below (and `/a` itself), `"/user/{id}/posts"` one segment each,
    /// `"*.jpg"` or `"/img/*.jpg"` by ending. By default every path. Slashes in a row in a request's path are seen as one
    /// here; the origin is asked for what the client wrote.
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
    /// To several named clusters, each its share (canary).
    #[serde(default)]
    pub split: Vec<SplitConfig>,
    /// With `split`: what decides. Requests without it go by chance.
    #[serde(default)]
    pub split_by: SplitKey,
    /// Replaces the site's `subset` for this route.
    #[serde(default)]
    pub subset: Option<SubsetConfig>,
    /// Replaces the site's `retry` for this route.
    #[serde(default)]
    pub retry: Option<RetryConfig>,
    /// Replaces the site's `mirror` for this route.
    #[serde(default)]
    pub mirror: Option<MirrorConfig>,
    /// To another address.
    #[serde(default)]
    pub redirect: Option<RedirectConfig>,
    /// A fixed response.
    #[serde(default)]
    pub respond: Option<RespondConfig>,
    /// Files of a directory.
    #[serde(default)]
    pub files: Option<FilesConfig>,
    /// To the services that paths name, as Consul finds them.
    #[serde(default)]
    pub consul_gateway: Option<ConsulGatewayConfig>,
    /// Replaces the site's `cache` for this route.
    #[serde(default)]
    pub cache: Option<SiteCacheConfig>,
    /// Replaces the site's `rate_limit` for this route; `[]` lifts it.
    #[serde(default)]
    pub rate_limit: Option<Vec<RateLimitConfig>>,
    /// Replaces the site's `concurrency` for this route: its requests are counted by themselves.
    #[serde(default)]
    pub concurrency: Option<ConcurrencyConfig>,
    /// Replaces the site's `deadline` for this route; `"none"` lifts it.
    #[serde(default)]
    pub deadline: Option<PeriodBound>,
    /// Replaces the site's `max_body` for this route; `"none"` lifts it.
    #[serde(default)]
    pub max_body: Option<SizeBound>,
    /// Replaces the site's `request_id` for this route.
    #[serde(default)]
    pub request_id: Option<RequestIdConfig>,
    /// Replaces the site's `trace_context` for this route.
    #[serde(default)]
    pub trace_context: Option<bool>,
    /// Another path for the origin.
    #[serde(default)]
    pub rewrite: Option<RewriteConfig>,
    /// Replaces the site's `request_headers` for this route.
    #[serde(default)]
    pub request_headers: Option<HeaderEditsConfig>,
    /// Replaces the site's `response_headers` for this route.
    #[serde(default)]
    pub response_headers: Option<HeaderEditsConfig>,
    /// Replaces the site's `cors` for this route.
    #[serde(default)]
    pub cors: Option<CorsConfig>,
    /// Replaces the site's `compression` for this route.
    #[serde(default)]
    pub compression: Option<CompressionConfig>,
    /// Who may come, by address. Replaces the site's `access` for this route.
    #[serde(default)]
    pub access: Option<AccessConfig>,
    /// Asks for name and password. Replaces the site's `basic_auth` for this route.
    #[serde(default)]
    pub basic_auth: Option<BasicAuthConfig>,
    /// Asks for a key. Replaces the site's `api_keys` for this route.
    #[serde(default)]
    pub api_keys: Option<ApiKeysConfig>,
    /// Asks for a signed token. Replaces the site's `jwt` for this route.
    #[serde(default)]
    pub jwt: Option<JwtConfig>,
    /// Asks another service. Replaces the site's `forward_auth` for this route.
    #[serde(default)]
    pub forward_auth: Option<ForwardAuthConfig>,
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

// === impl SiteConfig ===

impl SiteConfig {
    /// Whether requests have somewhere to go whose route names nothing.
    pub(crate) fn has_upstream(&self) -> bool {
        self.cluster.is_some() || !self.origin.is_empty()
    }
}

// === impl RouteConfig ===

impl RouteConfig {
    /// The names of what it does; more than one is a fault.
    pub(crate) fn actions(&self) -> Vec<&'static str> {
        let actions = [
            ("origin", !self.origin.is_empty()),
            ("cluster", self.cluster.is_some()),
            ("split", !self.split.is_empty()),
            ("redirect", self.redirect.is_some()),
            ("respond", self.respond.is_some()),
            ("files", self.files.is_some()),
            ("consul_gateway", self.consul_gateway.is_some()),
        ];
        let given = actions.into_iter().filter(|(_, given)| *given);
        given.map(|(name, _)| name).collect()
    }

    /// It names nothing of its own: its requests go where the site's do.
    pub(crate) fn inherits(&self) -> bool {
        self.actions().is_empty()
    }

    /// No origin is asked.
    pub(crate) fn answers_here(&self) -> bool {
        self.redirect.is_some() || self.respond.is_some() || self.files.is_some()
    }
}

// === defaults ===

fn found() -> StatusNumber {
    StatusNumber(302)
}

fn okay() -> StatusNumber {
    StatusNumber(200)
}
