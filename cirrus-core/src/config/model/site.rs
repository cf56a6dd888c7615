//! What is served: sites, their routes, and what routes do.

use super::access::{AccessConfig, ApiKeysConfig, BasicAuthConfig, ForwardAuthConfig, JwtConfig};
use super::content::{CompressionConfig, CorsConfig, HeaderEditsConfig, RewriteConfig};
use super::purging::PurgeMethodConfig;
use super::shaping::{ConcurrencyConfig, RateLimitConfig, RequestIdConfig};
use super::upstream::{
    HealthConfig, OriginConfig, OriginProtocol, PoolConfig, SendProxyProtocol, TimeoutsConfig,
    UpstreamTlsConfig,
};
use crate::config::value::{
    HeaderText, HeaderTitle, MethodName, Period, PeriodBound, SizeBound, StatusNumber,
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
    /// Where requests go that no route matches. Either these, or `cluster`, or neither (404).
    pub origin: Vec<OriginConfig>,
    /// The named cluster where requests go that no route matches.
    pub cluster: Option<String>,
    /// Whether and how responses are cached.
    pub cache: SiteCacheConfig,
    /// The version of HTTP that the origins in this site are spoken to in. A named cluster has its own.
    pub protocol: OriginProtocol,
    /// How long the origins in this site may take. A named cluster has its own.
    pub timeouts: TimeoutsConfig,
    /// When an origin in this site is left out. A named cluster has its own.
    pub health: HealthConfig,
    /// TLS to the origins in this site. A named cluster has its own.
    pub upstream_tls: UpstreamTlsConfig,
    /// Connections to the origins in this site. A named cluster has its own.
    pub pool: PoolConfig,
    /// Begins every connection to the origins in this site with a PROXY protocol header that tells the client's
    /// address. A named cluster has its own.
    pub upstream_proxy_protocol: Option<SendProxyProtocol>,
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
    /// Who may purge with the method PURGE. By default nobody.
    pub purge: Option<PurgeMethodConfig>,
}

/// A match and what is done. Give exactly one of `origin`, `cluster`, `redirect`, `respond` and `files`.
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

// === defaults ===

fn found() -> StatusNumber {
    StatusNumber(302)
}

fn okay() -> StatusNumber {
    StatusNumber(200)
}
