//! The edges that fetch for each other.

use std::sync::Arc;

use tower_layer::Layer;

use super::upstream::limits;
use crate::cache::Peers;
use crate::config::model::{Config, HealthConfig, PeerConfig, PeersConfig, TimeoutsConfig};
use crate::config::snapshot::Snapshot;
use crate::config::value::Period;
use crate::discovery::{Endpoint, Endpoints};
use crate::middleware::{Edits, ForwardedLayer, Stack};
use crate::upstream::{Cluster, Forward};

/// The group that this edge is in. One that has not changed keeps what it knows of its members.
pub(super) fn peers(config: &Config, before: Option<&Snapshot>) -> Option<Arc<Peers>> {
    let config = config.cache.peers.as_ref()?;
    let known = before.and_then(|before| before.peers.as_ref());
    let same = known.filter(|known| known.config == *config);
    Some(same.map_or_else(
        || Arc::new(Peers::new(config, |peer| stack(config, peer))),
        Arc::clone,
    ))
}

/// What sends requests to one of them. It is told who asks, as an origin is.
fn stack(config: &PeersConfig, peer: &PeerConfig) -> Stack {
    let timeouts = TimeoutsConfig {
        // Less than all of it: then it is known that the peer is not there, and not only that it is slow.
        connect: Period::millis((config.timeout.as_duration().as_millis() / 2) as u64),
        first_byte: config.timeout,
        ..TimeoutsConfig::default()
    };
    // Whoever asks peers knows by itself which of them are away.
    let health = HealthConfig {
        failures: u32::MAX,
        ..HealthConfig::default()
    };
    let endpoints: Endpoints = [Endpoint::new(peer.url.clone())].into_iter().collect();
    let cluster = Cluster::new(
        format!("peer {}", peer.url).into(),
        limits(&timeouts, &health),
        None,
        &endpoints,
        None,
    );
    let forward = Forward::new(Arc::new(cluster), false);
    Stack::new(ForwardedLayer::new(Edits::default()).layer(forward))
}
