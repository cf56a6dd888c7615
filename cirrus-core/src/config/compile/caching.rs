//! Which requests are looked for in the store, and under which keys, as meant.

use std::sync::Arc;

use super::unchecked;
use crate::cache::{Bypass, Keying, Lookups, Parameters, Scheme};
use crate::config::model::{
    CacheBypassConfig, CacheKeyConfig, RequestCacheControl, SiteCacheConfig, SiteConfig,
};
use crate::routing::{Host, HostPattern};

/// What a route with this table says about its requests. `keyings` are those of its site.
pub(super) fn lookups(
    cache: &SiteCacheConfig,
    site: &SiteConfig,
    keyings: &Arc<[Keying]>,
) -> Arc<Lookups> {
    let defaults = Lookups::default();
    Arc::new(Lookups {
        keying: Some(keying(&cache.key, site)).filter(|keying| !keying.is_plain()),
        site_keyings: Arc::clone(keyings),
        bypass: (cache.bypass != CacheBypassConfig::default()).then(|| bypass(&cache.bypass)),
        ignores_control: cache.request_cache_control == RequestCacheControl::Ignore,
        lock_timeout: cache
            .lock_timeout
            .map_or(defaults.lock_timeout, |limit| limit.as_duration()),
        shows_key: cache.show_key,
    })
}

/// Every way but the plain one in which the site's routes make keys, each once.
pub(in crate::config) fn keyings(site: &SiteConfig) -> Arc<[Keying]> {
    let routes = site.route.iter().filter_map(|route| route.cache.as_ref());
    let mut keyings = Vec::new();
    let caches = routes.chain([&site.cache]);
    for cache in caches.filter(|cache| cache.enable && cache.key != CacheKeyConfig::default()) {
        let keying = keying(&cache.key, site);
        if !keying.is_plain() && !keyings.contains(&keying) {
            keyings.push(keying);
        }
    }
    keyings.into()
}

fn keying(config: &CacheKeyConfig, site: &SiteConfig) -> Keying {
    let parameters = match (&config.query.keep, &config.query.drop) {
        (Some(keep), _) => Parameters::Only(keep.as_slice().into()),
        (None, Some(drop)) => Parameters::AllBut(drop.as_slice().into()),
        (None, None) => Parameters::All,
    };
    let routed_by = site.route.iter().flat_map(|route| route.query.keys());
    Keying {
        parameters,
        is_sorted: config.sort_query,
        headers: config.headers.iter().map(|name| name.to_name()).collect(),
        cookies: config
            .cookies
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        host: config.host.as_ref().map(host),
        routed_by: routed_by.map(|name| name.as_str().into()).collect(),
    }
}

/// Without a port it is the same under both schemes.
fn host(pattern: &HostPattern) -> Host {
    let host = pattern
        .as_exact()
        .and_then(|name| Host::parse(name, Scheme::Http));
    host.unwrap_or_else(unchecked)
}

fn bypass(config: &CacheBypassConfig) -> Bypass {
    Bypass {
        methods: config
            .methods
            .iter()
            .map(|method| method.to_method())
            .collect(),
        paths: config.paths.as_slice().into(),
        headers: config.headers.iter().map(|name| name.to_name()).collect(),
        cookies: config.cookies.as_slice().into(),
        query: config.query.as_slice().into(),
    }
}
