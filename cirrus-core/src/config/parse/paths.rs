//! Relative paths start at the configuration file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::model::{
    ApiKeysConfig, BasicAuthConfig, Config, JwtConfig, RouteConfig, SiteConfig, SiteTlsConfig,
    UpstreamTlsConfig,
};

// === impl Config ===

impl Config {
    /// Makes the relative paths in it start at `base`, the directory of the configuration file.
    pub fn resolve_paths(&mut self, base: &Path) {
        let single = self
            .certificates
            .directory
            .iter_mut()
            .chain(&mut self.certificates.local_ca)
            .chain(&mut self.access_log.file)
            .chain(self.cache.disk.as_mut().map(|disk| &mut disk.path))
            .chain(&mut self.discovery.state)
            .chain(&mut self.tls.ticket_secrets)
            .chain(
                self.registry
                    .iter_mut()
                    .flat_map(|registry| &mut registry.file),
            );
        single.for_each(|path| resolve(path, base));
        if let Some(acme) = &mut self.certificates.acme {
            acme.paths().for_each(|path| resolve(path, base));
        }
        if let Some(log) = &mut self.cache.purge_log {
            resolve(&mut log.file, base);
            log.position.iter_mut().for_each(|path| resolve(path, base));
        }
        if let Some(consul) = &mut self.consul {
            let files = [
                &mut consul.token_file,
                &mut consul.ca,
                &mut consul.certificate,
                &mut consul.key,
            ];
            let files = files.into_iter().flatten();
            files.for_each(|path| resolve(path, base));
        }
        let (etcd, redis) = (&mut self.discovery.etcd, &mut self.discovery.redis);
        let files = [
            &mut etcd.password_file,
            &mut etcd.ca,
            &mut etcd.certificate,
            &mut etcd.key,
            &mut redis.password_file,
            &mut redis.ca,
            &mut redis.certificate,
            &mut redis.key,
        ];
        let files = files.into_iter().flatten();
        files.for_each(|path| resolve(path, base));
        // Only the sites that change are copied: the others stay the same `Arc`.
        for site in self.site.iter_mut().filter(|site| has_relative(site)) {
            paths(Arc::make_mut(site)).for_each(|path| resolve(path, base));
        }
        let clusters = self.cluster.iter_mut();
        for cluster in clusters.filter(|cluster| has_relative_tls(&cluster.tls)) {
            tls_files(&mut Arc::make_mut(cluster).tls).for_each(|path| resolve(path, base));
        }
    }
}

fn resolve(path: &mut PathBuf, base: &Path) {
    // Joining an absolute path gives that path.
    *path = base.join(&*path);
}

fn tls_files(tls: &mut UpstreamTlsConfig) -> impl Iterator<Item = &mut PathBuf> {
    let UpstreamTlsConfig {
        ca,
        certificate,
        key,
        ..
    } = tls;
    [ca, certificate, key].into_iter().flatten()
}

fn has_relative_tls(tls: &UpstreamTlsConfig) -> bool {
    let files = [&tls.ca, &tls.certificate, &tls.key];
    files.into_iter().flatten().any(|path| path.is_relative())
}

fn has_relative_auth(site: &SiteConfig) -> bool {
    let auth = site.tls.as_ref().and_then(|tls| tls.client_auth.as_ref());
    let mut files = auth
        .iter()
        .flat_map(|auth| auth.crl.iter().chain([&auth.ca]));
    files.any(|path| path.is_relative())
}

/// The files of a site's clients' certificates.
fn auth_paths(tls: &mut Option<SiteTlsConfig>) -> impl Iterator<Item = &mut PathBuf> {
    let auth = tls.iter_mut().flat_map(|tls| &mut tls.client_auth);
    auth.flat_map(|auth| auth.crl.iter_mut().chain([&mut auth.ca]))
}

fn has_relative(site: &SiteConfig) -> bool {
    if has_relative_tls(&site.upstream_tls) || has_relative_auth(site) {
        return true;
    }
    let named = site.route.iter().map(Some).chain([None]);
    named.into_iter().any(|route| {
        let files = route.and_then(|route| route.files.as_ref());
        let files = files.map(|files| &files.directory);
        let gateway = route.and_then(|route| route.consul_gateway.as_ref());
        if gateway.is_some_and(|gateway| has_relative_tls(&gateway.tls)) {
            return true;
        }
        access_files(site, route)
            .chain(files)
            .any(|path| path.is_relative())
    })
}

/// The files of a route's access policies, or, without one, of its site's.
fn access_files<'a>(
    site: &'a SiteConfig,
    route: Option<&'a RouteConfig>,
) -> impl Iterator<Item = &'a PathBuf> {
    let (basic, keys, jwt) = match route {
        Some(route) => (&route.basic_auth, &route.api_keys, &route.jwt),
        None => (&site.basic_auth, &site.api_keys, &site.jwt),
    };
    let basic = basic.iter().flat_map(|basic| &basic.users_file);
    let keys = keys.iter().flat_map(|keys| &keys.keys_file);
    basic
        .chain(keys)
        .chain(jwt.iter().flat_map(|jwt| &jwt.jwks_file))
}

/// Every path in a site.
fn paths(site: &mut SiteConfig) -> impl Iterator<Item = &mut PathBuf> {
    let own = access_paths(&mut site.basic_auth, &mut site.api_keys, &mut site.jwt);
    let own = own.chain(tls_files(&mut site.upstream_tls));
    let own = own.chain(auth_paths(&mut site.tls));
    own.chain(site.route.iter_mut().flat_map(|route| {
        let files = route.files.iter_mut().map(|files| &mut files.directory);
        let gateway = route.consul_gateway.iter_mut().map(|one| &mut one.tls);
        access_paths(&mut route.basic_auth, &mut route.api_keys, &mut route.jwt)
            .chain(files)
            .chain(gateway.flat_map(tls_files))
    }))
}

fn access_paths<'a>(
    basic: &'a mut Option<BasicAuthConfig>,
    keys: &'a mut Option<ApiKeysConfig>,
    jwt: &'a mut Option<JwtConfig>,
) -> impl Iterator<Item = &'a mut PathBuf> {
    let basic = basic.iter_mut().flat_map(|basic| &mut basic.users_file);
    let keys = keys.iter_mut().flat_map(|keys| &mut keys.keys_file);
    basic
        .chain(keys)
        .chain(jwt.iter_mut().flat_map(|jwt| &mut jwt.jwks_file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;

    #[test]
    fn files_of_access_policies_start_at_the_configuration() {
        let toml = "[[site]]\nhosts = [\"*\"]\nbasic_auth = { users_file = \"u\", enable = false }\n\
                    [[site.route]]\nrespond = {}\n\
                    api_keys = { keys_file = \"k\", enable = false }\n\
                    jwt = { jwks_file = \"/j\", enable = false }\n";
        let (mut config, _) = Config::parse(toml, Format::Toml).unwrap();
        config.resolve_paths(Path::new("/etc/cirrus"));
        let site = &config.site[0];
        let found: Vec<_> = access_files(site, None)
            .chain(access_files(site, Some(&site.route[0])))
            .collect();
        assert_eq!(
            found,
            ["/etc/cirrus/u", "/etc/cirrus/k", "/j"].map(Path::new)
        );
        let before = Arc::clone(&config.site[0]);
        config.resolve_paths(Path::new("/elsewhere"));
        assert!(Arc::ptr_eq(&before, &config.site[0]), "nothing to change");
    }
}
