//! Asks as this machine is told to: `/etc/hosts`, then the name servers of `/etc/resolv.conf`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use hickory_resolver::config::{ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup as Records;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};
use parking_lot::Mutex;

use super::resolve::{Answer, Lookup, NoAnswer};

/// The files that say how names are resolved.
const FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// How long one family of addresses is waited for when the other is there (RFC 8305 §3).
const OTHER_FAMILY: Duration = Duration::from_millis(250);

/// How long an answer holds that lacks a family because that was too slow, or that is from a file.
const SHORT: Duration = Duration::from_secs(30);

/// Asks as this machine is told to. The files are read again when they change.
#[derive(Default)]
pub(super) struct System {
    read: Mutex<Option<(Stamps, Arc<Ways>)>>,
}

/// When each of the files was last changed.
type Stamps = [Option<SystemTime>; FILES.len()];

/// Where names are looked for.
struct Ways {
    hosts: Hosts,
    servers: Result<TokioResolver, String>,
}

// === impl System ===

impl System {
    fn ways(&self) -> Arc<Ways> {
        let changed = |path| std::fs::metadata(Path::new(path)).and_then(|meta| meta.modified());
        let stamps = FILES.map(|path| changed(path).ok());
        let mut read = self.read.lock();
        match &*read {
            Some((known, ways)) if *known == stamps => Arc::clone(ways),
            _ => {
                let ways = Arc::new(Ways::read());
                *read = Some((stamps, Arc::clone(&ways)));
                ways
            }
        }
    }
}

impl Lookup for System {
    fn lookup(&self, name: &Arc<str>) -> BoxFuture<'static, Result<Answer, NoAnswer>> {
        let (ways, name) = (self.ways(), Arc::clone(name));
        Box::pin(async move {
            match ways.by_file(&name) {
                Some(answer) => Ok(answer),
                None => ways.by_servers(&name).await,
            }
        })
    }
}

// === impl Ways ===

impl Ways {
    fn read() -> Self {
        Self {
            hosts: Hosts::from_system().unwrap_or_default(),
            servers: servers().map_err(|error| format!("/etc/resolv.conf: {error}")),
        }
    }

    /// What the file knows is all there is to know: no server is asked for the family it lacks.
    fn by_file(&self, name: &str) -> Option<Answer> {
        let parsed = Name::from_utf8(name).ok()?;
        let of = |family| {
            let query = Query::query(parsed.clone(), family);
            self.hosts.lookup_static_host(&query)
        };
        let found = [RecordType::AAAA, RecordType::A].into_iter().filter_map(of);
        let mut addresses: Vec<IpAddr> = found.flat_map(|found| addresses(&found)).collect();
        // RFC 6761 §6.3: never asked for, whatever the file lacks.
        if addresses.is_empty() && (name == "localhost" || name.ends_with(".localhost")) {
            addresses = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        }
        (!addresses.is_empty()).then_some(Answer {
            addresses,
            ttl: SHORT,
        })
    }

    async fn by_servers(&self, name: &str) -> Result<Answer, NoAnswer> {
        let servers = self.servers.as_ref();
        let servers = servers.map_err(|why| NoAnswer::Failed(why.clone()))?;
        let mut four = std::pin::pin!(servers.lookup(name, RecordType::A));
        let mut six = std::pin::pin!(servers.lookup(name, RecordType::AAAA));
        let (first, other) = tokio::select! {
            first = &mut four => {
                let wait = patience(&first);
                (first, tokio::time::timeout(wait, six).await)
            }
            first = &mut six => {
                let wait = patience(&first);
                (first, tokio::time::timeout(wait, four).await)
            }
        };
        match other {
            Ok(other) => both(read(first), read(other)),
            Err(_) => read(first).map(|answer| Answer {
                ttl: answer.ttl.min(SHORT),
                ..answer
            }),
        }
    }
}

/// With nothing in hand, the other family is the only hope: the limit is that of the whole lookup.
fn patience(first: &Result<Records, NetError>) -> Duration {
    match first {
        Ok(records) if !addresses(records).is_empty() => OTHER_FAMILY,
        _ => Duration::MAX,
    }
}

fn servers() -> io::Result<TokioResolver> {
    let builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::warn!(%error, "no name servers are known: only names in /etc/hosts are found");
        TokioResolver::builder_with_config(
            ResolverConfig::default(),
            TokioRuntimeProvider::default(),
        )
    });
    finish(builder)
}

fn finish(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> io::Result<TokioResolver> {
    let options = builder.options_mut();
    // Both are kept one floor above, for every worker.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(io::Error::other)
}

fn read(outcome: Result<Records, NetError>) -> Result<Answer, NoAnswer> {
    match outcome {
        Ok(records) => {
            let ttl = records.answers().iter().map(|record| record.ttl).min();
            Ok(Answer {
                addresses: addresses(&records),
                ttl: Duration::from_secs(ttl.unwrap_or_default().into()),
            })
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Err(NoAnswer::Missing {
            ttl: none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into())),
        }),
        Err(error) => Err(NoAnswer::Failed(error.to_string())),
    }
}

fn addresses(records: &Records) -> Vec<IpAddr> {
    let records = records.answers().iter();
    records.filter_map(|record| record.data.ip_addr()).collect()
}

/// A family that is not there is no failure, and one that failed is no proof that nothing is there.
fn both(
    one: Result<Answer, NoAnswer>,
    other: Result<Answer, NoAnswer>,
) -> Result<Answer, NoAnswer> {
    match (one, other) {
        (Ok(mut one), Ok(other)) => {
            one.addresses.extend(other.addresses);
            one.ttl = one.ttl.min(other.ttl);
            Ok(one)
        }
        (Ok(found), Err(NoAnswer::Failed(_))) | (Err(NoAnswer::Failed(_)), Ok(found)) => {
            Ok(Answer {
                ttl: found.ttl.min(SHORT),
                ..found
            })
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(failed @ NoAnswer::Failed(_)), Err(_)) | (Err(_), Err(failed)) => Err(failed),
    }
}

#[cfg(test)]
#[path = "system/tests.rs"]
mod tests;
