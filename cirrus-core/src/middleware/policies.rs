//! What a route asks for around its action: who may come, how often, and what is changed on the way.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tower_layer::Layer;

use super::access::{AccessLayer, Address, ApiKeys, BasicAuth, ForwardAuth, Jwt};
use super::cors::CorsLayer;
use super::headers::ResponseHeadersLayer;
use super::limit::{ConcurrencyLayer, DeadlineLayer, Gate, RateLimit, RateLimitLayer};
use super::rescue::RescueLayer;
use super::tls::HstsLayer;
use super::trace_context::TraceContextLayer;
use super::{Cors, Edits, Handler, RequestIdLayer, Stack};

/// The layers around a route, as far as they are asked for: what is not asked for costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(crate) deadline: Option<Duration>,
    pub(crate) concurrency: Option<Arc<Gate>>,
    pub(crate) rate_limits: Vec<RateLimit>,
    pub(crate) trace_context: bool,
    pub(crate) request_id: Option<RequestIdLayer>,
    pub(crate) guards: Guards,
    pub(crate) cors: Option<Cors>,
    pub(crate) hsts: Option<HeaderValue>,
    pub(crate) response_headers: Option<Edits>,
}

/// Who may come. Whoever passes all that are there has passed.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    pub(crate) access: Option<Arc<Address>>,
    pub(crate) basic_auth: Option<Arc<BasicAuth>>,
    pub(crate) api_keys: Option<Arc<ApiKeys>>,
    pub(crate) jwt: Option<Arc<Jwt>>,
    pub(crate) forward_auth: Option<Arc<ForwardAuth>>,
}

// === impl Policies ===

impl Policies {
    /// Whether responses go to the client as the route's action gives them: then the header of a cache hit need not be
    /// made into a map for anybody.
    pub(crate) fn leave_responses_alone(&self) -> bool {
        self.deadline.is_none()
            && self.request_id.is_none()
            && self.cors.is_none()
            && self.hsts.is_none()
            && self.response_headers.is_none()
    }

    /// Puts the layers around a route's stack, innermost first.
    pub(crate) fn around(self, stack: Stack) -> Stack {
        let rates = (!self.rate_limits.is_empty()).then(|| RateLimitLayer::new(self.rate_limits));
        let is_seen = self.cors.is_some() || self.hsts.is_some() || self.response_headers.is_some();
        stack
            // Around the cache: a fill goes on without the client, who has waited long enough.
            .under(self.deadline.map(DeadlineLayer::new))
            // Around the deadline, which then also ends what holds a place for too long.
            .under(self.concurrency.map(ConcurrencyLayer::new))
            // Above the cache, all of these: a stored response is for those only who may have it. Outside of the queue, in
            // which only they have a place. Innermost is what costs an exchange with another service.
            .under(self.guards.forward_auth.map(AccessLayer::new))
            .under(self.guards.jwt.map(AccessLayer::new))
            .under(self.guards.api_keys.map(AccessLayer::new))
            .under(self.guards.basic_auth.map(AccessLayer::new))
            // Before the guards: guessing is limited too. And before the queue: who asks too often must not take a place in it from others.
            .under(rates)
            // Outside of the rates, which those who may not come at all do not use up.
            .under(self.guards.access.map(AccessLayer::new))
            .under(self.trace_context.then_some(TraceContextLayer))
            // Refusals have an identifier too.
            .under(self.request_id)
            // What is refused below is a response from here on: it, too, has its header changed, and scripts may read it.
            .under(is_seen.then_some(RescueLayer))
            // Outside of everything that asks who somebody is: a preflight never says.
            .under(self.cors.map(CorsLayer::new))
            // Refusals too: browsers are to remember it whatever they are told.
            .under(self.hsts.map(HstsLayer))
            // Outermost: the last word on what a client sees.
            .under(self.response_headers.map(ResponseHeadersLayer))
    }
}

// === impl Stack ===

impl Stack {
    /// The stack with a layer around it, if there is one.
    fn under<L>(self, layer: Option<L>) -> Self
    where
        L: Layer<Self, Service: Handler>,
    {
        match layer {
            Some(layer) => Self::new(layer.layer(self)),
            None => self,
        }
    }
}
