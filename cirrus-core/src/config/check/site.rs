//! One site: it serves something, and every route of it can match.

use std::collections::HashSet;

use super::Abilities;
use super::access::AccessCheck;
use super::clusters::{counted, introduced};
use super::content::Tables;
use super::health::WatchCheck;
use super::origins::origins;
use super::tls::site_tls;
use super::upstream_tls::upstream_tls;
use crate::config::compile::matcher;
use crate::config::faults::Faults;
use crate::config::model::{Config, RequestIdConfig, RouteConfig, SiteConfig};
use crate::config::value::HeaderTitle;
use crate::routing::{Matcher, PathPattern, Table};

/// With more faults than this, no further suggestions are looked for.
const MOST_SUGGESTIONS: usize = 20;

/// Header fields that are made anew for every message.
pub(super) const OURS: [&str; 10] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// One site being checked.
pub(super) struct SiteCheck<'a> {
    pub(super) config: &'a Config,
    pub(super) abilities: &'a Abilities,
    /// The names of all clusters.
    pub(super) names: &'a HashSet<&'a str>,
    pub(super) site: &'a SiteConfig,
    pub(super) path: String,
    pub(super) faults: &'a mut Faults,
}

// === impl SiteCheck ===

impl SiteCheck<'_> {
    pub(super) fn run(&mut self) {
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
        if !site.has_upstream() && site.route.is_empty() {
            self.error("", None, "the site serves nothing: give it at least one `[[site.origin]]`, a `cluster`, or a `[[site.route]]`");
        }
        origins(
            self.config,
            &site.origin,
            &format!("{}.origin", self.path),
            self.faults,
        );
        upstream_tls(
            &site.upstream_tls,
            &format!("{}.upstream_tls", self.path),
            self.faults,
        );
        if let Some(own) = &site.tls {
            let path = format!("{}.tls", self.path);
            site_tls(own, &self.config.tls, &path, self.faults);
        }
        counted(
            &site.pool,
            site.protocol,
            &format!("{}.pool.max_connections", self.path),
            self.faults,
        );
        introduced(
            site.upstream_proxy_protocol,
            site.protocol,
            &format!("{}.upstream_proxy_protocol", self.path),
            self.faults,
        );
        let watched = WatchCheck {
            health: &site.health,
            checks: &site.check,
            allow_scripts: self.config.server.allow_scripts,
            probes: self.abilities.probes.as_deref(),
            path: &self.path,
        };
        watched.run(self.faults);
        self.cluster("cluster", site.cluster.as_deref());
        self.balancing();
        self.own_fields("upstream_headers", site.upstream_headers.keys());
        self.host_field();
        self.request_id("request_id", site.request_id.as_ref());
        self.content(
            "",
            &Tables {
                request_headers: site.request_headers.as_ref(),
                response_headers: site.response_headers.as_ref(),
                cors: site.cors.as_ref(),
                compression: site.compression.as_ref(),
            },
        );
        self.caching("cache", &site.cache);
        self.access("").site(site);
        self.access("").purge(&site.cache);
        for (index, route) in site.route.iter().enumerate() {
            self.route(&format!("route[{index}]"), route);
        }
        self.shadows();
    }

    pub(super) fn error(&mut self, field: &str, value: Option<String>, message: impl Into<String>) {
        let path = if field.is_empty() {
            self.path.clone()
        } else {
            format!("{}.{field}", self.path)
        };
        self.faults.error(&path, value, message.into());
    }

    fn access(&mut self, field: &str) -> AccessCheck<'_> {
        let path = if field.is_empty() {
            self.path.clone()
        } else {
            format!("{}.{field}", self.path)
        };
        AccessCheck {
            path,
            faults: self.faults,
        }
    }

    pub(super) fn cluster(&mut self, field: &str, name: Option<&str>) {
        let Some(name) = name else { return };
        if self.names.contains(name) {
            return;
        }
        // Looking for what was meant takes a while; nobody reads hundreds of suggestions.
        let near = (self.faults.len() < MOST_SUGGESTIONS)
            .then(|| self.names.iter().filter(|known| is_near(known, name)).min())
            .flatten();
        let message = match near {
            Some(near) => format!("there is no such cluster; did you mean `{near}`?"),
            None => "there is no such cluster: define it as `[[cluster]]`".to_owned(),
        };
        self.error(field, Some(name.to_owned()), message);
    }

    fn route(&mut self, field: &str, route: &RouteConfig) {
        let path = route.path.to_string();
        if path.contains("//") {
            let message = "routes see slashes in a row as one: write one";
            self.error(&format!("{field}.path"), Some(path), message);
        }
        self.action(field, route);
        origins(
            self.config,
            &route.origin,
            &format!("{}.{field}.origin", self.path),
            self.faults,
        );
        self.cluster(&format!("{field}.cluster"), route.cluster.as_deref());
        if let Some(cache) = &route.cache {
            self.caching(&format!("{field}.cache"), cache);
        }
        let site = self.site;
        self.access(field).route(route, site);
        if let Some(cache) = &route.cache {
            self.access(field).purge(cache);
        }
        self.redirect(field, route);
        if let Some(respond) = &route.respond {
            self.own_fields(&format!("{field}.respond.headers"), respond.headers.keys());
        }
        self.files(field, route);
        self.gateway(field, route);
        self.request_id(&format!("{field}.request_id"), route.request_id.as_ref());
        self.content(
            &format!("{field}."),
            &Tables {
                request_headers: route.request_headers.as_ref(),
                response_headers: route.response_headers.as_ref(),
                cors: route.cors.as_ref(),
                compression: route.compression.as_ref(),
            },
        );
        self.route_balancing(field, route);
        self.route_content(field, route);
    }

    /// One thing at the most; with none the route goes where the site does.
    fn action(&mut self, field: &str, route: &RouteConfig) {
        let given = route.actions();
        match given[..] {
            [_] => {}
            [] if self.site.has_upstream() => {}
            [] => self.error(field, None, "the route does nothing: give it one of `origin`, `cluster`, `split`, `redirect`, `respond`, `files`, `consul_gateway`, or its site `origin` or `cluster`"),
            _ => self.error(field, Some(given.join(", ")), "a route does one thing: keep one of the actions named here and remove the others"),
        }
    }

    fn host_field(&mut self) {
        let host = self
            .site
            .upstream_headers
            .iter()
            .find(|(name, _)| name.as_str() == "host");
        if let Some((_, value)) = host {
            self.host_value("upstream_headers.host", value.as_str());
        }
    }

    /// Fields that say how a message is framed or where it goes next are made anew for every message.
    pub(super) fn own_fields<'k>(
        &mut self,
        field: &str,
        names: impl Iterator<Item = &'k HeaderTitle>,
    ) {
        for name in names.filter(|name| OURS.contains(&name.as_str())) {
            let message = "this field is made anew for every message and cannot be set";
            self.error(&format!("{field}.{name}"), Some(name.to_string()), message);
        }
    }

    /// An identifier does not stand in a field that means something else.
    fn request_id(&mut self, field: &str, request_id: Option<&RequestIdConfig>) {
        let Some(RequestIdConfig { header, .. }) = request_id else {
            return;
        };
        let name = header.as_str();
        if OURS.contains(&name) || matches!(name, "host" | "expect" | "traceparent") {
            let message =
                "this field means something else; use one of its own, such as x-request-id";
            self.error(&format!("{field}.header"), Some(name.to_owned()), message);
        }
    }

    fn redirect(&mut self, field: &str, route: &RouteConfig) {
        if let Some(redirect) = &route.redirect {
            self.template(field, "redirect.to", redirect.to.as_str(), route);
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
        let is_asked = self.site.route.iter().any(RouteConfig::inherits);
        if let Some(index) = whole.filter(|_| self.site.has_upstream() && !is_asked) {
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

/// Two slips of the finger apart at the most.
fn is_near(known: &str, name: &str) -> bool {
    known.len().abs_diff(name.len()) <= 2 && strsim::damerau_levenshtein(known, name) <= 2
}
