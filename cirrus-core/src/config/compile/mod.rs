//! As written → as meant. Every fault is reported, not just the first; what has not changed is not compiled again.

mod access;
mod caching;
mod content;
mod gateway;
mod lifetimes;
mod peers;
mod policies;
mod target;
mod tls;
mod upstream;

use self::access::Shared;
pub(super) use self::caching::keyings;
use self::policies::Written;
use self::upstream::{rules_of_cluster, rules_of_site};
use super::check::{self, Abilities, SameSites};
use super::faults::Faults;
use super::model::{
    ClusterConfig, Config, ConsulGatewayConfig, OriginConfig, RouteConfig, SiteCacheConfig,
    SiteConfig,
};
use super::snapshot::{Named, Site, Snapshot};
use crate::cache::{Door, Keying, PurgeMethod, Rules as CacheRules};
use crate::clock::Timestamp;
use crate::discovery::{Endpoint, Endpoints, ServiceName};
use crate::downstream::tls::Rules;
use crate::metrics::Sites;
use crate::middleware::limit::States;
use crate::middleware::{self, Changes, Stack};
use crate::respond::{Files, Fixed, Redirect};
use crate::routing::{Hosts, Matcher, PathPattern, Table, Template};
use crate::upstream::gateway::Gateway;
use crate::upstream::{Cluster, Target};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::collections::HashMap;
use std::sync::Arc;

/// Makes snapshots.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub(crate) abilities: Abilities,
    pub(crate) sites: Arc<Sites>,
    /// What limits have counted.
    pub(crate) states: States,
}

// === impl Compiler ===

impl Compiler {
    /// Compiles `config`. On success the second value holds warnings only.
    pub(crate) fn compile(
        &self,
        config: Config,
        before: Option<&Snapshot>,
        now: Timestamp,
    ) -> Result<(Snapshot, Faults), Faults> {
        let faults = match before {
            Some(before) => check::check_after(&config, &before.config, self.abilities.clone()),
            None => check::check(&config, self.abilities.clone()),
        };
        if faults.is_fatal() {
            return Err(faults);
        }
        let clusters = named_clusters(&config, before);
        let (hosts, sites) = self.sites(&config, &clusters, before);
        let revision = before.map_or(1, |before| before.revision + 1);
        let peers = peers::peers(&config, before);
        let config = Arc::new(config);
        let tls = match before {
            Some(before) if before.config.tls == config.tls => Arc::clone(&before.tls),
            _ => Arc::new(Rules::of(&config.tls)),
        };
        let snapshot = Snapshot::new(revision, now, config, hosts, sites, clusters, peers, tls);
        Ok((snapshot, faults))
    }

    /// Every site; the hosts of those that stayed are not touched.
    fn sites(
        &self,
        config: &Config,
        clusters: &HashMap<Arc<str>, Named>,
        before: Option<&Snapshot>,
    ) -> (Hosts<Arc<Site>>, Vec<Arc<Site>>) {
        let empty = Hosts::default();
        let mut hosts = before.map_or(&empty, |before| &before.hosts).edit();
        if let Some(before) = before {
            remove_gone_hosts(&mut hosts, before, config);
        }
        let has_doors = config.cache.peers.is_some();
        // What sites are made of beyond their own words.
        let is_same = before.is_some_and(|before| {
            before.peers.is_some() == has_doors && before.config.tls == config.tls
        });
        let mut sites = Vec::with_capacity(config.site.len());
        for written in &config.site {
            let known = written
                .hosts
                .first()
                .and_then(|host| hosts.get(host))
                .cloned();
            if let Some(same) = known
                .as_ref()
                .filter(|known| is_same && is_unchanged(known, written, clusters))
            {
                sites.push(Arc::clone(same));
                continue;
            }
            // Whichever of its hosts it had before: its origins keep their health.
            let before = written
                .hosts
                .iter()
                .find_map(|host| hosts.get(host))
                .cloned();
            let tls = written.tls.as_ref();
            let tls = tls.map(|own| tls::site_tls(&config.tls, own, &self.states));
            let mut site = self.site(written, clusters, before.as_deref(), has_doors);
            site.tls = tls;
            let site = Arc::new(site);
            for host in &written.hosts {
                hosts.set(host, Arc::clone(&site));
            }
            sites.push(site);
        }
        (hosts.build(), sites)
    }

