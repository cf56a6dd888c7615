//! A route asks only those of a cluster's endpoints that have certain labels.

use crate::discovery::{Endpoint, Labels};

/// Which endpoints a route asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// They have all of these.
    pub(crate) labels: Labels,
    /// All others are asked while none of them may be.
    pub(crate) or_any: bool,
}

// === impl Selection ===

impl Selection {
    pub(crate) fn has(&self, endpoint: &Endpoint) -> bool {
        endpoint.labels.include(&self.labels)
    }
}
