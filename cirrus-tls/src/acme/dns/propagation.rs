//! Where a record really belongs, and whether every server has it.

use std::net::SocketAddr;
use std::time::Duration;

use cirrus_core::BoxError;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::time::{Instant, sleep};

use super::query::{ask_any, name, texts};
use super::{Servers, SolverError, TxtRecord};

/// How to see that a value has arrived: before the authority is asked to look, every server of the zone must have it.
///
/// An authority that looks too early counts that as a failure, of which there may only be a few in an hour.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Propagation {
    /// Recursive servers, for aliases, zones and addresses. By default those of `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
    /// The servers that must have it. By default those that the zone's NS records name, on port 53.
    pub servers: Vec<SocketAddr>,
    /// The longest wait. By default 2 minutes; none skips the check.
    pub limit: Duration,
}

/// Aliases of aliases.
const MAX_ALIASES: usize = 8;

/// Between two looks; it doubles up to the second one.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

// === impl Propagation ===

impl Propagation {
    pub(super) fn resolvers(&self) -> Servers {
        match self.resolvers.is_empty() {
            true => Servers::of_the_system(),
            false => Servers(self.resolvers.clone()),
        }
    }
}

impl Default for Propagation {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            servers: Vec::new(),
            limit: Duration::from_secs(120),
        }
    }
}

/// What `from` is an alias of, at last; itself if of nothing, or if nobody can tell.
pub(crate) async fn target(propagation: &Propagation, from: &str) -> String {
    let Ok(mut at) = name(from) else {
        return from.to_owned();
    };
    let resolvers = propagation.resolvers();
    for _ in 0..MAX_ALIASES {
        match alias(&resolvers, &at).await {
            Ok(Some(next)) => at = next,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(name = from, %error, "whether it is an alias cannot be told");
                break;
            }
        }
    }
    at.to_lowercase()
        .to_ascii()
        .trim_end_matches('.')
        .to_owned()
}

async fn alias(resolvers: &Servers, at: &Name) -> Result<Option<Name>, BoxError> {
    let answer = ask_any(resolvers, at, RecordType::CNAME).await?;
    Ok(answer.answers.iter().find_map(|record| match &record.data {
        RData::CNAME(alias) if record.name == *at => Some(alias.0.clone()),
        _ => None,
    }))
}

/// Resolves when every server of the zone has the value.
pub(crate) async fn settle(
    propagation: &Propagation,
    record: &TxtRecord,
) -> Result<(), SolverError> {
    if propagation.limit.is_zero() {
        return Ok(());
    }
    let failed = |error: BoxError| SolverError::new(record, "the check of its servers", error);
    let at = name(&record.name).map_err(failed)?;
    let servers = match propagation.servers.is_empty() {
        true => authorities(&propagation.resolvers(), &at)
            .await
            .map_err(failed)?,
        false => propagation.servers.clone(),
    };
    let end = Instant::now() + propagation.limit;
    for server in servers {
        wait_for(server, &at, &record.value, end)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

async fn wait_for(
    server: SocketAddr,
    at: &Name,
    value: &str,
    end: Instant,
) -> Result<(), BoxError> {
    let mut pause = PAUSE;
    loop {
        let seen = texts(server, at).await;
        if seen
            .as_ref()
            .is_ok_and(|texts| texts.iter().any(|text| text == value))
        {
            return Ok(());
        }
        if Instant::now() + pause > end {
            return Err(match seen {
                Ok(_) => format!("{server} does not have it yet").into(),
                Err(error) => error,
            });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The addresses of the servers of the zone that `at` is in.
async fn authorities(resolvers: &Servers, at: &Name) -> Result<Vec<SocketAddr>, BoxError> {
    let mut zone = at.clone();
    while !zone.is_root() {
        let names = servers_of(resolvers, &zone).await?;
        let mut addresses = Vec::new();
        for name in names {
            addresses.extend(addresses_of(resolvers, &name).await);
        }
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        zone = zone.base_name();
    }
    Err("no name server of its zone can be found".into())
}

async fn servers_of(resolvers: &Servers, zone: &Name) -> Result<Vec<Name>, BoxError> {
    let answer = ask_any(resolvers, zone, RecordType::NS).await?;
    let names = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::NS(server) => Some(server.0.clone()),
            _ => None,
        });
    Ok(names.collect())
}

/// IPv4 goes first; a server that has both is asked once.
async fn addresses_of(resolvers: &Servers, server: &Name) -> Option<SocketAddr> {
    for kind in [RecordType::A, RecordType::AAAA] {
        let Ok(answer) = ask_any(resolvers, server, kind).await else {
            continue;
        };
        let address = answer
            .answers
            .iter()
            .find_map(|record| record.data.ip_addr());
        if let Some(address) = address {
            return Some(SocketAddr::new(address, 53));
        }
    }
    None
}