    fn site(
        &self,
        config: &Arc<SiteConfig>,
        clusters: &HashMap<Arc<str>, Named>,
        before: Option<&Site>,
        has_doors: bool,
    ) -> Site {
        let name: Arc<str> = check::site_name(config).into();
        let mut parts = SiteParts {
            config,
            clusters,
            before,
            states: &self.states,
            name: Arc::clone(&name),
            used: Vec::new(),
            default: None,
            gateways: Vec::new(),
            keyings: keyings(config),
        };
        let shared = Shared::default();
        let mut routes: Vec<(Matcher, Stack)> = Vec::with_capacity(config.route.len() + 1);
        for (index, route) in config.route.iter().enumerate() {
            let written = Written {
                site: config,
                route: Some(route),
                states: &self.states,
                shared: &shared,
            };
            let policies = written.policies();
            let stack = parts.route(index, route, written.changes(&policies));
            let cache = route.cache.as_ref().unwrap_or(&config.cache);
            let stack = guarded(stack, policies, has_doors && cache.enable);
            routes.push((matcher(route), stack));
        }
        if let Some(cluster) = parts.default_cluster() {
            let written = Written {
                site: config,
                route: None,
                states: &self.states,
                shared: &shared,
            };
            let policies = written.policies();
            let target = parts.target(None, cluster);
            let stack = parts.upstream(&config.cache, written.changes(&policies), target);
            let stack = guarded(stack, policies, has_doors && config.cache.enable);
            routes.push((Matcher::new(PathPattern::default()), stack));
        }
        let unmatched = Written {
            site: config,
            route: None,
            states: &self.states,
            shared: &shared,
        };
        let unmatched = unmatched
            .policies()
            .around(Stack::new(middleware::Unmatched));
        let (used, gateways) = (parts.used, parts.gateways);
        let (table, _shadowed) = Table::compile(routes);
        let cells = self.sites.of(&name);
        Site {
            name,
            table,
            unmatched,
            cells,
            clusters: used,
            gateways,
            tls: None,
            config: Arc::clone(config),
        }
    }
}

/// The route's stack with its policies around it, and a way past them for other edges where these may ask for something.
fn guarded(stack: Stack, policies: middleware::Policies, has_door: bool) -> Stack {
    if has_door {
        Stack::new(Door::new(policies.around(stack.clone()), stack))
    } else {
        policies.around(stack)
    }
}

/// Hosts that no site has any more are gone before new ones come, since a host may move from site to site.
fn remove_gone_hosts(
    hosts: &mut crate::routing::HostsBuilder<Arc<Site>>,
    before: &Snapshot,
    config: &Config,
) {
    let (known, present) = (SameSites::of(&before.config), SameSites::of(config));
    let changed = config.site.iter().filter(|site| !known.contains(site));
    let wanted: std::collections::HashSet<_> = changed.flat_map(|site| &site.hosts).collect();
    let gone = before
        .config
        .site
        .iter()
        .filter(|site| !present.contains(site));
    for host in gone.flat_map(|site| &site.hosts) {
        if !wanted.contains(host) {
            hosts.remove(host);
        }
    }
}

/// The very same words, and the same clusters behind them.
fn is_unchanged(
    known: &Site,
    written: &Arc<SiteConfig>,
    clusters: &HashMap<Arc<str>, Named>,
) -> bool {
    (Arc::ptr_eq(&known.config, written) || known.config == *written)
        && known.clusters.iter().all(|used| {
            clusters
                .get(&used.name)
                .is_none_or(|named| Arc::ptr_eq(&named.cluster, used))
        })
}

