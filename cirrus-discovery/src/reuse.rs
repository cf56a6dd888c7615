//! Keeps the `Arc`s of what has not changed, so that the engine compiles only what has.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use cirrus_core::config::Config;

/// Lets `now` share its sites and clusters with `before` where they are equal.
pub(crate) fn keep_unchanged(now: &mut Config, before: &Config) {
    share(&mut now.site, &before.site, |site| site.hosts.first());
    share(&mut now.cluster, &before.cluster, |cluster| {
        Some(&cluster.name)
    });
}

/// Items keep their place more often than not; for the others there is an index by `key`.
fn share<T: PartialEq, K: Eq + Hash>(
    now: &mut [Arc<T>],
    before: &[Arc<T>],
    key: impl Fn(&T) -> Option<&K>,
) {
    let mut index = None;
    for (place, item) in now.iter_mut().enumerate() {
        let is_equal = |other: &&Arc<T>| Arc::ptr_eq(other, item) || ***other == **item;
        let same = before.get(place).filter(is_equal).or_else(|| {
            let index = index.get_or_insert_with(|| by_key(before, &key));
            key(item)
                .and_then(|k| index.get(k).copied())
                .filter(is_equal)
        });
        if let Some(same) = same {
            *item = Arc::clone(same);
        }
    }
}

fn by_key<T, K: Eq + Hash>(
    items: &[Arc<T>],
    key: impl Fn(&T) -> Option<&K>,
) -> HashMap<&K, &Arc<T>> {
    let entries = items.iter().filter_map(|item| Some((key(item)?, item)));
    entries.collect()
}

#[cfg(test)]
mod tests {
    use cirrus_core::config::Format;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Format::Toml).unwrap().0
    }

    #[test]
    fn equal_sites_and_clusters_are_shared_wherever_they_stand() {
        let before = config(
            r#"
            cluster = [{ name = "x", service = "s" }, { name = "y", service = "s" }]
            site = [{ hosts = ["a"] }, { hosts = ["b"] }, { hosts = ["c"] }, { }]
            "#,
        );
        let mut now = config(
            r#"
            cluster = [{ name = "y", service = "s" }, { name = "x", service = "t" }]
            site = [{ hosts = ["new"] }, { hosts = ["a"] }, { hosts = ["b"], cluster = "x" }, { }]
            "#,
        );
        let unshared = now.clone();
        keep_unchanged(&mut now, &before);
        assert_eq!(now, unshared, "what it says is the same");
        let is_old = |site| before.site.iter().any(|old| Arc::ptr_eq(old, site));
        let shared: Vec<bool> = now.site.iter().map(is_old).collect();
        assert_eq!(shared, [false, true, false, true]);
        assert!(Arc::ptr_eq(&now.cluster[0], &before.cluster[1]));
        assert!(!Arc::ptr_eq(&now.cluster[1], &before.cluster[0]));
    }
}
