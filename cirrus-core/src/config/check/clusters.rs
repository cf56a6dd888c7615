//! Named clusters: unique, and with endpoints.

use std::collections::HashMap;

use super::Abilities;
use super::balancing::balance;
use super::health::WatchCheck;
use super::origins::origins;
use super::upstream_tls::upstream_tls;
use crate::config::faults::Faults;
use crate::config::model::{ClusterConfig, Config, OriginProtocol, PoolConfig, SendProxyProtocol};
use crate::discovery::ServiceName;

pub(super) fn clusters(config: &Config, abilities: &Abilities, faults: &mut Faults) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, cluster) in config.cluster.iter().enumerate() {
        let path = format!("cluster[{index}]");
        let name = cluster.name.as_str();
        if name.is_empty() || name.contains(char::is_whitespace) {
            faults.error(
                format!("{path}.name"),
                Some(name.to_owned()),
                "a cluster's name is not empty and has no spaces",
            );
        }
        if let Some(first) = seen.insert(name, index) {
            faults.error(
                format!("{path}.name"),
                Some(name.to_owned()),
                format!("`cluster[{first}]` has this name already; names are unique"),
            );
        }
        upstream_tls(&cluster.tls, &format!("{path}.tls"), faults);
        introduced(
            cluster.proxy_protocol,
            cluster.protocol,
            &format!("{path}.proxy_protocol"),
            faults,
        );
        counted(
            &cluster.pool,
            cluster.protocol,
            &format!("{path}.pool.max_connections"),
            faults,
        );
        let watched = WatchCheck {
            health: &cluster.health,
            checks: &cluster.check,
            allow_scripts: config.server.allow_scripts,
            probes: abilities.probes.as_deref(),
            path: &path,
        };
        watched.run(faults);
        balance(&cluster.balance, &format!("{path}.balance"), faults);
        cluster_endpoints(config, cluster, &path, abilities, faults);
    }
}

/// Requests on a shared connection are not counted by connections.
pub(super) fn counted(
    pool: &PoolConfig,
    protocol: OriginProtocol,
    path: &str,
    faults: &mut Faults,
) {
    if let Some(most) = pool
        .max_connections
        .filter(|_| protocol != OriginProtocol::Http1)
    {
        let message = "only with `protocol = \"http1\"`: requests share a connection of HTTP/2; limit them with `concurrency`";
        faults.error(path, Some(most.to_string()), message);
    }
}

/// A PROXY protocol header speaks for one client, and requests of many share a connection of HTTP/2.
pub(super) fn introduced(
    version: Option<SendProxyProtocol>,
    protocol: OriginProtocol,
    path: &str,
    faults: &mut Faults,
) {
    if version.is_some() && protocol != OriginProtocol::Http1 {
        let message = "only with `protocol = \"http1\"`: requests of many clients share a connection of HTTP/2";
        faults.error(path, None, message);
    }
}

fn cluster_endpoints(
    config: &Config,
    cluster: &ClusterConfig,
    path: &str,
    abilities: &Abilities,
    faults: &mut Faults,
) {
    match &cluster.service {
        Some(service) if !cluster.origin.is_empty() => {
            faults.error(
                format!("{path}.service"),
                Some(service.clone()),
                "a cluster has either `origin` or `service`, not both",
            );
        }
        Some(service) if ServiceName::new(service.as_str()).is_none() => {
            faults.error(
                format!("{path}.service"),
                Some(service.clone()),
                "a service has a name",
            );
        }
        Some(service) if !abilities.discovery => {
            faults.error(format!("{path}.service"), Some(service.clone()), "this program has no service discovery; write the endpoints as `[[cluster.origin]]`");
        }
        Some(service) => named(service, path, abilities, faults),
        None if cluster.origin.is_empty() => {
            faults.error(path, None, "the cluster has no endpoints: give it at least one `[[cluster.origin]]`, or a `service`");
        }
        None => origins(config, &cluster.origin, &format!("{path}.origin"), faults),
    }
}

/// Whether the discovery knows what is meant.
fn named(service: &str, path: &str, abilities: &Abilities, faults: &mut Faults) {
    let name = ServiceName::new(service);
    let wrong = name
        .zip(abilities.services.as_ref())
        .and_then(|(name, discovery)| discovery.check(&name).err());
    if let Some(wrong) = wrong {
        let value = Some(service.to_owned());
        faults.error(format!("{path}.service"), value, wrong.to_string());
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Abilities, Config, Format, check};

    #[test]
    fn what_speaks_for_one_connection_does_not_go_with_http2() {
        for (key, fault) in [
            ("proxy_protocol = \"v2\"", "cluster[0].proxy_protocol"),
            (
                "pool = { max_connections = 5 }",
                "cluster[0].pool.max_connections",
            ),
        ] {
            let text = |protocol| {
                let origin = "origin = [{ url = \"http://127.0.0.1:1\" }]";
                format!("[[cluster]]\nname = \"a\"\nprotocol = \"{protocol}\"\n{origin}\n{key}\n")
            };
            let faults = |protocol| {
                let (config, _) = Config::parse(&text(protocol), Format::Toml).unwrap();
                check(&config, Abilities::default()).to_string()
            };
            assert!(!faults("http1").contains(fault), "{}", faults("http1"));
            for protocol in ["http2", "auto"] {
                assert!(faults(protocol).contains(fault), "{}", faults(protocol));
            }
        }
    }
}
