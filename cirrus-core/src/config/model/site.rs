//! What is served: sites, their routes, and what routes do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::upstream::{HealthConfig, OriginConfig, OriginProtocol, TimeoutsConfig};
use crate::config::value::{HeaderText, HeaderTitle, MethodName, Period, StatusNumber};
use crate::routing::{HostPattern, PathPattern};

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

// === defaults ===

fn found() -> StatusNumber {
    StatusNumber(302)
}

fn okay() -> StatusNumber {
    StatusNumber(200)
}
