//! The policies of a route: its own, or else its site's.

use crate::config::model::{RouteConfig, SiteConfig};
use crate::middleware::Policies;

/// What is asked for around one route. A table in the route takes the place of the same table in the site, as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub(super) site: &'a SiteConfig,
    /// `None` where no route matches and the site's own origins answer.
    pub(super) route: Option<&'a RouteConfig>,
}

// === impl Written ===

impl Written<'_> {
    pub(super) fn policies(self) -> Policies {
        Policies {
            cors: self.cors(),
            response_headers: self.response_headers(),
        }
    }
}
