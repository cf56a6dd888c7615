//! The configuration in force: compiled, immutable, published by one swap.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::compile::{cache_rules, keyings};
use super::model::{ClusterConfig, Config, LimitsConfig, RouteConfig, SiteConfig};
use super::value::HeaderTitle;
use crate::cache::{CacheKey, Peers, Rules, Selection, selections_of};
use crate::clock::Timestamp;
use crate::downstream::Pace;
use crate::downstream::tls::Rules as TlsRules;
use crate::metrics::SiteCells;
use crate::middleware::{SiteTls, Stack};
use crate::routing::{Hosts, Table};
use crate::upstream::Cluster;
use crate::upstream::gateway::Gateway;

/// Everything a request consults. Taken once per request, so its routes and clusters always belong together.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows by one with every configuration that is applied, from 1.
    pub(crate) revision: u64,
    /// When it was applied.
    pub(crate) applied: Timestamp,
    /// What it was compiled from.
    pub(crate) config: Arc<Config>,
    pub(crate) hosts: Hosts<Arc<Site>>,
    pub(crate) sites: Vec<Arc<Site>>,
    pub(crate) clusters: HashMap<Arc<str>, Named>,
    pub(crate) limits: Limits,
    /// The edges that this one fetches together with.
    pub(crate) peers: Option<Arc<Peers>>,
    /// Names whose connections are handed on as they are; `None` if there are none.
    pub(crate) passthrough: Option<Hosts<Arc<Cluster>>>,
    /// What TLS is like where a site says nothing.
    pub(crate) tls: Arc<TlsRules>,
    trusted: Box<[IpNet]>,
}

/// What a set of host names is served with.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: Arc<str>,
    pub(crate) table: Table<Stack>,
    /// What no route matches.
    pub(crate) unmatched: Stack,
    pub(crate) cells: Arc<SiteCells>,
    /// Every cluster its routes use, its own and named ones.
    pub(crate) clusters: Vec<Arc<Cluster>>,
    /// Those of its routes.
    pub(crate) gateways: Vec<Arc<Gateway>>,
    /// What its clients have to do with TLS, if it says so.
    pub(crate) tls: Option<Arc<SiteTls>>,
    /// What it was compiled from: an equal one need not be compiled again.
    pub(super) config: Arc<SiteConfig>,
}

/// A cluster that routes refer to by name.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) cluster: Arc<Cluster>,
    pub(super) config: Arc<ClusterConfig>,
}

/// What one client or connection may use at the most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) header_bytes: u32,
    pub(crate) header_time: Duration,
    pub(crate) idle_time: Duration,
    pub(crate) streams: u32,
    pub(crate) connections_per_client: u32,
    pub(crate) requests_per_connection: u32,
    pub(crate) send_time: Duration,
    pub(crate) pace: Pace,
    pub(crate) connection_buffer: usize,
    pub(crate) total_buffer: u64,
}

/// Where the snapshot in force is found.
#[derive(Debug)]
pub(crate) struct Live(ArcSwap<Snapshot>);

// === impl Limits ===

impl Limits {
    fn of(config: &LimitsConfig) -> Self {
        Self {
            header_bytes: u32::try_from(config.header_bytes.bytes()).unwrap_or(u32::MAX),
            header_time: config.header_time.as_duration(),
            idle_time: config.idle_time.as_duration(),
            streams: config.streams,
            connections_per_client: config.connections_per_client,
            requests_per_connection: config.requests_per_connection,
            send_time: config.send_time.as_duration(),
            pace: Pace {
                idle: config.body_idle_time.as_duration(),
                rate: config.body_rate.bytes(),
            },
            connection_buffer: usize::try_from(config.connection_buffer.bytes())
                .unwrap_or(usize::MAX),
            total_buffer: config.total_buffer.bytes(),
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, and each is another type"
    )]
    pub(super) fn new(
        revision: u64,
        applied: Timestamp,
        config: Arc<Config>,
        hosts: Hosts<Arc<Site>>,
        sites: Vec<Arc<Site>>,
        clusters: HashMap<Arc<str>, Named>,
        peers: Option<Arc<Peers>>,
        tls: Arc<TlsRules>,
    ) -> Self {
        let passthrough = passthrough(&config, &clusters);
        let limits = Limits::of(&config.limits);
        let trusted = config.server.trusted_proxies.iter().copied().collect();
        Self {
            revision,
            applied,
            config,
            hosts,
            sites,
            clusters,
            limits,
            peers,
            passthrough,
            tls,
            trusted,
        }
    }

