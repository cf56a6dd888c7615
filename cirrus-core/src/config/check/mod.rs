//! What a configuration must fulfil beyond each value being valid by itself.

mod access;
mod acme;
mod balancing;
mod caching;
mod clusters;
mod content;
mod discovery;
mod gateway;
mod health;
mod origins;
mod peers;
mod registry;
mod site;
mod tls;
mod upstream_tls;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::faults::Faults;
use super::model::{Config, SiteConfig};
use super::parse::check_values;
use crate::discovery::Discovery;
use clusters::clusters;
use site::SiteCheck;

/// What the program that runs the configuration can do.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Abilities {
    /// It has a service discovery: clusters may name a `service`.
    pub discovery: bool,
    /// It has certificates: listeners may have `tls`.
    pub certificates: bool,
    /// What knows which services may be named.
    services: Option<Arc<dyn Discovery>>,
    /// The names of its own probes; by default nobody says which there are.
    probes: Option<Vec<String>>,
}

// === impl Abilities ===

impl Abilities {
    /// With what is given to the builder.
    #[must_use]
    pub fn new(discovery: bool, certificates: bool) -> Self {
        Self {
            discovery,
            certificates,
            services: None,
            probes: None,
        }
    }

    /// With a discovery that is asked which services may be named.
    #[must_use]
    pub fn with_discovery(mut self, discovery: Arc<dyn Discovery>) -> Self {
        self.discovery = true;
        self.services = Some(discovery);
        self
    }

    /// With these probes for checks of `kind = "custom"`, and no others.
    #[must_use]
    pub fn with_probes(mut self, names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        self.probes = Some(names);
        self
    }
}

impl fmt::Debug for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Abilities")
            .field("discovery", &self.discovery)
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

/// Finds every fault of a configuration, each with its place if the configuration was read from text.
#[must_use]
pub fn check(config: &Config, abilities: Abilities) -> Faults {
    let mut faults = Faults::default();
    check_values(config, &mut faults);
    structure(config, &abilities, &mut faults);
    if let Some(document) = &config.document.0 {
        faults.locate(document);
    }
    faults
}

/// As [`check`], for what takes the place of a configuration that had no faults: sites that are the same `Arc` are not
/// checked again, nor warned about.
pub(in crate::config) fn check_after(
    config: &Config,
    before: &Config,
    abilities: Abilities,
) -> Faults {
    // Beyond a site itself, its check asks for these.
    if before.listen != config.listen
        || before.cluster != config.cluster
        || before.tls != config.tls
    {
        return check(config, abilities);
    }
    let mut faults = Faults::default();
    check_values(config, &mut faults);
    around_sites(config, &abilities, &mut faults);
    let known = SameSites::of(before);
    let names = cluster_names(config);
    for (index, site) in config.site.iter().enumerate() {
        if !known.contains(site) {
            check_site(config, &abilities, &names, index, &mut faults);
        }
    }
    if let Some(document) = &config.document.0 {
        faults.locate(document);
    }
    faults
}

/// How the values belong together.
pub(in crate::config) fn structure(config: &Config, abilities: &Abilities, faults: &mut Faults) {
    around_sites(config, abilities, faults);
    let names = cluster_names(config);
    for index in 0..config.site.len() {
        check_site(config, abilities, &names, index, faults);
    }
}

fn around_sites(config: &Config, abilities: &Abilities, faults: &mut Faults) {
    listeners(config, abilities, faults);
    clusters(config, abilities, faults);
    registry::registry(config, faults);
    gateway::consul(config, abilities, faults);
    discovery::discovery(config, faults);
    hosts(config, faults);
    peers::peers(config, faults);
    tls::tls(&config.tls, faults);
    tls::passthrough(config, &cluster_names(config), faults);
    acme::acme(config.certificates.acme.as_ref(), faults);
}

fn cluster_names(config: &Config) -> HashSet<&str> {
    config
        .cluster
        .iter()
        .map(|cluster| cluster.name.as_str())
        .collect()
}

fn check_site(
    config: &Config,
    abilities: &Abilities,
    names: &HashSet<&str>,
    index: usize,
    faults: &mut Faults,
) {
    SiteCheck {
        config,
        abilities,
        names,
        site: &config.site[index],
        path: format!("site[{index}]"),
        faults,
    }
    .run();
}

/// The sites of a configuration, to be told by their `Arc`s.
pub(in crate::config) struct SameSites(HashSet<*const SiteConfig, RandomState>);

// === impl SameSites ===

impl SameSites {
    pub(in crate::config) fn of(config: &Config) -> Self {
        Self(config.site.iter().map(Arc::as_ptr).collect())
    }

    pub(in crate::config) fn contains(&self, site: &Arc<SiteConfig>) -> bool {
        self.0.contains(&Arc::as_ptr(site))
    }
}

/// The name of a site in metrics and logs.
pub(in crate::config) fn site_name(site: &SiteConfig) -> String {
    site.name
        .clone()
        .or_else(|| site.hosts.first().map(ToString::to_string))
        .unwrap_or_default()
}

fn listeners(config: &Config, abilities: &Abilities, faults: &mut Faults) {
    let mut seen: HashMap<SocketAddr, String> = HashMap::new();
    let listeners = config
        .listen
        .iter()
        .enumerate()
        .map(|(index, one)| (format!("listen[{index}].address"), one.address));
    let admin = config
        .admin
        .iter()
        .map(|admin| ("admin.address".to_owned(), admin.address));
    for (path, address) in listeners.chain(admin) {
        if address.port() == 0 {
            continue;
        }
        let taken = seen.iter().find(|(other, _)| overlap(**other, address));
        if let Some((_, first)) = taken {
            faults.error(
                &path,
                Some(address.to_string()),
                format!("`{first}` listens there already; each address can stand once"),
            );
        } else {
            seen.insert(address, path);
        }
    }
    for (index, listener) in config
        .listen
        .iter()
        .enumerate()
        .filter(|(_, listener)| listener.tls)
    {
        if !abilities.certificates {
            let path = format!("listen[{index}].tls");
            let message = "TLS needs certificates: give `[certificates]` a `directory` or `acme`, or `self_signed = true` for development";
            faults.error(&path, Some(listener.tls.to_string()), message);
        }
    }
}

/// `0.0.0.0` is every address of its kind.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// Each host stands in one site only.
fn hosts(config: &Config, faults: &mut Faults) {
    let mut seen = HashMap::with_capacity_and_hasher(config.site.len(), RandomState::default());
    for (site, index, host) in config.site.iter().enumerate().flat_map(|(site, config)| {
        config
            .hosts
            .iter()
            .enumerate()
            .map(move |(index, host)| (site, index, host))
    }) {
        if let Some((first, place)) = seen.insert(host, (site, index)) {
            let path = format!("site[{site}].hosts[{index}]");
            faults.error(&path, Some(host.to_string()), format!("`site[{first}].hosts[{place}]` serves this host already; each host can stand once"));
        }
    }
}
