//! What a configuration must fulfil beyond each value being valid by itself.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::compile::matcher;
use super::faults::Faults;
use super::model::{ClusterConfig, Config, OriginConfig, RouteConfig, SiteConfig};
use super::parse::check_values;
use crate::discovery::ServiceName;
use crate::routing::{Matcher, PathPattern, Table, Template};

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
    listeners(config, abilities, &mut faults);
    clusters(config, abilities, &mut faults);
    hosts(config, &mut faults);
    for (index, site) in config.site.iter().enumerate() {
        SiteCheck {
            config,
            site,
            path: format!("site[{index}]"),
            faults: &mut faults,
        }
        .run();
    }
    if let Some(document) = &config.document {
        faults.locate(document);
    }
    faults
}

/// The name of a site in metrics and logs.
pub(super) fn site_name(site: &SiteConfig) -> String {
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

fn clusters(config: &Config, abilities: Abilities, faults: &mut Faults) {
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
        cluster_endpoints(config, cluster, &path, abilities, faults);
    }
}

fn cluster_endpoints(
    config: &Config,
    cluster: &ClusterConfig,
    path: &str,
    abilities: Abilities,
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
        Some(_) => {}
        None if cluster.origin.is_empty() => {
            faults.error(path, None, "the cluster has no endpoints: give it at least one `[[cluster.origin]]`, or a `service`");
        }
        None => origins(config, &cluster.origin, &format!("{path}.origin"), faults),
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

fn origins(config: &Config, origins: &[OriginConfig], path: &str, faults: &mut Faults) {
    for (index, origin) in origins.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if origin.weight == 0 {
            faults.error(format!("{path}.weight"), Some("0".to_owned()), "an origin with weight 0 would never be asked; allowed is 1 to 65535, or remove the origin");
        }
        if let Some(listener) = config
            .listen
            .iter()
            .find(|listener| reaches(origin, listener.address))
        {
            let message = format!(
                "this is the listener {} of this very configuration: requests would go round in a circle",
                listener.address
            );
            faults.error(format!("{path}.url"), Some(origin.url.to_string()), message);
        }
        let earlier = origins[..index]
            .iter()
            .position(|earlier| earlier.url == origin.url && earlier.sni == origin.sni);
        if let Some(earlier) = earlier {
            let message = format!(
                "the same address as number {} of this list; give it once, with the weights added up",
                earlier + 1
            );
            faults.error(format!("{path}.url"), Some(origin.url.to_string()), message);
        }
    }
}

/// Whether a connection to `origin` would arrive at `listener`, as far as can be told without asking anybody.
fn reaches(origin: &OriginConfig, listener: SocketAddr) -> bool {
    if origin.url.port() != listener.port() || listener.port() == 0 {
        return false;
    }
    let host = origin
        .url
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let local = |ip: IpAddr| {
        ip == listener.ip()
            || (listener.ip().is_unspecified() && (ip.is_loopback() || ip.is_unspecified()))
    };
    match host.parse::<IpAddr>() {
        Ok(ip) => local(ip) || (ip.is_unspecified() && listener.ip().is_loopback()),
        Err(_) => {
            host == "localhost" && (listener.ip().is_loopback() || listener.ip().is_unspecified())
        }
    }
}

/// One site being checked.
struct SiteCheck<'a> {
    config: &'a Config,
    site: &'a SiteConfig,
    path: String,
    faults: &'a mut Faults,
}

// === impl SiteCheck ===

