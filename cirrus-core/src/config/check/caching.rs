//! What the cache tells requests apart by, and which it leaves alone.

use super::site::SiteCheck;
use crate::config::model::{CacheKeyConfig, SiteCacheConfig};
use crate::config::value::Period;
use crate::routing::{HostPattern, PathPattern};

// === impl SiteCheck ===

impl SiteCheck<'_> {
    /// `field` is the table's place in the site.
    pub(super) fn caching(&mut self, field: &str, cache: &SiteCacheConfig) {
        let key = &cache.key;
        if key.query.keep.is_some() && key.query.drop.is_some() {
            let message = "give `keep` or `drop`, not both: what is not kept is dropped";
            self.error(&format!("{field}.key.query"), None, message);
        }
        self.key_parts(&format!("{field}.key"), key);
        if let Some(host) = &key.host {
            self.key_host(&format!("{field}.key.host"), host);
        }
        for (index, path) in cache.bypass.paths.iter().enumerate() {
            self.bypass_path(&format!("{field}.bypass.paths[{index}]"), path);
        }
        if cache.lock_timeout.is_some_and(Period::is_zero) {
            let message = "0 is not allowed here: write at least \"1ms\"";
            self.error(
                &format!("{field}.lock_timeout"),
                Some("0s".to_owned()),
                message,
            );
        }
    }

    fn key_parts(&mut self, field: &str, key: &CacheKeyConfig) {
        for (index, name) in key.headers.iter().enumerate() {
            let name = name.as_str();
            if name == "host" || is_rewritten(name) {
                let message = "this field is written anew on the way to the origin, from what is in the key already \
                               or differs with every client: it cannot be part of the key";
                let field = format!("{field}.headers[{index}]");
                self.error(&field, Some(name.to_owned()), message);
            }
        }
        for (index, name) in key.cookies.iter().enumerate() {
            if !is_token(name) {
                let message = "not the name of a cookie, which is exact here: letters, digits and \
                               !#$%&'+-.^_`|~ are allowed";
                let field = format!("{field}.cookies[{index}]");
                self.error(&field, Some(name.clone()), message);
            }
        }
    }

    /// Only a host that no other site can have: two sites' responses must never meet under one name.
    fn key_host(&mut self, field: &str, host: &HostPattern) {
        if host.as_exact().is_none() || !self.site.hosts.contains(host) {
            let message =
                "this must be one of the site's own `hosts`, written out there without a star";
            self.error(field, Some(host.to_string()), message);
        }
    }

    fn bypass_path(&mut self, field: &str, path: &PathPattern) {
        if path.to_string().contains("//") {
            let message = "slashes in a row are seen as one: write one";
            self.error(field, Some(path.to_string()), message);
        }
    }
}

fn is_rewritten(name: &str) -> bool {
    matches!(name, "forwarded" | "via" | "cdn-loop" | "x-real-ip")
        || name.starts_with("x-forwarded-")
}

/// RFC 6265 §4.1.1, but for the star: whoever writes one means many cookies, which have no order for a key.
fn is_token(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_letter)
}
