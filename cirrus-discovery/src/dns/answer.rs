//! One answer of the DNS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::BoxError;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

/// What was found, and for how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<T> {
    pub(super) records: Vec<T>,
    pub(super) ttl: Duration,
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the name `{0}` does not exist")]
    Missing(Arc<str>),
    #[error("`{name}` cannot be resolved: {why}")]
    Failed { name: Arc<str>, why: String },
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) name: Arc<str>,
}

/// Asks these servers, or those of the machine. Nothing is kept: whoever asks keeps what is found.
pub(super) fn resolver(
    servers: &[SocketAddr],
    timeout: Duration,
) -> Result<TokioResolver, BoxError> {
    let mut builder = match servers {
        [] => TokioResolver::builder_tokio()?,
        servers => {
            let servers = servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = timeout;
    if !servers.is_empty() {
        options.use_hosts_file = ResolveHosts::Never;
    }
    Ok(builder.build()?)
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let ways = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, ways)
}

/// The addresses of one family. None if the name is there without any.
pub(super) async fn addresses(
    resolver: &TokioResolver,
    name: &Arc<str>,
    family: RecordType,
) -> Result<Found<IpAddr>, NoAnswer> {
    let answer = resolver.lookup(&**name, family).await;
    found(name, answer, |data| data.ip_addr())
}

/// The SRV records of a name. None if it says that the service is not there.
pub(super) async fn targets(
    resolver: &TokioResolver,
    name: &Arc<str>,
) -> Result<Found<Target>, NoAnswer> {
    let answer = resolver.lookup(&**name, RecordType::SRV).await;
    found(name, answer, |data| match data {
        // The root for a target says that there is none (RFC 2782).
        RData::SRV(srv) if !srv.target.is_root() => Some(Target {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            name: srv.target.to_string().into(),
        }),
        _ => None,
    })
}

fn found<T>(
    name: &Arc<str>,
    answer: Result<Lookup, NetError>,
    of: impl Fn(&RData) -> Option<T>,
) -> Result<Found<T>, NoAnswer> {
    match answer {
        Ok(lookup) => {
            let records = lookup.answers();
            let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
            Ok(Found {
                records: records
                    .iter()
                    .filter_map(|record| of(&record.data))
                    .collect(),
                ttl: Duration::from_secs(ttl.into()),
            })
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
            ResponseCode::NoError => Ok(Found {
                records: Vec::new(),
                ttl: Duration::from_secs(none.negative_ttl.unwrap_or(0).into()),
            }),
            ResponseCode::NXDomain => Err(NoAnswer::Missing(Arc::clone(name))),
            code => Err(failed(name, &code)),
        },
        Err(error) => Err(failed(name, &error)),
    }
}

fn failed(name: &Arc<str>, why: &dyn std::fmt::Display) -> NoAnswer {
    NoAnswer::Failed {
        name: Arc::clone(name),
        why: why.to_string(),
    }
}
