//! What a configuration must fulfil beyond each value being valid by itself.

mod clusters;
mod origins;
mod site;

use std::collections::HashMap;
use std::net::SocketAddr;

use super::faults::Faults;
use super::model::{Config, SiteConfig};
use super::parse::check_values;
use clusters::clusters;
use site::SiteCheck;

/// What the program that runs the configuration can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// It has a service discovery: clusters may name a `service`.
    pub discovery: bool,
    /// It has certificates: listeners may have `tls`.
    pub certificates: bool,
}

// === impl Abilities ===

impl Abilities {
    /// With what is given to the builder.
    #[must_use]
    pub fn new(discovery: bool, certificates: bool) -> Self {
        Self {
            discovery,
            certificates,
        }
    }
}

/// Finds every fault of a configuration, each with its place if the configuration was read from text.
#[must_use]
pub fn check(config: &Config, abilities: Abilities) -> Faults {
    let mut faults = Faults::default();
    check_values(config, &mut faults);
    structure(config, abilities, &mut faults);
    if let Some(document) = &config.document.0 {
        faults.locate(document);
    }
    faults
}

/// How the values belong together.
pub(in crate::config) fn structure(config: &Config, abilities: Abilities, faults: &mut Faults) {
    listeners(config, abilities, faults);
    clusters(config, abilities, faults);
    hosts(config, faults);
    for (index, site) in config.site.iter().enumerate() {
        SiteCheck {
            config,
            site,
            path: format!("site[{index}]"),
            faults,
        }
        .run();
    }
}

/// The name of a site in metrics and logs.
pub(in crate::config) fn site_name(site: &SiteConfig) -> String {
    site.name
        .clone()
        .or_else(|| site.hosts.first().map(ToString::to_string))
        .unwrap_or_default()
}

fn listeners(config: &Config, abilities: Abilities, faults: &mut Faults) {
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
        if let Some(first) = seen.get(&address) {
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
            let message = "TLS needs certificates: give `[certificates]` a `directory`, or `self_signed = true` for development";
            faults.error(&path, Some(listener.tls.to_string()), message);
        }
    }
}

/// Each host stands in one site only.
fn hosts(config: &Config, faults: &mut Faults) {
    let mut seen = HashMap::new();
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
