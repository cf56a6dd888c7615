//! What can be told from the configuration alone.

use http::StatusCode;
use serde_json::Value;

use super::question::Question;
use super::report::{ExplainedPolicy, ExplainedRoute, Explanation, Refused};
use crate::body::Request;
use crate::cache::{Lookup, Passage};
use crate::config::{OriginConfig, RouteConfig, Site, SiteConfig, Snapshot, SplitConfig};
use crate::downstream::{Connection, hygiene};
use crate::error::{Error, Kind};
use crate::middleware::seen_path;
use crate::routing::{Found, Host};

/// Tables of a route that are no policies: what it matches, what it does, and what is told by itself.
const NO_POLICIES: [&str; 13] = [
    "path",
    "methods",
    "headers",
    "query",
    "origin",
    "cluster",
    "split",
    "split_by",
    "consul_gateway",
    "redirect",
    "respond",
    "files",
    "cache",
];

/// What is known so far.
pub(super) struct Seen {
    pub(super) explanation: Explanation,
    /// What is looked for in the store.
    pub(super) lookup: Option<Lookup>,
}

// === impl Seen ===

impl Seen {
    pub(super) fn of(snapshot: &Snapshot, question: &Question) -> Self {
        let mut seen = Self {
            explanation: Explanation {
                request: format!("{} {}", question.method, question.url()),
                ..Explanation::default()
            },
            lookup: None,
        };
        if let Err(error) = seen.look(snapshot, question) {
            seen.refuse(&error);
        }
        seen
    }

    fn refuse(&mut self, error: &Error) {
        let (status, reason) = (error.status(), error.to_string());
        self.explanation.verdict = format!("answered here: {} ({reason})", shown(status));
        self.explanation.refused = Some(Refused {
            status: status.as_u16(),
            reason,
        });
    }

    fn look(&mut self, snapshot: &Snapshot, question: &Question) -> Result<(), Error> {
        let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let connection = Connection::plain(nowhere, nowhere);
        let (request, host) =
            hygiene::admit(question.request(), &connection, question.scheme, None)?;
        let site = snapshot.hosts.lookup(host.name()).ok_or(Kind::NoSite)?;
        self.explanation.site = Some(site.name.to_string());
        let route = route(site, &request)?;
        let config = site.config();
        self.explanation.route = Some(explained(config, route));
        self.explanation.policies = policies(config, route.map(|(_, route)| route));
        self.cache(
            site,
            route.map(|(_, route)| route),
            question,
            &host,
            *request,
        );
        Ok(())
    }

    fn cache(
        &mut self,
        site: &Site,
        route: Option<&RouteConfig>,
        question: &Question,
        host: &Host,
        request: Request,
    ) {
        let action = self
            .explanation
            .route
            .as_ref()
            .map(|route| route.action.clone());
        let action = action.unwrap_or_default();
        if route.is_some_and(RouteConfig::answers_here) {
            self.explanation.verdict = format!("answered here: {action}");
            return;
        }
        let rules = site.cache_rules(route);
        let passage = Passage::of(&rules, question.scheme, host, request);
        self.explanation.verdict = match passage.explained.intent {
            "lookup" => format!("answered from the cache, else by {action}"),
            _ => format!("answered by {action}"),
        };
        self.explanation.cache = Some(passage.explained);
        self.lookup = passage.lookup;
    }
}

/// The route that takes a request, and its place.
fn route<'s>(site: &'s Site, request: &Request) -> Result<Option<(usize, &'s RouteConfig)>, Error> {
    let uri = request.uri();
    let path = seen_path(uri.path());
    let (method, headers) = (request.method(), request.headers());
    match site.table.lookup(method, &path, uri.query(), headers) {
        // The site's own origins stand behind the last route.
        Found::Route { index, .. } => {
            Ok(site.config().route.get(index).map(|route| (index, route)))
        }
        Found::MethodNotAllowed(_) => Err(Kind::MethodNotAllowed.into()),
        Found::None => Err(Kind::NoRoute.into()),
    }
}

fn explained(site: &SiteConfig, route: Option<(usize, &RouteConfig)>) -> ExplainedRoute {
    ExplainedRoute {
        index: route.map(|(index, _)| index),
        path: route.map_or("*".to_owned(), |(_, route)| route.path.to_string()),
        action: match route {
            Some((_, route)) if !route.inherits() => action(route),
            _ => upstream(site.cluster.as_deref(), &site.origin),
        },
    }
}

fn action(route: &RouteConfig) -> String {
    if let Some(redirect) = &route.redirect {
        format!("redirect {} {}", redirect.status, redirect.to)
    } else if let Some(respond) = &route.respond {
        format!("respond {}", respond.status)
    } else if let Some(files) = &route.files {
        format!("files {}", files.directory.display())
    } else if route.consul_gateway.is_some() {
        "consul_gateway".to_owned()
    } else if !route.split.is_empty() {
        split(&route.split)
    } else {
        upstream(route.cluster.as_deref(), &route.origin)
    }
}

fn split(parts: &[SplitConfig]) -> String {
    let parts = parts.iter();
    let parts: Vec<_> = parts
        .map(|part| format!("{} ({})", part.cluster, part.weight))
        .collect();
    format!("split {}", parts.join(", "))
}

fn upstream(cluster: Option<&str>, origins: &[OriginConfig]) -> String {
    if let Some(name) = cluster {
        return format!("cluster {name}");
    }
    let urls: Vec<_> = origins
        .iter()
        .map(|origin| origin.url.to_string())
        .collect();
    format!("origin {}", urls.join(", "))
}

/// What of a site's and its route's tables holds: a route's takes the place of the site's.
fn policies(site: &SiteConfig, route: Option<&RouteConfig>) -> Vec<ExplainedPolicy> {
    let (site, plain) = (json(site), json(&SiteConfig::default()));
    let route = route.map(json).unwrap_or_default();
    let names = site.as_object().into_iter().flat_map(|site| site.keys());
    let mut names: Vec<_> = names
        .chain(route.as_object().into_iter().flat_map(|r| r.keys()))
        .collect();
    names.sort();
    names.dedup();
    let shared = |name: &str| is_policy_of_site(name);
    let policy = |name: &String| {
        let from = match (&route[name], &site[name]) {
            (own, _) if !own.is_null() => is_on(own).then_some("route"),
            (_, of_site) if shared(name) => {
                (*of_site != plain[name] && is_on(of_site)).then_some("site")
            }
            _ => None,
        };
        from.map(|from| ExplainedPolicy {
            name: name.clone(),
            from,
        })
    };
    let names = names
        .into_iter()
        .filter(|name| !NO_POLICIES.contains(&name.as_str()));
    names.filter_map(policy).collect()
}

/// Whether it is about requests, and not about the site's origins or its names.
fn is_policy_of_site(name: &str) -> bool {
    !matches!(
        name,
        "hosts"
            | "name"
            | "route"
            | "protocol"
            | "timeouts"
            | "health"
            | "upstream_tls"
            | "pool"
            | "upstream_proxy_protocol"
    )
}

/// `[]`, `false` and `{ enable = false }` lift what the site says.
fn is_on(table: &Value) -> bool {
    match table {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => fields.get("enable") != Some(&Value::Bool(false)),
        Value::String(text) => text != "none",
        _ => true,
    }
}

fn json(table: &impl serde::Serialize) -> Value {
    serde_json::to_value(table).unwrap_or_default()
}

fn shown(status: StatusCode) -> String {
    status.to_string()
}
