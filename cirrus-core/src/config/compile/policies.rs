//! The policies of a route: its own, or else its site's.

use super::access::Shared;
use super::tls::hsts;
use crate::config::RateKey;
use crate::config::model::{RateLimitConfig, RouteConfig, SiteConfig};
use crate::middleware::limit::{Buckets, Gate, RateLimit, States};
use crate::middleware::{Policies, RequestIdLayer};
use std::sync::Arc;

/// What is asked for around one route. A table in the route takes the place of the same table in the site, as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub(super) site: &'a SiteConfig,
    /// `None` where no route matches and the site's own origins answer.
    pub(super) route: Option<&'a RouteConfig>,
    pub(super) states: &'a States,
    /// The site's own guards, which its routes share.
    pub(super) shared: &'a Shared,
}

// === impl Written ===

impl<'a> Written<'a> {
    pub(super) fn policies(self) -> Policies {
        let Self { site, .. } = self;
        let deadline = self.own(|route| route.deadline).unwrap_or(site.deadline);
        let trace = self.own(|route| route.trace_context);
        let request_id = self.own(|route| route.request_id.as_ref());
        let request_id = request_id.or(site.request_id.as_ref());
        Policies {
            deadline: deadline.0.map(|limit| limit.as_duration()),
            concurrency: self.concurrency(),
            rate_limits: self.rate_limits(),
            trace_context: trace.unwrap_or(site.trace_context),
            request_id: request_id.map(RequestIdLayer::new),
            guards: self.guards(),
            cors: self.cors(),
            hsts: site
                .tls
                .as_ref()
                .and_then(|tls| tls.hsts.as_ref())
                .map(hsts),
            response_headers: self.response_headers(),
        }
    }

    /// The largest body of a request.
    pub(super) fn max_body(self) -> Option<u64> {
        let own = self.own(|route| route.max_body);
        let bound = own.unwrap_or(self.site.max_body);
        bound.0.map(|most| most.bytes())
    }

    /// What the route itself says.
    fn own<T>(self, pick: impl FnOnce(&'a RouteConfig) -> Option<T>) -> Option<T> {
        self.route.and_then(pick)
    }

    fn rate_limits(self) -> Vec<RateLimit> {
        let (limits, place): (&[RateLimitConfig], _) =
            match self.own(|route| route.rate_limit.as_ref()) {
                Some(own) => (own, self.place()),
                None => (&self.site.rate_limit, String::new()),
            };
        let limits = limits.iter().enumerate();
        limits
            .map(|(index, limit)| {
                let name = self.state_name(&place, index, limit);
                let make = || Buckets::new(limit.rate, limit.burst(), entries(limit));
                RateLimit {
                    key: limit.key.clone(),
                    buckets: self.states.rates.of(name, make),
                }
            })
            .collect()
    }

    fn concurrency(self) -> Option<Arc<Gate>> {
        let (limit, place) = match self.own(|route| route.concurrency.as_ref()) {
            Some(own) => (own, self.place()),
            None => (self.site.concurrency.as_ref()?, String::new()),
        };
        let name = self.state_name(&place, 0, limit);
        Some(self.states.gates.of(name, || Gate::new(limit)))
    }

    /// What a state is for: the same limit in the same place goes on with what it has counted. All routes of a site that
    /// have no limit of their own share the site's.
    fn state_name(self, place: &str, index: usize, limit: &impl std::fmt::Debug) -> String {
        // No other site has this host; names may be given twice.
        let site = self.site.hosts.first();
        format!("{site:?} {place} {index} {limit:?}")
    }

    /// A route is known by what it matches, so that others may be written before it.
    fn place(self) -> String {
        self.route.map_or_else(String::new, |route| {
            let RouteConfig {
                path,
                methods,
                headers,
                query,
                ..
            } = route;
            format!("{path:?} {methods:?} {headers:?} {query:?}")
        })
    }
}

/// One bucket for all takes no table.
fn entries(limit: &RateLimitConfig) -> u32 {
    match limit.key {
        RateKey::Route => 1,
        _ => limit.entries,
    }
}
