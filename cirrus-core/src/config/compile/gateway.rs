//! Gateways, from the tables that say so.

use super::upstream::limits;
use super::upstream::tls;
use crate::config::model::{ConsulGatewayConfig, RouteConfig};
use crate::health::watching;
use crate::upstream::gateway::{GatewayRules, Naming};
use crate::upstream::{Keep, Rules};

/// `owner` is the name of its pool, `host` the first of its site's.
pub(super) fn rules(
    config: &ConsulGatewayConfig,
    route: &RouteConfig,
    owner: &str,
    host: &str,
) -> GatewayRules {
    let path = route.path.to_string();
    let prefix = path.strip_suffix('*').unwrap_or("/");
    GatewayRules {
        label: format!("{host}{prefix}").into(),
        prefix: prefix.into(),
        naming: naming(config),
        allow: config.allow.clone(),
        deny: config.deny.clone(),
        failover: config
            .failover
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        most: config.max_services as usize,
        idle: config.drop_after.as_duration(),
        keep: config.keep_unknown.as_duration(),
        cluster: Rules {
            protocol: config.protocol,
            owner: Some(owner.into()),
            tls: tls(&config.tls),
            keep: Keep {
                max_idle: config.pool as usize,
                idle_time: config.idle_time.as_duration(),
                ..Keep::default()
            },
            watching: watching(&config.health, &[], None),
            ..limits(&config.timeouts, &config.health)
        },
    }
}

fn naming(config: &ConsulGatewayConfig) -> Naming {
    let mut query: Vec<_> = config.tags.iter().map(|tag| ("tag", tag.clone())).collect();
    query.extend(config.filter.clone().map(|filter| ("filter", filter)));
    if config.warning {
        query.push(("passing", "warning".to_owned()));
    }
    if config.https {
        query.push(("scheme", "https".to_owned()));
    }
    Naming {
        scheme: "consul",
        query,
    }
}
