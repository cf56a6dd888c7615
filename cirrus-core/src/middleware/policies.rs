//! What a route asks for around its action: who may come, how often, and what is changed on the way.

use super::Stack;

/// The layers around a route, as far as they are asked for: what is not asked for costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Policies {}

// === impl Policies ===

impl Policies {
    /// Puts the layers around a route's stack, innermost first.
    pub(crate) fn around(self, stack: Stack) -> Stack {
        let Self {} = self;
        stack
    }
}
