//! What a route asks for around its action: who may come, how often, and what is changed on the way.

use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::limit::{
    BodySizeLayer, ConcurrencyLayer, DeadlineLayer, Gate, RateLimit, RateLimitLayer,
};
use super::trace_context::TraceContextLayer;
use super::{Handler, RequestIdLayer, Stack};

/// The layers around a route, as far as they are asked for: what is not asked for costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(crate) max_body: Option<u64>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) concurrency: Option<Arc<Gate>>,
    pub(crate) rate_limits: Vec<RateLimit>,
    pub(crate) trace_context: bool,
    pub(crate) request_id: Option<RequestIdLayer>,
}

// === impl Policies ===

impl Policies {
    /// Puts the layers around a route's stack, innermost first.
    pub(crate) fn around(self, stack: Stack) -> Stack {
        let rates = (!self.rate_limits.is_empty()).then(|| RateLimitLayer::new(self.rate_limits));
        stack
            .under(self.max_body.map(BodySizeLayer::new))
            // Around the cache: a fill goes on without the client, who has waited long enough.
            .under(self.deadline.map(DeadlineLayer::new))
            // Around the deadline, which then also ends what holds a place for too long.
            .under(self.concurrency.map(ConcurrencyLayer::new))
            // Before the queue: who asks too often must not take a place in it from others.
            .under(rates)
            .under(self.trace_context.then_some(TraceContextLayer))
            // Outermost: refusals have an identifier too.
            .under(self.request_id)
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
