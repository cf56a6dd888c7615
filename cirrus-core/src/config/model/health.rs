//! How endpoints are watched: checks, what they must show together, and what is learned from the traffic.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{
    HeaderText, HeaderTitle, HealthTerm, MethodName, PatternText, Period, StatusSet,
};

/// When an endpoint is left out. An only endpoint is never left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HealthConfig {
    /// Connections refused or timed out in a row before the endpoint is ejected, 1 to 1000.
    pub failures: u32,
    /// How long an ejected endpoint gets no requests; each ejection soon after the last takes as much longer. Then it
    /// gets one request a second until one is answered.
    pub eject: Period,
    /// The longest that `eject` grows to.
    pub max_eject: Period,
    /// Answers 502, 503 and 504, broken connections and missing answers in a row before the endpoint is ejected, 1 to
    /// 1000. By default they eject nobody.
    pub gateway_errors: Option<u32>,
    /// Ejects endpoints whose share of good answers is so many percentage points below the mean of the cluster, 1 to
    /// 100. By default nobody.
    pub success_rate_below_mean: Option<u8>,
    /// Ejects endpoints whose median time to the response's header is more than so many times the median of the
    /// cluster's endpoints, 2 to 100. By default nobody.
    pub latency_above_median: Option<u8>,
    /// The largest share of the endpoints, in percent, that may be ejected for their answers, 0 to 100; one may always
    /// be. Those that cannot be reached are not spared.
    pub max_ejected: u8,
    /// With fewer endpoints up than this share, in percent, all are asked as if all were up, 0 to 100. With 0 a cluster
    /// with nobody up answers 503.
    pub panic_threshold: u8,
    /// The time that rates, percentiles and medians are of, 1 s to 5 m.
    pub window: Period,
    /// Requests in `window` without which they say nothing, 1 to 1000000: indicators hold then.
    pub min_requests: u32,
    /// What must all hold for an endpoint to be up: names of checks, and indicators such as `"error_rate < 5%"`,
    /// `"p99 < 300ms"` (also p50, p90, p95) and `"in_flight < 100"`. Without `all`, `any` and `at_least` it is up while
    /// every check of the cluster says so.
    pub all: Vec<HealthTerm>,
    /// Of what one at least must hold, besides.
    pub any: Vec<HealthTerm>,
    /// Of what some at least must hold, besides.
    pub at_least: Option<AtLeastConfig>,
}

/// Some of several conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AtLeastConfig {
    /// How many must hold, 1 to as many as there are.
    pub n: u32,
    /// Written as in `all`.
    pub of: Vec<HealthTerm>,
}

/// Looks after every endpoint at an interval. One definition is checked once for each endpoint, however many workers and
/// clusters have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CheckConfig {
    /// Its name in conditions, metrics and the admin API; unique in its cluster. By default the word of its `kind`.
    pub name: Option<String>,
    /// What is done.
    pub kind: CheckKind,
    /// With `kind = "custom"`: the name under which the program has registered its probe.
    pub probe: Option<String>,
    /// Another port of the endpoint's host. By default the endpoint's own.
    pub port: Option<u16>,
    /// From the end of one look to the next, give or take `jitter`; at least 10 ms.
    pub interval: Period,
    /// The same while the check says that the endpoint is down. By default `interval`.
    pub interval_unhealthy: Option<Period>,
    /// By how much of the interval each look may come sooner or later, in percent, 0 to 50.
    pub jitter: u8,
    /// How long one look may take, connecting included; longer is a failure.
    pub timeout: Period,
    /// Good looks in a row after which an endpoint that was down is up, 1 to 1000.
    pub healthy: u32,
    /// Bad looks in a row after which an endpoint that was up is down, 1 to 1000.
    pub unhealthy: u32,
    /// What an endpoint is until the first look.
    pub initial: CheckState,
    /// `http`: the method.
    pub method: MethodName,
    /// `http`: path and query.
    pub path: String,
    /// `http` and `grpc`: the host asked for. By default the endpoint's.
    pub host: Option<HeaderText>,
    /// `http`: further header fields.
    pub headers: BTreeMap<HeaderTitle, HeaderText>,
    /// `http`: the statuses that are good.
    pub status: Vec<StatusSet>,
    /// `http`: what its first 64 KiB must hold besides.
    pub body: Option<BodyMatchConfig>,
    /// `grpc`: the service asked about. By default the server as a whole.
    pub service: Option<String>,
    /// `script`: the program and its arguments; `custom`: what the probe is given. A script gets `CIRRUS_HOST` and
    /// `CIRRUS_PORT` in its environment, and nothing else but `PATH`; 0 is good. Needs `server.allow_scripts`.
    pub command: Vec<String>,
    /// `script`: the user it runs as, from `/etc/passwd`. By default ours.
    pub user: Option<String>,
    /// `script`: where it runs. By default `/`.
    pub directory: Option<PathBuf>,
}

