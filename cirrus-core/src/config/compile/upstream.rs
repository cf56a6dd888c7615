//! How a cluster's endpoints are connected to, from the tables that say so.

use std::collections::hash_map::RandomState;
use std::sync::Arc;

use crate::config::model::{
    BalanceConfig, ClusterConfig, HealthConfig, OriginProtocol, PoolConfig, SendProxyProtocol,
    SiteConfig, TimeoutsConfig, UpstreamTlsConfig,
};
use crate::health::{Ejection, watching};
use crate::upstream::{
    Balance, ClientTls, Crowd, Introduction, Keep, Plan, Rules, Sticky, Subset, Times, hash,
};

pub(super) fn rules_of_cluster(config: &ClusterConfig) -> Rules {
    Rules {
        protocol: config.protocol,
        owner: owner(&config.pool, || config.name.clone()),
        tls: tls(&config.tls),
        introduction: introduction(config.proxy_protocol),
        keep: keep(&config.pool, config.proxy_protocol),
        crowd: crowd(&config.pool),
        watching: watching(&config.health, &config.check, config.breaker.as_ref()),
        balance: balance(&config.balance),
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
        watching: watching(&config.health, &config.check, config.breaker.as_ref()),
        balance: balance(&config.balance),
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
            longest: health.max_eject.as_duration(),
        },
        protocol: OriginProtocol::Http1,
        owner: None,
        tls: None,
        introduction: None,
        keep: Keep::default(),
        crowd: None,
        watching: None,
        balance: None,
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

/// Clusters that ask for nothing special take turns.
fn balance(config: &BalanceConfig) -> Option<Arc<Balance>> {
    if *config == BalanceConfig::default() {
        return None;
    }
    let plan = Plan {
        policy: config.policy,
        bounded_load: config.bounded_load,
        slow_start: config.slow_start.map(|time| time.as_duration()),
        zone: config.zone.as_deref().map(Into::into),
        spill_below: u32::from(config.spill_below),
    };
    Some(Arc::new(Balance {
        hash: plan.hashes().then(|| config.hash.clone()),
        plan,
        sticky: config.sticky.as_ref().map(Sticky::new),
        subset: config.subset.map(|size| Subset {
            size: size as usize,
            edge: edge(config.edge.as_deref()),
        }),
    }))
}

/// Without a name: the same one for as long as the process runs.
fn edge(name: Option<&str>) -> u64 {
    static CHANCE: std::sync::LazyLock<u64> =
        std::sync::LazyLock::new(|| std::hash::BuildHasher::hash_one(&RandomState::new(), 0));
    name.map_or_else(|| *CHANCE, |name| hash(name.as_bytes()))
}
