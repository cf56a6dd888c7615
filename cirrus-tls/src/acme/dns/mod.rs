//! DNS-01: TXT records, and what writes them.

mod acme_dns;
mod propagation;
mod query;
mod rfc2136;
mod script;
mod tsig;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::BoxError;

pub use acme_dns::AcmeDns;
pub use propagation::Propagation;
pub use rfc2136::Rfc2136;
pub use script::Script;
pub use tsig::TsigKey;

pub(super) use propagation::{settle, target};

/// Writes the TXT records of DNS-01.
///
/// Several values may stand at one name at the same time: a wildcard and its parent are confirmed together.
#[async_trait]
pub trait DnsSolver: Send + Sync + 'static {
    /// Has the value stand there, beside others. Once is enough: a value that is there already stays.
    async fn present(&self, record: &TxtRecord) -> Result<(), SolverError>;

    /// Removes the value. That it is not there is no error.
    async fn cleanup(&self, record: &TxtRecord) -> Result<(), SolverError>;

    /// How to see that a value has arrived everywhere; `None` if there is no need to look.
    fn propagation(&self) -> Option<&Propagation> {
        None
    }
}

/// One value of a TXT record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxtRecord {
    /// The name that is confirmed, without `*.`.
    pub domain: String,
    /// Where the record belongs: `_acme-challenge.` and the domain, or what that is an alias (CNAME) of. Without a last dot.
    pub name: String,
    /// What it says.
    pub value: String,
}

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
#[error("the TXT record {name} could not be written by {solver}: {source}")]
pub struct SolverError {
    name: String,
    solver: &'static str,
    source: BoxError,
}

/// Where recursive questions go.
#[derive(Clone, Debug)]
pub(crate) struct Servers(pub(crate) Vec<SocketAddr>);

/// For one message and its answer.
const LIMIT: Duration = Duration::from_secs(5);

// === impl SolverError ===

impl SolverError {
    /// `solver` could not write `record`.
    pub fn new(record: &TxtRecord, solver: &'static str, source: impl Into<BoxError>) -> Self {
        Self {
            name: record.name.clone(),
            solver,
            source: source.into(),
        }
    }
}

// === impl TxtRecord ===

impl TxtRecord {
    /// The record that confirms `domain`, where it stands without an alias.
    #[must_use]
    pub fn new(domain: impl Into<String>, value: impl Into<String>) -> Self {
        let domain = domain.into();
        Self {
            name: format!("_acme-challenge.{domain}"),
            domain,
            value: value.into(),
        }
    }
}

// === impl Servers ===

impl Servers {
    /// Those of `/etc/resolv.conf`, or else of this machine.
    pub(crate) fn of_the_system() -> Self {
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let servers: Vec<_> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"))
            .filter_map(|server| server.trim().parse().ok())
            .map(|ip| SocketAddr::new(ip, 53))
            .collect();
        match servers.is_empty() {
            true => Self(vec![SocketAddr::from(([127, 0, 0, 1], 53))]),
            false => Self(servers),
        }
    }
}
