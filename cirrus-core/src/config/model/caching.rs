//! What makes a key, and which requests have none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{HeaderTitle, MethodName, NamePattern};
use crate::routing::{HostPattern, PathPattern};

/// What of a request names its response in the cache, beside scheme, host and path. The origin is asked for what the key
/// says: parameters that are not in the key are not sent to it, and `host` is the host it sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheKeyConfig {
    /// Which query parameters count. By default all of them.
    pub query: CacheKeyQueryConfig,
    /// Parameters are sorted by name, so that their order makes no other key; those with the same name keep theirs.
    pub sort_query: bool,
    /// Header fields whose values are part of the key.
    pub headers: Vec<HeaderTitle>,
    /// Cookies whose values are part of the key. Names are exact.
    pub cookies: Vec<String>,
    /// One of the site's `hosts` (written out, no star): requests for the others get its responses.
    pub host: Option<HostPattern>,
}

/// Which query parameters are part of the key: give `keep`, or `drop`, or neither. Parameters that routes of the site are
/// chosen by are always kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheKeyQueryConfig {
    /// Only these count; `[]` for none.
    pub keep: Option<Vec<NamePattern>>,
    /// All but these count, such as `["utm_*", "fbclid"]`.
    pub drop: Option<Vec<NamePattern>>,
}

/// Requests that the cache is not used for: each goes to the origin, and its response is not stored. One match is enough.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheBypassConfig {
    /// Requests with one of these cookies, such as `["session*"]`.
    pub cookies: Vec<NamePattern>,
    /// Requests with one of these header fields, whatever its value.
    pub headers: Vec<HeaderTitle>,
    /// Requests with one of these query parameters.
    pub query: Vec<NamePattern>,
    /// Requests with one of these methods. Others than GET and HEAD never use the cache.
    pub methods: Vec<MethodName>,
    /// Requests for one of these paths, written as a route's `path`.
    pub paths: Vec<PathPattern>,
}

/// What the `Cache-Control` (and `Pragma`) of requests is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RequestCacheControl {
    /// Clients can have a stored response revalidated, or nothing stored (RFC 9111).
    #[default]
    Honour,
    /// Clients cannot reach past the cache; `only-if-cached` alone still counts. Not what RFC 9111 says, but what keeps
    /// reloading browsers from the origin.
    Ignore,
}
