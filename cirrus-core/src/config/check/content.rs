//! What is changed on the way: only what may be changed, and only where there is something to change.

use super::site::{OURS, SiteCheck};
use crate::cache::Scheme;
use crate::config::model::{
    CompressionConfig, CorsConfig, HeaderEditsConfig, RewriteConfig, RouteConfig,
};
use crate::routing::{Host, PathPattern, Template};

/// Fields that a request must have exactly once, or that end a loop: they can be set, and nothing else.
const ONCE: [&str; 2] = ["host", "cdn-loop"];

/// The tables that a site and its routes may both have.
pub(super) struct Tables<'a> {
    pub(super) request_headers: Option<&'a HeaderEditsConfig>,
    pub(super) response_headers: Option<&'a HeaderEditsConfig>,
    pub(super) cors: Option<&'a CorsConfig>,
    pub(super) compression: Option<&'a CompressionConfig>,
}

// === impl SiteCheck ===

impl SiteCheck<'_> {
    /// `prefix` is empty or ends with a dot.
    pub(super) fn content(&mut self, prefix: &str, tables: &Tables<'_>) {
        if let Some(edits) = tables.request_headers {
            let field = format!("{prefix}request_headers");
            self.edits(&field, edits);
            self.request_edits(&field, edits);
        }
        if let Some(edits) = tables.response_headers {
            self.edits(&format!("{prefix}response_headers"), edits);
        }
        if let Some(cors) = tables.cors {
            self.cors(&format!("{prefix}cors"), cors);
        }
        if let Some(compression) = tables.compression {
            self.compression(&format!("{prefix}compression"), compression);
        }
    }

    /// What only a route can have, or have wrong.
    pub(super) fn route_content(&mut self, field: &str, route: &RouteConfig) {
        let has_origin = !route.answers_here() && route.consul_gateway.is_none();
        let is_gateway = route.consul_gateway.is_some();
        let nowhere = "this changes what an origin is asked for, and the route asks none: it needs `origin` or `cluster`";
        if route.request_headers.is_some() && !has_origin && !is_gateway {
            self.error(&format!("{field}.request_headers"), None, nowhere);
        }
        if route.rewrite.is_some() && !has_origin {
            self.error(&format!("{field}.rewrite"), None, nowhere);
        }
        if let Some(rewrite) = &route.rewrite {
            self.rewrite(field, rewrite, route);
        }
        let has_options = || {
            let mut methods = route.methods.iter().map(|method| method.to_method());
            methods.any(|method| method == http::Method::OPTIONS)
        };
        if route.cors.is_some() && !route.methods.is_empty() && !has_options() {
            let message = "preflights are OPTIONS requests, which this route does not match: add \"OPTIONS\" to `methods`";
            self.error(&format!("{field}.cors"), None, message);
        }
    }

    fn edits(&mut self, field: &str, edits: &HeaderEditsConfig) {
        self.own_fields(&format!("{field}.set"), edits.set.keys());
        self.own_fields(&format!("{field}.add"), edits.add.keys());
        for (index, name) in edits.remove.iter().enumerate() {
            if OURS.contains(&name.as_str()) {
                let message = "this field is made anew for every message and cannot be removed";
                let place = format!("{field}.remove[{index}]");
                self.error(&place, Some(name.to_string()), message);
            }
        }
    }

    fn request_edits(&mut self, field: &str, edits: &HeaderEditsConfig) {
        let added = edits
            .add
            .keys()
            .map(|name| (format!("{field}.add.{name}"), name));
        let removed = edits
            .remove
            .iter()
            .enumerate()
            .map(|(index, name)| (format!("{field}.remove[{index}]"), name));
        for (place, name) in added.chain(removed) {
            if ONCE.contains(&name.as_str()) {
                let message =
                    "a request has this field exactly once: it can be in `set`, and nowhere else";
                self.error(&place, Some(name.to_string()), message);
            }
        }
        let host = edits.set.iter().find(|(name, _)| name.as_str() == "host");
        if let Some((_, value)) = host {
            self.host_value(&format!("{field}.set.host"), value.as_str());
        }
    }

    /// A host that is none would be refused by every origin, or be worse than refused.
    pub(super) fn host_value(&mut self, field: &str, value: &str) {
        if Host::parse(value, Scheme::Http).is_none() {
            let message = "not a host: write a name or address, with a port if it needs one";
            self.error(field, Some(value.to_owned()), message);
        }
    }

    fn rewrite(&mut self, route_field: &str, rewrite: &RewriteConfig, route: &RouteConfig) {
        let field = &format!("{route_field}.rewrite");
        let RewriteConfig {
            strip_prefix,
            add_prefix,
            path,
        } = rewrite;
        match (strip_prefix.is_some() || add_prefix.is_some(), path) {
            (false, None) => {
                let message =
                    "the rewrite changes nothing: give it `strip_prefix`, `add_prefix` or `path`";
                self.error(field, None, message);
            }
            (true, Some(_)) => {
                let message = "`path` is the whole path: remove it, or the prefixes";
                self.error(field, None, message);
            }
            _ => {}
        }
        self.prefix(&format!("{field}.strip_prefix"), strip_prefix.as_ref());
        self.prefix(&format!("{field}.add_prefix"), add_prefix.as_ref());
        if let Some(path) = path {
            self.rewritten(route_field, path.as_str(), route);
        }
    }

    fn prefix(&mut self, field: &str, prefix: Option<&PathPattern>) {
        if let Some(prefix) = prefix.filter(|prefix| prefix.as_exact().is_none()) {
            let message = "a prefix is plain text without stars and parameters, such as \"/api\"";
            self.error(field, Some(prefix.to_string()), message);
        }
    }

    fn rewritten(&mut self, field: &str, path: &str, route: &RouteConfig) {
        let Some(template) = self.template(field, "rewrite.path", path, route) else {
            return;
        };
        if !path.starts_with(['/', '{']) {
            let message = "a path begins with \"/\", such as \"/v2{path}\"";
            self.error(
                &format!("{field}.rewrite.path"),
                Some(path.to_owned()),
                message,
            );
            return;
        }
        let example = template.render(|name| Some(if name == "path" { "/x" } else { "x" }));
        let fault = match example.parse::<PathPattern>() {
            Ok(pattern) if pattern.as_exact().is_some() => return,
            Ok(_) => "a rewritten path has no star".to_owned(),
            Err(error) => error.to_string(),
        };
        self.error(
            &format!("{field}.rewrite.path"),
            Some(path.to_owned()),
            fault,
        );
    }

    /// The template that is written there, if all its names can be filled in.
    pub(super) fn template(
        &mut self,
        route_field: &str,
        key: &str,
        text: &str,
        route: &RouteConfig,
    ) -> Option<Template> {
        let field = &format!("{route_field}.{key}");
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                self.error(field, Some(text.to_owned()), error.to_string());
                return None;
            }
        };
        let known: Vec<&str> = ["host", "path"]
            .into_iter()
            .chain(route.path.names())
            .collect();
        for name in template.names().filter(|name| !known.contains(name)) {
            let allowed: Vec<_> = known.iter().map(|name| format!("`{{{name}}}`")).collect();
            let message = format!(
                "nothing of that name can be filled in; allowed here: {}",
                allowed.join(", ")
            );
            self.error(field, Some(format!("{{{name}}}")), message);
        }
        let mut own = route.path.names();
        if let Some(name) = own.find(|name| matches!(*name, "host" | "path")) {
            let message =
                "`{host}` and `{path}` mean the request's own; give the parameter another name";
            let place = format!("{route_field}.path");
            self.error(&place, Some(name.to_owned()), message);
        }
        Some(template)
    }

    fn cors(&mut self, field: &str, cors: &CorsConfig) {
        if !cors.credentials {
            return;
        }
        let with = |what: &str| {
            format!("browsers take \"*\" for no wildcard beside `credentials`: name the {what}")
        };
        if cors.origins.iter().any(|origin| origin.is_any()) {
            let message = with("origins; \"*\" would let every site act as its visitors");
            self.error(&format!("{field}.origins"), Some("*".to_owned()), message);
        }
        for (key, names) in [("headers", &cors.headers), ("expose", &cors.expose)] {
            if names.iter().any(|name| name.as_str() == "*") {
                self.error(
                    &format!("{field}.{key}"),
                    Some("*".to_owned()),
                    with("header fields"),
                );
            }
        }
    }

    fn compression(&mut self, field: &str, compression: &CompressionConfig) {
        if compression.algorithms.is_empty() {
            let message = "without any there is nothing to compress with: write `enable = false` to turn it off";
            self.error(&format!("{field}.algorithms"), None, message);
        }
        for (index, coding) in compression.algorithms.iter().enumerate() {
            if compression.algorithms[..index].contains(coding) {
                let place = format!("{field}.algorithms[{index}]");
                self.error(&place, Some(coding.name().to_owned()), "stands here twice");
            }
        }
    }
}
