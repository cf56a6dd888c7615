//! Where a route's requests go, as meant.

use std::sync::Arc;

use super::{SiteParts, unchecked};
use crate::config::model::{MirrorConfig, RouteConfig, SubsetConfig, SubsetFallback};
use crate::config::value::SplitKey;
use crate::upstream::{Cluster, Mirroring, Part, RetryRules, Selection, Target};

// === impl SiteParts ===

impl SiteParts<'_> {
    /// To one cluster.
    pub(super) fn target(&mut self, route: Option<&RouteConfig>, cluster: Arc<Cluster>) -> Target {
        Target {
            clusters: vec![self.part(route, cluster, 1, None)],
            by: SplitKey::Random,
            mirror: self.mirror(route),
        }
    }

    /// To several.
    pub(super) fn split(&mut self, route: &RouteConfig) -> Target {
        let part = |one: &crate::config::SplitConfig| {
            let cluster = self.named(&one.cluster).unwrap_or_else(unchecked);
            self.part(Some(route), cluster, one.weight, one.subset.as_ref())
        };
        Target {
            clusters: route.split.iter().map(part).collect(),
            by: route.split_by.clone(),
            mirror: self.mirror(Some(route)),
        }
    }

    /// The route's own words about retries, or else the site's, or else the cluster's.
    fn part(
        &self,
        route: Option<&RouteConfig>,
        cluster: Arc<Cluster>,
        weight: u16,
        subset: Option<&SubsetConfig>,
    ) -> Part {
        let own = route.and_then(|route| route.retry.as_ref());
        let of_cluster = || self.clusters.get(&cluster.name)?.config.retry.as_ref();
        let written = own.or(self.config.retry.as_ref()).or_else(of_cluster);
        let rules = written.map(RetryRules::new);
        let of_route = route.and_then(|route| route.subset.as_ref());
        let subset = subset.or(of_route).or(self.config.subset.as_ref());
        Part {
            weight,
            selection: subset.map(selection),
            retry: rules.filter(|rules| !rules.is_plain()).map(Arc::new),
            cluster,
        }
    }

    fn mirror(&mut self, route: Option<&RouteConfig>) -> Option<Arc<Mirroring>> {
        let own = route.and_then(|route| route.mirror.as_ref());
        let config: &MirrorConfig = own.or(self.config.mirror.as_ref())?;
        if config.percent == 0 {
            return None;
        }
        let cluster = self.named(&config.cluster).unwrap_or_else(unchecked);
        Some(Arc::new(Mirroring::new(config, cluster)))
    }
}

fn selection(config: &SubsetConfig) -> Arc<Selection> {
    Arc::new(Selection {
        labels: config.labels.clone().into(),
        or_any: config.fallback == SubsetFallback::Any,
    })
}