    /// Whether this peer's forwarding fields are believed.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        !self.trusted.is_empty() && {
            // A dual-stack socket shows IPv4 clients as IPv6 ones.
            let peer = peer.to_canonical();
            self.trusted.iter().any(|network| network.contains(&peer))
        }
    }

    /// Whether responses stored under `before` may be for other origins than the same requests reach now: a host has
    /// moved to another site, or a site's routes are chosen by a field they were not chosen by.
    pub(super) fn outdates(&self, before: &Self) -> bool {
        self.sites.iter().any(|site| {
            site.config
                .hosts
                .iter()
                .filter_map(|host| before.hosts.get(host))
                .any(|old| {
                    !Arc::ptr_eq(old, site)
                        && (old.name != site.name
                            || !old.routed_by().is_superset(&site.routed_by()))
                })
        })
    }

    /// Everything that may be stored for a URL, by whichever of its site's routes, whatever they make their keys of. `key`
    /// is the URL's [plain](CacheKey::new) one. Not to be asked on the way of a request.
    #[must_use]
    pub fn selections(&self, key: &CacheKey) -> Vec<Selection> {
        let name = match key.host().strip_prefix('[') {
            Some(_) => key.host().split_inclusive(']').next(),
            None => key.host().split(':').next(),
        };
        let site = name.and_then(|name| self.hosts.lookup(name));
        site.map_or_else(
            || vec![Selection::Url(key.clone())],
            |site| selections_of(&keyings(&site.config), key),
        )
    }

    /// Every cluster: named ones, those of sites, and what gateways have found.
    pub(crate) fn all_clusters(&self) -> impl Iterator<Item = Arc<Cluster>> {
        self.some_clusters(usize::MAX)
    }

    /// As [`all_clusters`](Self::all_clusters), with so many of gateways at the most, the first by name.
    pub(crate) fn some_clusters(&self, found: usize) -> impl Iterator<Item = Arc<Cluster>> {
        let found = self.found_clusters().into_iter().take(found);
        self.written_clusters().cloned().chain(found)
    }

    /// What gateways have found.
    fn found_clusters(&self) -> Vec<Arc<Cluster>> {
        let mut clusters: Vec<_> = self.gateways().flat_map(Gateway::clusters).collect();
        clusters.sort_by(|one, other| one.name.cmp(&other.name));
        // Gateways whose routes have the same path and other headers give the same names.
        clusters.dedup_by(|one, other| one.name == other.name);
        clusters
    }

    /// The gateways of all sites; one that several routes share is there once.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = &Gateway> {
        let gateways = self.sites.iter().flat_map(|site| &site.gateways);
        let mut seen = HashSet::new();
        let gateways = gateways.filter(move |gateway| seen.insert(Arc::as_ptr(gateway)));
        gateways.map(|gateway| &**gateway)
    }

    /// The clusters of the configuration, those of sites included.
    pub(crate) fn written_clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        let own = self.sites.iter().flat_map(|site| &site.clusters);
        let own = own.filter(|cluster| !self.clusters.contains_key(&cluster.name));
        self.clusters
            .values()
            .map(|named| &named.cluster)
            .chain(own)
    }
}

fn passthrough(
    config: &Config,
    clusters: &HashMap<Arc<str>, Named>,
) -> Option<Hosts<Arc<Cluster>>> {
    if config.passthrough.is_empty() {
        return None;
    }
    let mut hosts = Hosts::builder();
    for one in &config.passthrough {
        let Some(named) = clusters.get(&*one.cluster) else {
            continue;
        };
        for name in &one.names {
            hosts.set(name, Arc::clone(&named.cluster));
        }
    }
    Some(hosts.build())
}

// === impl Site ===

impl Site {
    /// What it was compiled from.
    pub(crate) fn config(&self) -> &SiteConfig {
        &self.config
    }

    /// What one of its routes caches; `None`: where no route matches.
    pub(crate) fn cache_rules(&self, route: Option<&RouteConfig>) -> Rules {
        let own = route.and_then(|route| route.cache.as_ref());
        let cache = own.unwrap_or(&self.config.cache);
        cache_rules(&self.config, cache, &keyings(&self.config), false)
    }

    /// The fields that its routes are chosen by.
    fn routed_by(&self) -> BTreeSet<&HeaderTitle> {
        self.config
            .route
            .iter()
            .flat_map(|route| route.headers.keys())
            .collect()
    }
}

// === impl Live ===

impl Live {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// The snapshot in force.
    pub(crate) fn now(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    pub(super) fn publish(&self, next: Snapshot) {
        self.0.store(Arc::new(next));
    }
}
