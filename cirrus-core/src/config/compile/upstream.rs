//! How a cluster's endpoints are connected to, from the tables that say so.

use std::sync::Arc;

use crate::config::model::{
    ClusterConfig, HealthConfig, OriginProtocol, PoolConfig, SendProxyProtocol, SiteConfig,
    TimeoutsConfig, UpstreamTlsConfig,
};
use crate::health::Ejection;
use crate::upstream::{ClientTls, Crowd, Introduction, Keep, Rules, Times};

pub(super) fn rules_of_cluster(config: &ClusterConfig) -> Rules {
    Rules {
        protocol: config.protocol,
        owner: owner(&config.pool, || config.name.clone()),
        tls: tls(&config.tls),
        introduction: introduction(config.proxy_protocol),
        keep: keep(&config.pool, config.proxy_protocol),
        crowd: crowd(&config.pool),
        ..limits(&config.timeouts, &config.health)
    }
}

/// For the origins that are written in the site.
pub(super) fn rules_of_site(config: &SiteConfig) -> Rules {
    Rules {
        protocol: config.protocol,
        // No cluster's name has a space.
        owner: owner(&config.pool, || format!("site {:?}", config.hosts.first())),
        tls: tls(&config.upstream_tls),
        introduction: introduction(config.upstream_proxy_protocol),
        keep: keep(&config.pool, config.upstream_proxy_protocol),
        crowd: crowd(&config.pool),
        ..limits(&config.timeouts, &config.health)
    }
}

pub(super) fn limits(timeouts: &TimeoutsConfig, health: &HealthConfig) -> Rules {
    Rules {
        connect: timeouts.connect.as_duration(),
        times: Times {
            first_byte: timeouts.first_byte.as_duration(),
            idle: timeouts.idle.as_duration(),
        },
        ejection: Ejection {
            failures: health.failures,
            time: health.eject.as_duration(),
        },
        protocol: OriginProtocol::Http1,
        owner: None,
        tls: None,
        introduction: None,
        keep: Keep::default(),
        crowd: None,
    }
}

/// Clusters whose pools have no rules of their own share connections.
fn owner(pool: &PoolConfig, name: impl FnOnce() -> String) -> Option<Arc<str>> {
    (*pool != PoolConfig::default()).then(|| name().into())
}

/// Clusters that ask for nothing special share what the connector has.
pub(super) fn tls(config: &UpstreamTlsConfig) -> Option<Arc<ClientTls>> {
    (*config != UpstreamTlsConfig::default()).then(|| Arc::new(ClientTls::new(config)))
}

fn introduction(version: Option<SendProxyProtocol>) -> Option<Introduction> {
    version.map(|version| Introduction {
        version,
        client: None,
    })
}

fn keep(pool: &PoolConfig, proxy_protocol: Option<SendProxyProtocol>) -> Keep {
    // A connection that was introduced as one client's carries nobody else's requests.
    let max_idle = if proxy_protocol.is_some() {
        0
    } else {
        pool.max_idle
    };
    Keep {
        max_idle: max_idle as usize,
        idle_time: pool.idle_time.as_duration(),
        max_age: pool.max_age.map(|age| age.as_duration()),
        max_requests: pool.max_requests,
    }
}

fn crowd(pool: &PoolConfig) -> Option<Crowd> {
    pool.max_connections.map(|most| Crowd {
        max_connections: most as usize,
        max_pending: pool.max_pending as usize,
        wait: pool.wait.as_duration(),
    })
}