/// What a check does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckKind {
    /// Connects.
    Tcp,
    /// Connects with TLS, as requests would if the endpoint's URL began with `https`.
    Tls,
    /// Sends a request in the endpoint's scheme and the cluster's `protocol`.
    #[default]
    Http,
    /// Asks `grpc.health.v1.Health/Check` over HTTP/2; `SERVING` is good.
    Grpc,
    /// Sends `PING`; `PONG` is good, and so is being asked for a password.
    Redis,
    /// Reads a MySQL server's greeting.
    Mysql,
    /// Asks a PostgreSQL server whether it speaks TLS; its answer is good, whichever it is.
    Postgres,
    /// Runs a program.
    Script,
    /// A probe of the program's own.
    Custom,
}

/// What is said about an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckState {
    /// It may be asked.
    #[default]
    Up,
    /// It may not.
    Down,
}

/// What a body must hold; everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BodyMatchConfig {
    /// This text, anywhere.
    pub text: Option<String>,
    /// What this regular expression matches, anywhere.
    pub regex: Option<PatternText>,
    /// A place in a JSON document (RFC 6901), such as `"/status"`. Goes with `equals`.
    pub pointer: Option<String>,
    /// What stands there: a string's text, or the value as JSON writes it.
    pub equals: Option<String>,
}

/// Stops asking a cluster that does not answer. Closed it lets every request through, open none (503), half open a few to
/// see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BreakerConfig {
    /// Opens at this share of failures over all endpoints, in percent, 1 to 100, in `health.window` with
    /// `health.min_requests`. By default it does not open.
    pub error_rate: Option<u8>,
    /// How long it stays open; then it is half open.
    pub open: Period,
    /// Good answers while half open after which it is closed, 1 to 1000; so many requests are let through at a time. A
    /// failure opens it again.
    pub half_open: u32,
    /// Requests to the cluster at the same time, over all workers, 1 to 1000000, until their responses end; one more is
    /// answered 503. By default any number.
    pub max_requests: Option<u32>,
}

// === impl CheckConfig ===

impl CheckConfig {
    /// Its name, given or not.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.kind.word())
    }
}

// === impl CheckKind ===

impl CheckKind {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Redis => "redis",
            Self::Mysql => "mysql",
            Self::Postgres => "postgres",
            Self::Script => "script",
            Self::Custom => "custom",
        }
    }
}

// === defaults ===

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            failures: 3,
            eject: Period::secs(10),
            max_eject: Period::secs(300),
            gateway_errors: None,
            success_rate_below_mean: None,
            latency_above_median: None,
            max_ejected: 50,
            panic_threshold: 0,
            window: Period::secs(10),
            min_requests: 20,
            all: Vec::new(),
            any: Vec::new(),
            at_least: None,
        }
    }
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self {
            name: None,
            kind: CheckKind::default(),
            probe: None,
            port: None,
            interval: Period::secs(5),
            interval_unhealthy: None,
            jitter: 10,
            timeout: Period::secs(2),
            healthy: 2,
            unhealthy: 3,
            initial: CheckState::default(),
            method: http::Method::GET.into(),
            path: "/".to_owned(),
            host: None,
            headers: BTreeMap::new(),
            status: vec![StatusSet::Class(2)],
            body: None,
            service: None,
            command: Vec::new(),
            user: None,
            directory: None,
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            error_rate: None,
            open: Period::secs(10),
            half_open: 3,
            max_requests: None,
        }
    }
}