fn named_clusters(config: &Config, before: Option<&Snapshot>) -> HashMap<Arc<str>, Named> {
    let named = config.cluster.iter().map(|written| {
        let name: Arc<str> = written.name.as_str().into();
        let known = before.and_then(|before| before.clusters.get(&name));
        let cluster = match known {
            Some(known) if Arc::ptr_eq(&known.config, written) || known.config == *written => {
                Arc::clone(&known.cluster)
            }
            known => Arc::new(named_cluster(&name, written, known)),
        };
        (
            name,
            Named {
                cluster,
                config: Arc::clone(written),
            },
        )
    });
    named.collect()
}

fn named_cluster(name: &Arc<str>, config: &ClusterConfig, before: Option<&Named>) -> Cluster {
    let service = config.service.as_deref().and_then(ServiceName::new);
    let before = before.map(|named| &*named.cluster);
    let same_service = before.filter(|before| service.is_some() && before.service == service);
    let rules = rules_of_cluster(config);
    let cluster = Cluster::new(
        Arc::clone(name),
        rules,
        service,
        &endpoints(&config.origin),
        before,
    );
    if let Some(before) = same_service {
        // What discovery has found stays until it speaks again.
        cluster.inherit(before);
    }
    cluster
}

/// One site being compiled.
struct SiteParts<'a> {
    config: &'a SiteConfig,
    clusters: &'a HashMap<Arc<str>, Named>,
    before: Option<&'a Site>,
    states: &'a States,
    name: Arc<str>,
    used: Vec<Arc<Cluster>>,
    /// The site's own, once somebody needs it.
    default: Option<Arc<Cluster>>,
    gateways: Vec<Arc<Gateway>>,
    keyings: Arc<[Keying]>,
}

// === impl SiteParts ===

impl SiteParts<'_> {
    /// Where requests go that no route matches, or whose route says nothing else; one for all of them.
    fn default_cluster(&mut self) -> Option<Arc<Cluster>> {
        if self.default.is_none() {
            self.default = match &self.config.cluster {
                Some(name) => self.named(name),
                None => (!self.config.origin.is_empty())
                    .then(|| self.own(&self.name.clone(), &self.config.origin)),
            };
        }
        self.default.clone()
    }

    fn named(&mut self, name: &str) -> Option<Arc<Cluster>> {
        let cluster = Arc::clone(&self.clusters.get(name)?.cluster);
        self.used.push(Arc::clone(&cluster));
        Some(cluster)
    }

    /// A cluster of origins written in the site. Those it had before keep their health.
    fn own(&mut self, name: &Arc<str>, origins: &[OriginConfig]) -> Arc<Cluster> {
        // Spaces cannot stand in the name of a `[[cluster]]`, so the two kinds never meet.
        let name: Arc<str> = format!("site {name}").into();
        let before = self
            .before
            .and_then(|site| site.clusters.iter().find(|cluster| cluster.name == name));
        let rules = rules_of_site(self.config);
        let cluster = Arc::new(Cluster::new(
            name,
            rules,
            None,
            &endpoints(origins),
            before.map(|before| &**before),
        ));
        self.used.push(Arc::clone(&cluster));
        cluster
    }

    fn route(&mut self, index: usize, route: &RouteConfig, changes: Changes) -> Stack {
        if let Some(redirect) = &route.redirect {
            let to = Template::parse(redirect.to.as_str()).unwrap_or_else(|_| unchecked());
            let redirect = Redirect {
                status: status(redirect.status.0),
                to,
                path: route.path.clone(),
            };
            return middleware::answer(redirect, changes);
        }
        if let Some(respond) = &route.respond {
            return middleware::answer(fixed(respond), changes);
        }
        if let Some(files) = &route.files {
            let pattern = route.path.to_string();
            let prefix = pattern.strip_suffix('*').unwrap_or_default();
            let files = Files::new(files.directory.clone(), prefix);
            return middleware::answer(files, changes);
        }
        let cache = route.cache.as_ref().unwrap_or(&self.config.cache);
        if let Some(config) = &route.consul_gateway {
            let rules = cache_rules(self.config, cache, &self.keyings, changes.is_bare);
            return middleware::gateway(rules, changes, self.gateway(config, route));
        }
        let target = if route.split.is_empty() {
            let cluster = match &route.cluster {
                Some(name) => self.named(name).unwrap_or_else(unchecked),
                None if route.inherits() => self.default_cluster().unwrap_or_else(unchecked),
                None => self.own(
                    &format!("{} route {index}", self.name).into(),
                    &route.origin,
                ),
            };
            self.target(Some(route), cluster)
        } else {
            self.split(route)
        };
        self.upstream(cache, changes, target)
    }

    /// The one in use, if nothing about it has changed.
    fn gateway(&mut self, config: &ConsulGatewayConfig, route: &RouteConfig) -> Arc<Gateway> {
        // No other site has this host, and no cluster's name a space.
        let name = format!(
            "gateway {:?} {} {config:?}",
            self.config.hosts.first(),
            route.path
        );
        let host = self.config.hosts.first().map(ToString::to_string);
        let rules = gateway::rules(config, route, &name, &host.unwrap_or_default());
        let gateway = self.states.gateways.of(name, || Gateway::new(rules));
        self.gateways.push(Arc::clone(&gateway));
        gateway
    }

    fn upstream(&self, cache: &SiteCacheConfig, changes: Changes, target: Target) -> Stack {
        let rules = cache_rules(self.config, cache, &self.keyings, changes.is_bare);
        middleware::upstream(rules, changes, target)
    }
}

