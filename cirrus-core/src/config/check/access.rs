//! Access policies: complete, with files that can be read, and not at odds with each other.

use std::collections::BTreeMap;
use std::path::Path;

use super::site::OURS;
use crate::config::faults::Faults;
use crate::config::model::{
    AccessConfig, ApiKeysConfig, BasicAuthConfig, ForwardAuthConfig, JwtConfig, RouteConfig,
    SiteCacheConfig, SiteConfig,
};
use crate::config::value::HeaderTitle;
use crate::middleware::access::{jwks_fault, keys_fault, name_fault, users_fault};

/// The policies that stand in one table, a site or a route.
pub(super) struct AccessCheck<'a> {
    /// Where the table stands.
    pub(super) path: String,
    pub(super) faults: &'a mut Faults,
}

// === impl AccessCheck ===

impl AccessCheck<'_> {
    pub(super) fn site(&mut self, site: &SiteConfig) {
        self.tables(
            site.access.as_ref(),
            site.basic_auth.as_ref(),
            site.api_keys.as_ref(),
            site.jwt.as_ref(),
            site.forward_auth.as_ref(),
        );
        self.bearer(site.basic_auth.as_ref(), site.jwt.as_ref());
    }

    /// A route's own policies, and how they go together with those it takes from its site.
    pub(super) fn route(&mut self, route: &RouteConfig, site: &SiteConfig) {
        self.tables(
            route.access.as_ref(),
            route.basic_auth.as_ref(),
            route.api_keys.as_ref(),
            route.jwt.as_ref(),
            route.forward_auth.as_ref(),
        );
        if route.basic_auth.is_some() || route.jwt.is_some() {
            self.bearer(
                route.basic_auth.as_ref().or(site.basic_auth.as_ref()),
                route.jwt.as_ref().or(site.jwt.as_ref()),
            );
        }
    }

    /// Who may purge with the method PURGE.
    pub(super) fn purge(&mut self, cache: &SiteCacheConfig) {
        let Some(purge) = &cache.purge else { return };
        if purge.allow.is_empty() && purge.keys.is_empty() {
            let message = "anybody could purge: give it `allow`, `keys`, or both";
            self.error("cache.purge", None, message);
        }
        self.names("cache.purge.keys", purge.keys.keys());
    }

    fn tables(
        &mut self,
        access: Option<&AccessConfig>,
        basic: Option<&BasicAuthConfig>,
        keys: Option<&ApiKeysConfig>,
        jwt: Option<&JwtConfig>,
        forward: Option<&ForwardAuthConfig>,
    ) {
        if access.is_some_and(|access| access.allow.is_empty() && access.deny.is_empty()) {
            self.error(
                "access",
                None,
                "it says nothing: give it `allow`, `deny`, or both",
            );
        }
        // What is switched off may be incomplete.
        if let Some(basic) = basic.filter(|basic| basic.enable) {
            self.basic(basic);
        }
        if let Some(keys) = keys.filter(|keys| keys.enable) {
            self.keys(keys);
        }
        if let Some(jwt) = jwt.filter(|jwt| jwt.enable) {
            self.jwt(jwt);
        }
        if let Some(forward) = forward.filter(|forward| forward.enable) {
            self.forward(forward);
        }
    }

    fn basic(&mut self, basic: &BasicAuthConfig) {
        if basic.users.is_empty() && basic.users_file.is_none() {
            self.error(
                "basic_auth",
                None,
                "nobody could come: give it `users`, a `users_file`, or both",
            );
        }
        self.names("basic_auth.users", basic.users.keys());
        self.file(
            "basic_auth.users_file",
            basic.users_file.as_deref(),
            users_fault,
        );
        self.fields("basic_auth.user_header", &basic.user_header);
    }

    fn keys(&mut self, keys: &ApiKeysConfig) {
        if keys.keys.is_empty() && keys.keys_file.is_none() {
            self.error(
                "api_keys",
                None,
                "nobody could come: give it `keys`, a `keys_file`, or both",
            );
        }
        if keys.header.is_some() && keys.query.is_some() {
            let shown = keys.query.clone();
            self.error(
                "api_keys.query",
                shown,
                "a key stands in a `header` or in the `query`, not in both",
            );
        }
        self.named("api_keys.query", keys.query.as_deref());
        self.names("api_keys.keys", keys.keys.keys());
        self.file("api_keys.keys_file", keys.keys_file.as_deref(), keys_fault);
        self.fields("api_keys.header", &keys.header);
        self.fields("api_keys.user_header", &keys.user_header);
    }

    fn jwt(&mut self, jwt: &JwtConfig) {
        match &jwt.jwks_file {
            None => self.error(
                "jwt",
                None,
                "the key `jwks_file` is required here and missing",
            ),
            Some(path) => self.file("jwt.jwks_file", Some(path), jwks_fault),
        }
        if jwt.algorithms.is_empty() {
            self.error(
                "jwt.algorithms",
                None,
                "no token could be valid: leave it out, or name at least one",
            );
        }
        if jwt.cookie.is_some() && jwt.query.is_some() {
            let shown = jwt.query.clone();
            self.error(
                "jwt.query",
                shown,
                "a token stands in a `cookie` or in the `query`, not in both",
            );
        }
        self.named("jwt.cookie", jwt.cookie.as_deref());
        self.named("jwt.query", jwt.query.as_deref());
        self.claims(&jwt.claims_to_headers);
    }

    fn claims(&mut self, told: &BTreeMap<String, HeaderTitle>) {
        let mut seen = Vec::new();
        for (claim, name) in told {
            let field = format!("jwt.claims_to_headers.{claim}");
            self.fields(&field, [name]);
            if seen.contains(&name) {
                let message = "another claim has this field already: each needs one of its own";
                self.error(&field, Some(name.to_string()), message);
            }
            seen.push(name);
        }
    }

    fn forward(&mut self, forward: &ForwardAuthConfig) {
        if forward.url.is_none() {
            self.error(
                "forward_auth",
                None,
                "the key `url` is required here and missing",
            );
        }
        if forward.timeout.is_zero() {
            let shown = Some(forward.timeout.to_string());
            self.error(
                "forward_auth.timeout",
                shown,
                "0 is not allowed here: write at least \"1ms\"",
            );
        }
        self.listed("forward_auth.request_headers", &forward.request_headers);
        self.listed("forward_auth.response_headers", &forward.response_headers);
        if let Some(name) = &forward.user_header
            && !forward.response_headers.contains(name)
        {
            let message = "not among `response_headers`: add it there";
            self.error("forward_auth.user_header", Some(name.to_string()), message);
        }
    }

    /// One field cannot hold both.
    fn bearer(&mut self, basic: Option<&BasicAuthConfig>, jwt: Option<&JwtConfig>) {
        let reads = |jwt: &JwtConfig| jwt.enable && jwt.cookie.is_none() && jwt.query.is_none();
        if basic.is_some_and(|basic| basic.enable) && jwt.is_some_and(reads) {
            let message = "`basic_auth` and `jwt` both read `Authorization`, so nobody could pass both: \
                           give `jwt` a `cookie` or a `query`, or switch one off with `enable = false`";
            self.error("jwt", None, message);
        }
    }

    fn names<'k>(&mut self, field: &str, names: impl Iterator<Item = &'k String>) {
        for name in names {
            if let Some(fault) = name_fault(name) {
                self.error(field, Some(name.clone()), fault);
            }
        }
    }

    /// The name of a cookie or a query parameter.
    fn named(&mut self, field: &str, name: Option<&str>) {
        if let Some(name) = name.filter(|name| name.is_empty()) {
            let message = "empty: a name of at least one character is allowed";
            self.error(field, Some(name.to_owned()), message);
        }
    }

    fn file(&mut self, field: &str, path: Option<&Path>, fault: fn(&Path) -> Option<String>) {
        let Some(path) = path else { return };
        if let Some(fault) = fault(path) {
            self.error(field, Some(path.display().to_string()), fault);
        }
    }

    fn listed(&mut self, field: &str, names: &[HeaderTitle]) {
        for (index, name) in names.iter().enumerate() {
            self.fields(&format!("{field}[{index}]"), [name]);
        }
    }

    /// Fields that say where a message goes or how it is framed are not for policies to set or to copy.
    fn fields<'n>(&mut self, field: &str, names: impl IntoIterator<Item = &'n HeaderTitle>) {
        let ours = |name: &&HeaderTitle| OURS.contains(&name.as_str()) || name.as_str() == "host";
        for name in names.into_iter().filter(ours) {
            let message = "this field is made anew for every message and cannot be used here";
            self.error(field, Some(name.to_string()), message);
        }
    }

    fn error(&mut self, field: &str, value: Option<String>, message: impl Into<String>) {
        self.faults
            .error(format!("{}.{field}", self.path), value, message.into());
    }
}