impl SiteCheck<'_> {
    fn run(&mut self) {
        let Self { site, .. } = *self;
        if site.hosts.is_empty() {
            self.error("hosts", None, "a site needs at least one host; `\"*\"` is the site for every host no other site has");
        }
        if site.cluster.is_some() && !site.origin.is_empty() {
            self.error(
                "cluster",
                site.cluster.clone(),
                "a site has either `origin` or `cluster`, not both",
            );
        }
        if site.cluster.is_none() && site.origin.is_empty() && site.route.is_empty() {
            self.error("", None, "the site serves nothing: give it at least one `[[site.origin]]`, a `cluster`, or a `[[site.route]]`");
        }
        origins(
            self.config,
            &site.origin,
            &format!("{}.origin", self.path),
            self.faults,
        );
        self.cluster("cluster", site.cluster.as_deref());
        for (index, route) in site.route.iter().enumerate() {
            self.route(&format!("route[{index}]"), route);
        }
        self.shadows();
    }

    fn error(&mut self, field: &str, value: Option<String>, message: impl Into<String>) {
        let path = if field.is_empty() {
            self.path.clone()
        } else {
            format!("{}.{field}", self.path)
        };
        self.faults.error(&path, value, message.into());
    }

    fn cluster(&mut self, field: &str, name: Option<&str>) {
        let Some(name) = name else { return };
        let names = self
            .config
            .cluster
            .iter()
            .map(|cluster| cluster.name.as_str());
        if names.clone().any(|known| known == name) {
            return;
        }
        let near = names
            .filter(|known| strsim::damerau_levenshtein(known, name) <= 2)
            .min();
        let message = match near {
            Some(near) => format!("there is no such cluster; did you mean `{near}`?"),
            None => "there is no such cluster: define it as `[[cluster]]`".to_owned(),
        };
        self.error(field, Some(name.to_owned()), message);
    }

    fn route(&mut self, field: &str, route: &RouteConfig) {
        let actions = [
            ("origin", !route.origin.is_empty()),
            ("cluster", route.cluster.is_some()),
            ("redirect", route.redirect.is_some()),
            ("respond", route.respond.is_some()),
            ("files", route.files.is_some()),
        ];
        let given: Vec<_> = actions
            .iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| *name)
            .collect();
        match given[..] {
            [_] => {}
            [] => self.error(field, None, "the route does nothing: give it one of `origin`, `cluster`, `redirect`, `respond`, `files`"),
            _ => self.error(field, Some(given.join(", ")), "a route does one thing: keep one of these and remove the others"),
        }
        origins(
            self.config,
            &route.origin,
            &format!("{}.{field}.origin", self.path),
            self.faults,
        );
        self.cluster(&format!("{field}.cluster"), route.cluster.as_deref());
        self.redirect(field, route);
        self.files(field, route);
    }

    fn redirect(&mut self, field: &str, route: &RouteConfig) {
        let Some(redirect) = &route.redirect else {
            return;
        };
        let field = format!("{field}.redirect.to");
        let to = match Template::parse(redirect.to.as_str()) {
            Ok(to) => to,
            Err(error) => {
                return self.error(
                    &field,
                    Some(redirect.to.as_str().to_owned()),
                    error.to_string(),
                );
            }
        };
        let known: Vec<&str> = ["host", "path"]
            .into_iter()
            .chain(route.path.names())
            .collect();
        for name in to.names().filter(|name| !known.contains(name)) {
            let allowed = known
                .iter()
                .map(|name| format!("`{{{name}}}`"))
                .collect::<Vec<_>>()
                .join(", ");
            self.error(
                &field,
                Some(format!("{{{name}}}")),
                format!("nothing of that name can be filled in; allowed here: {allowed}"),
            );
        }
        if let Some(name) = route
            .path
            .names()
            .find(|name| matches!(*name, "host" | "path"))
        {
            let message =
                "`{host}` and `{path}` mean the request's own; give the parameter another name";
            self.error(
                &field.replace("redirect.to", "path"),
                Some(name.to_owned()),
                message,
            );
        }
    }

    fn files(&mut self, field: &str, route: &RouteConfig) {
        let Some(files) = &route.files else { return };
        let field = format!("{field}.files.directory");
        let shown = Some(files.directory.display().to_string());
        match std::fs::read_dir(&files.directory) {
            Ok(_) => {}
            Err(error) => self.error(
                &field,
                shown,
                format!("cannot read this directory: {error}"),
            ),
        }
    }

    /// Routes that can never match.
    fn shadows(&mut self) {
        let routes: Vec<(Matcher, ())> = self
            .site
            .route
            .iter()
            .map(|route| (matcher(route), ()))
            .collect();
        let (_, shadowed) = Table::compile(routes);
        for shadow in shadowed {
            let path = format!("{}.route[{}]", self.path, shadow.route);
            let message = format!(
                "this route can never match: `{}.route[{}]` takes every request that it would",
                self.path, shadow.by
            );
            self.faults.error(&path, None, message);
        }
        let everything = Matcher::new(PathPattern::default());
        let whole = self
            .site
            .route
            .iter()
            .position(|route| matcher(route).covers(&everything));
        if let Some(index) =
            whole.filter(|_| self.site.cluster.is_some() || !self.site.origin.is_empty())
        {
            let field = if self.site.cluster.is_some() {
                "cluster"
            } else {
                "origin"
            };
            let message = format!(
                "never asked: `{}.route[{index}]` takes every request",
                self.path
            );
            self.faults
                .warning(format!("{}.{field}", self.path), None, message);
        }
    }
}
