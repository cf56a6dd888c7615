//! Farther places for stored responses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Period, RedisUrl, Size};

/// A Redis server that edges share, behind `memory`: small responses that one of them has fetched are found by all.
/// What is purged there no edge finds there any more. While it does not answer, it is bypassed.
/// A change needs a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RedisCacheConfig {
    /// Where it answers, and how to log in; `rediss://` with TLS. Needed.
    pub url: Option<RedisUrl>,
    /// What the names of its keys begin with. Edges with the same one share their responses.
    pub prefix: String,
    /// The largest body that is stored there; up to 64 MiB.
    pub max_object: Size,
    /// The longest time for a look-up, after which the origin is asked; 1 ms to 10 s.
    pub timeout: Period,
}

impl Default for RedisCacheConfig {
    fn default() -> Self {
        Self {
            url: None,
            prefix: "cirrus:cache:".into(),
            max_object: Size::mib(1),
            timeout: Period::millis(100),
        }
    }
}