/// What a route of `site` with this table caches.
pub(super) fn cache_rules(
    site: &SiteConfig,
    cache: &SiteCacheConfig,
    keyings: &Arc<[Keying]>,
    is_bare: bool,
) -> CacheRules {
    let default_ttl = cache.default_ttl.map(|ttl| ttl.as_duration());
    let routes = &site.route;
    CacheRules {
        enable: cache.enable,
        default_ttl,
        // The same URL leads to one origin or another by these, so one's responses are not the other's.
        routed_by: routes
            .iter()
            .flat_map(|route| route.headers.keys())
            .map(|name| name.to_name())
            .collect(),
        invalidate: site.cache.enable
            || routes
                .iter()
                .any(|route| route.cache.as_ref().is_some_and(|cache| cache.enable)),
        is_bare,
        lookups: caching::lookups(cache, site, keyings),
        lifetimes: lifetimes::lifetimes(cache),
        set_cookie: cache.set_cookie,
        slice: cache.slice.map(|size| size.bytes()),
        purge: cache.purge.as_ref().map(PurgeMethod::new),
    }
}

/// `check` has looked at everything that is compiled here.
fn unchecked<T>() -> T {
    unreachable!("a configuration is checked before it is compiled")
}

fn fixed(config: &super::model::RespondConfig) -> Fixed {
    let mut headers = HeaderMap::with_capacity(config.headers.len() + 1);
    if !config.body.is_empty() {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
    }
    headers.extend(
        config
            .headers
            .iter()
            .map(|(name, value)| (name.to_name(), value.to_value())),
    );
    Fixed {
        status: status(config.status.0),
        headers,
        body: config.body.clone().into(),
    }
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or_else(|_| unchecked())
}

fn endpoints(origins: &[OriginConfig]) -> Endpoints {
    let endpoint = |origin: &OriginConfig| {
        // One that is drained keeps the sessions that it has.
        let weight = if origin.drain { 0 } else { origin.weight };
        let endpoint = Endpoint::new(origin.url.clone())
            .with_weight(weight)
            .with_priority(origin.priority);
        let endpoint = match &origin.zone {
            Some(zone) => endpoint.in_zone(zone.as_str()),
            None => endpoint,
        };
        let endpoint = endpoint.with_labels(origin.labels.clone());
        match &origin.sni {
            Some(sni) => endpoint.with_sni(sni.as_str()),
            None => endpoint,
        }
    };
    origins.iter().map(endpoint).collect()
}

/// What a route matches.
pub(super) fn matcher(route: &RouteConfig) -> Matcher {
    let methods = route.methods.iter().map(super::MethodName::to_method);
    let mut matcher = Matcher::new(route.path.clone()).with_methods(methods);
    for (name, value) in &route.headers {
        matcher = matcher.with_header(name.to_name(), value.as_str());
    }
    for (name, value) in &route.query {
        matcher = matcher.with_query(name, value);
    }
    matcher
}
