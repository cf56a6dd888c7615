//! Which endpoint is asked, how often, and who else is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{HashKey, HedgeAfter, Period, RetryOn, SecretText, Size};

/// How a cluster's endpoints are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BalanceConfig {
    /// Who is next.
    pub policy: BalancePolicy,
    /// For `ring`, `maglev` and `rendezvous`: what decides. Requests that do not have it go anywhere.
    pub hash: HashKey,
    /// For `ring`, `maglev` and `rendezvous`: in percent of the mean load, 101 to 1000; an endpoint with more requests in
    /// flight is passed over. By default without a bound.
    pub bounded_load: Option<u32>,
    /// Sessions that stay with their endpoint.
    pub sticky: Option<StickyConfig>,
    /// How long an endpoint that is new or comes back takes to have its whole share, which grows from a tenth. Not for
    /// `ring`, `maglev` and `rendezvous`. By default it has it at once.
    pub slow_start: Option<Period>,
    /// The zone that this edge is in: endpoints of the same zone are asked first.
    pub zone: Option<String>,
    /// For zones and priorities: with fewer than so many percent of them up, endpoints give a part of their requests to
    /// those of other zones, and then to those of the next priority; 1 to 100.
    pub spill_below: u8,
    /// Only so many of the endpoints are asked by this edge, 1 to 100000; every edge has others. By default all. Which of
    /// them a route asks by their labels is its own `subset`.
    pub subset: Option<u32>,
    /// For `subset`: the name of this edge, which decides on its endpoints. By default they are others after each start.
    pub edge: Option<String>,
}

/// Who is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BalancePolicy {
    /// In turn, by weight and evenly spread.
    #[default]
    RoundRobin,
    /// By chance, by weight.
    Random,
    /// Of two by chance, the one with fewer requests in flight for its weight.
    LeastRequests,
    /// Of two by chance, the one that would be faster: the peak of its latency of late, times its requests in flight.
    PeakEwma,
    /// The one with the fewest requests in flight for its weight; with more than 32 endpoints, the best of five by chance.
    LeastConnections,
    /// By a hash, on a ring (ketama): an endpoint that comes or goes moves its own keys only.
    Ring,
    /// By a hash, in a table (Maglev): more even than a ring.
    Maglev,
    /// By a hash, to the highest bid: an endpoint that comes or goes, or a weight that changes, moves its own keys only, and
    /// shares are more even than on a ring.
    Rendezvous,
}

/// Sessions that stay with their endpoint by a cookie. Endpoints without a weight keep the sessions they have and get no
/// others. The cookie does not tell which endpoint it stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StickyConfig {
    /// The cookie's name.
    pub cookie: String,
    /// How long the client keeps it. By default until its browser is closed.
    pub ttl: Option<Period>,
    /// Its path.
    pub path: String,
    /// Sent back over TLS only.
    pub secure: bool,
    /// Not for scripts.
    pub http_only: bool,
    /// Whether requests from other sites bring it along.
    pub same_site: SameSite,
    /// What names of endpoints are hidden with; the same on all edges. By default another one after each start, which ends
    /// the sessions.
    pub secret: Option<SecretText>,
}

/// Whether requests from other sites bring a cookie along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SameSite {
    /// Never.
    Strict,
    /// When somebody follows a link.
    #[default]
    Lax,
    /// Always; needs `secure`.
    None,
}

/// What is tried again. Replaces what a site or a cluster says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetryConfig {
    /// How often a request is sent in all, 1 to 10. Each time to another endpoint, as long as there is one.
    pub attempts: u8,
    /// After what: `"connect"` (no endpoint could be reached), `"reset"` (the connection broke before the response's
    /// header), `"timeout"` (no header in time), and statuses.
    pub on: Vec<RetryOn>,
    /// How long one try may take to the response's header. By default only `timeouts.first_byte`.
    pub per_try_timeout: Option<Period>,
    /// The longest wait before the first further try; it doubles with each. The wait is between nothing and this, by chance.
    pub back_off: Period,
    /// The longest that it grows to.
    pub max_back_off: Period,
    /// How many requests may be sent again in ten seconds: so many percent of those that the cluster got, 0 to 100.
    pub budget: u8,
    /// Beyond that so many a second, 0 to 1000: with few requests a percentage would be nothing.
    pub budget_min: u32,
    /// The largest body that is kept for another try. Requests with larger ones are sent once.
    pub buffer: Size,
    /// Tries POST and PATCH again too, although something may be done twice by it. After `"connect"` they always are.
    pub non_idempotent: bool,
    /// Asks a second endpoint beside the first after this time, and takes the answer that comes first: a time, or `"p95"`
    /// for the slowest 5 % of the cluster's last responses. Out of the same budget. By default never.
    pub hedge_after: Option<HedgeAfter>,
}

/// A copy of some of the requests to another cluster, whose responses nobody gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MirrorConfig {
    /// The named cluster that gets the copies.
    pub cluster: String,
    /// How many of the requests, in percent, 0 to 100.
    #[serde(default = "all")]
    pub percent: u8,
    /// The largest body that is copied. Requests with larger ones are not.
    #[serde(default = "buffer")]
    pub buffer: Size,
    /// Copies that may be on their way at the same time, 1 to 100000; further ones are left out.
    #[serde(default = "in_flight")]
    pub concurrency: u32,
}

/// One of several clusters that share a route's requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SplitConfig {
    /// A named cluster.
    pub cluster: String,
    /// Its share against the other weights, 0 to 65535.
    pub weight: u16,
    /// Replaces the route's `subset` for this share.
    #[serde(default)]
    pub subset: Option<SubsetConfig>,
}

/// Which of a cluster's endpoints are asked: those with certain labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SubsetConfig {
    /// Those that have all of these labels, such as `{ version = "v2" }`; at least one.
    pub labels: BTreeMap<String, String>,
    /// Who is asked while no endpoint with these labels may be asked.
    #[serde(default)]
    pub fallback: SubsetFallback,
}

/// Who is asked while no endpoint of a subset may be: there is none, or all are out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubsetFallback {
    /// Nobody: the answer is 503.
    #[default]
    None,
    /// Any endpoint of the cluster.
    Any,
}

// === impl SameSite ===

impl SameSite {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

// === defaults ===

impl Default for BalanceConfig {
    fn default() -> Self {
        Self {
            policy: BalancePolicy::default(),
            hash: HashKey::default(),
            bounded_load: None,
            sticky: None,
            slow_start: None,
            zone: None,
            spill_below: 70,
            subset: None,
            edge: None,
        }
    }
}

impl Default for StickyConfig {
    fn default() -> Self {
        Self {
            cookie: "cirrus_endpoint".to_owned(),
            ttl: None,
            path: "/".to_owned(),
            secure: false,
            http_only: true,
            same_site: SameSite::default(),
            secret: None,
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        use crate::config::value::StatusSet::One;
        Self {
            attempts: 3,
            on: vec![
                RetryOn::Connect,
                RetryOn::Reset,
                RetryOn::Status(One(502)),
                RetryOn::Status(One(503)),
                RetryOn::Status(One(504)),
            ],
            per_try_timeout: None,
            back_off: Period::millis(25),
            max_back_off: Period::millis(250),
            budget: 20,
            budget_min: 3,
            buffer: buffer(),
            non_idempotent: false,
            hedge_after: None,
        }
    }
}

fn all() -> u8 {
    100
}

fn buffer() -> Size {
    Size::kib(64)
}

fn in_flight() -> u32 {
    100
}
