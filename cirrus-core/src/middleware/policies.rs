//! What a route asks for around its action: who may come, how often, and what is changed on the way.

use std::sync::Arc;

use super::Stack;
use super::access::{AccessLayer, Address, ApiKeys, BasicAuth, Check, ForwardAuth, Jwt};

/// The layers around a route, as far as they are asked for: what is not asked for costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(crate) access: Option<Arc<Address>>,
    pub(crate) basic_auth: Option<Arc<BasicAuth>>,
    pub(crate) api_keys: Option<Arc<ApiKeys>>,
    pub(crate) jwt: Option<Arc<Jwt>>,
    pub(crate) forward_auth: Option<Arc<ForwardAuth>>,
}

// === impl Policies ===

impl Policies {
    /// Puts the layers around a route's stack, innermost first.
    pub(crate) fn around(self, stack: Stack) -> Stack {
        // Above the cache, all of them: a stored response is for those only who may have it.
        // Innermost of these, since it costs an exchange with another service.
        let stack = guarded(self.forward_auth, stack);
        let stack = guarded(self.jwt, stack);
        let stack = guarded(self.api_keys, stack);
        let stack = guarded(self.basic_auth, stack);
        // Outermost, since it costs nothing and nobody else need be let near a password.
        guarded(self.access, stack)
    }
}

fn guarded(policy: Option<Arc<impl Check>>, stack: Stack) -> Stack {
    use tower_layer::Layer;
    match policy {
        Some(policy) => Stack::new(AccessLayer::new(policy).layer(stack)),
        None => stack,
    }
}
