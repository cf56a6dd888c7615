//! What a route asks for around its action: who may come, how often, and what is changed on the way.

use tower_layer::Layer;

use super::cors::CorsLayer;
use super::headers::ResponseHeadersLayer;
use super::rescue::RescueLayer;
use super::{Cors, Edits, Stack};

/// The layers around a route, as far as they are asked for: what is not asked for costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(crate) cors: Option<Cors>,
    pub(crate) response_headers: Option<Edits>,
}

// === impl Policies ===

impl Policies {
    /// Puts the layers around a route's stack, innermost first.
    pub(crate) fn around(self, stack: Stack) -> Stack {
        let Self {
            cors,
            response_headers,
        } = self;
        let mut stack = stack;
        // What is refused below is a response from here on: it, too, has its header changed, and scripts may read it.
        if cors.is_some() || response_headers.is_some() {
            stack = Stack::new(RescueLayer.layer(stack));
        }
        // Outside of everything that asks who somebody is: a preflight never says.
        if let Some(cors) = cors {
            stack = Stack::new(CorsLayer::new(cors).layer(stack));
        }
        // Outermost: the last word on what a client sees.
        if let Some(edits) = response_headers {
            stack = Stack::new(ResponseHeadersLayer(edits).layer(stack));
        }
        stack
    }
}
