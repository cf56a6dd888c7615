//! How much a site or route takes on: how often, how many, and who is told apart.

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{HeaderTitle, Period, Rate, RateKey, Size, SizeBound};

/// How often clients may ask. A request too many is answered 429 with `Retry-After`. The state outlives a change of the configuration that leaves these keys as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RateLimitConfig {
    /// How often in the long run.
    pub rate: Rate,
    /// How many may come at once after a pause, 1 to 1000000. By default what comes in one second, at least 1.
    #[serde(default)]
    pub burst: Option<u32>,
    /// Whose requests are counted together: `"client"` (the client's address, for IPv6 its /64), `"route"` (all requests
    /// of the site or route that this stands in), `"header:NAME"` or `"cookie:NAME"` (the same value; requests without
    /// one are counted by the client's address).
    #[serde(default)]
    pub key: RateKey,
    /// How many keys are remembered, 64 to 16777216; rounded up to a power of two, 8 bytes each. When there are more,
    /// those that have asked least are forgotten first.
    #[serde(default = "entries")]
    pub entries: u32,
}

/// How many requests are served at the same time, each until its response's last byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConcurrencyConfig {
    /// Requests served at the same time, 1 to 1000000. A connection that has switched protocols is one as long as it
    /// lasts.
    pub requests: u32,
    /// Further requests that wait for their turn, in the order they came, 0 to 1000000. One more is answered 503.
    #[serde(default)]
    pub queue: u32,
    /// How long one waits for its turn; then it is answered 503.
    #[serde(default = "wait")]
    pub wait: Period,
}

/// Gives every request an identifier: sent to the origin, returned in the response, and in the access log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RequestIdConfig {
    /// The header field it stands in.
    pub header: HeaderTitle,
    /// Takes the client's own identifier, whoever the client is. Otherwise only those in `server.trusted_proxies` may
    /// give one. One that is not 1 to 128 visible ASCII characters is replaced.
    pub trust: bool,
}

// === defaults ===

impl RateLimitConfig {
    /// How many may come at once after a pause.
    pub(crate) fn burst(&self) -> u32 {
        self.burst.unwrap_or_else(|| self.rate.in_a_second())
    }
}

impl Default for RequestIdConfig {
    fn default() -> Self {
        Self {
            header: HeaderName::from_static("x-request-id").into(),
            trust: false,
        }
    }
}

impl Default for SizeBound {
    /// The default of `max_body`.
    fn default() -> Self {
        Self(Some(Size::mib(1024)))
    }
}

fn entries() -> u32 {
    65_536
}

fn wait() -> Period {
    Period::secs(5)
}
