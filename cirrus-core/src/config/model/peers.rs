//! Edges that fetch for each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{OriginUrl, Period, Secret};

/// Edges that share what they fetch: each URL has one owner among them, which the others ask before they ask the origin.
/// All of them need the same `group`, `key` and sites. See docs/caching-peers.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PeersConfig {
    /// Which one of `group` this edge is.
    pub own: OriginUrl,
    /// All the edges, this one included.
    pub group: Vec<PeerConfig>,
    /// A secret that all of them have, and nobody else: at least 16 characters, such as `openssl rand -hex 32` gives.
    /// Requests between edges are signed with it.
    pub key: Secret,
    /// How long the owner may take to begin its answer, half of it for a new connection; then the origin is asked;
    /// 10 ms to 1 min.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// How long what came from another edge is used before that is asked again; 1 s to 1 d. Never longer than it is
    /// fresh.
    #[serde(default = "keep")]
    pub keep: Period,
}

/// One of the edges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PeerConfig {
    /// Where the others reach it: one of its listeners. On a network that others listen to, use `https://`.
    pub url: OriginUrl,
    /// Its part of the URLs, 1 to 1000.
    #[serde(default = "one")]
    pub weight: u16,
}

// === defaults ===

fn timeout() -> Period {
    Period::secs(1)
}

fn keep() -> Period {
    Period::secs(60)
}

fn one() -> u16 {
    1
}
