//! Where a route's requests go: to one cluster or several, once or again, copied or not.

use std::sync::Arc;

use super::balance::Selection;
use super::cluster::Cluster;
use super::forward::Forward;
use super::mirror::{Mirror, Mirroring};
use super::retry::{self, Retry};
use super::split::Split;
use crate::config::SplitKey;
use crate::middleware::Stack;

/// See the module.
#[derive(Debug)]
pub(crate) struct Target {
    /// With their shares.
    pub(crate) clusters: Vec<Part>,
    pub(crate) by: SplitKey,
    pub(crate) mirror: Option<Arc<Mirroring>>,
}

/// One of the clusters.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) weight: u16,
    pub(crate) cluster: Arc<Cluster>,
    /// Those of its endpoints that are asked; by default all.
    pub(crate) selection: Option<Arc<Selection>>,
    pub(crate) retry: Option<Arc<retry::Rules>>,
}

// === impl Target ===

impl Target {
    /// Whether clients are told their sessions.
    pub(crate) fn is_sticky(&self) -> bool {
        self.clusters.iter().any(|part| part.cluster.is_sticky())
    }

    /// What sends requests to the only cluster, if nothing else is to be done.
    pub(crate) fn plain(&self, is_bare: bool) -> Option<Forward> {
        match &*self.clusters {
            [only] if only.retry.is_none() && self.mirror.is_none() => {
                let forward = Forward::new(Arc::clone(&only.cluster), is_bare);
                Some(forward.of(only.selection.clone()))
            }
            _ => None,
        }
    }

    /// The same with whatever is to be done.
    pub(crate) fn stack(self, is_bare: bool) -> Stack {
        let mut parts = self.clusters;
        let stack = match parts.pop() {
            Some(only) if parts.is_empty() => only.stack(is_bare),
            last => {
                let parts = parts.into_iter().chain(last);
                let parts = parts.map(|part| (part.weight, part.stack(is_bare)));
                Stack::new(Split::new(self.by, parts))
            }
        };
        match self.mirror {
            Some(mirror) => Stack::new(Mirror::new(stack, mirror)),
            None => stack,
        }
    }
}

// === impl Part ===

impl Part {
    fn stack(self, is_bare: bool) -> Stack {
        let forward = Forward::new(self.cluster, is_bare).of(self.selection);
        match self.retry {
            Some(rules) => Stack::new(Retry::new(forward, rules)),
            None => Stack::new(forward),
        }
    }
}
