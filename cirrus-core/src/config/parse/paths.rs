//! Relative paths start at the configuration file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::model::{Config, FilesConfig, SiteConfig};

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
            let routes = Arc::make_mut(site).route.iter_mut();
            routes
                .filter_map(|route| route.files.as_mut())
                .for_each(|files| resolve(&mut files.directory, base));
        }
    }
}

fn resolve(path: &mut PathBuf, base: &Path) {
    // Joining an absolute path gives that path.
    *path = base.join(&*path);
}

fn has_relative(site: &SiteConfig) -> bool {
    let relative = |files: &FilesConfig| files.directory.is_relative();
    site.route
        .iter()
        .any(|route| route.files.as_ref().is_some_and(relative))
}
