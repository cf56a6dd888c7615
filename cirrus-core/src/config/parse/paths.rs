//! Relative paths start at the configuration file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::model::{Config, FilesConfig, SiteConfig, UpstreamTlsConfig};

// === impl Config ===

impl Config {
    /// Makes the relative paths in it start at `base`, the directory of the configuration file.
    pub fn resolve_paths(&mut self, base: &Path) {
        let single = self
            .certificates
            .directory
            .iter_mut()
            .chain(&mut self.access_log.file);
        single.for_each(|path| resolve(path, base));
        // Only the sites that change are copied: the others stay the same `Arc`.
        for site in self.site.iter_mut().filter(|site| has_relative(site)) {
            let site = Arc::make_mut(site);
            tls_files(&mut site.upstream_tls).for_each(|path| resolve(path, base));
            let routes = site.route.iter_mut();
            routes
                .filter_map(|route| route.files.as_mut())
                .for_each(|files| resolve(&mut files.directory, base));
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

fn has_relative(site: &SiteConfig) -> bool {
    let relative = |files: &FilesConfig| files.directory.is_relative();
    has_relative_tls(&site.upstream_tls)
        || site
            .route
            .iter()
            .any(|route| route.files.as_ref().is_some_and(relative))
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
