//! Which endpoints have been asked for one request, over all its tries.

use std::sync::Arc;

use parking_lot::Mutex;

use super::cluster::Backend;

/// See the module. Shared by tries that run beside each other.
#[derive(Debug, Default)]
pub(crate) struct Tried(Mutex<Vec<Arc<Backend>>>);

// === impl Tried ===

impl Tried {
    pub(super) fn note(&self, backend: &Arc<Backend>) {
        self.0.lock().push(Arc::clone(backend));
    }

    pub(super) fn all(&self) -> Vec<Arc<Backend>> {
        self.0.lock().clone()
    }
}
