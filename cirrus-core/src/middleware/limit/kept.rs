//! What outlives a change of the configuration: counts belong to a limit, not to the snapshot it was compiled into.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{Buckets, Gate};
use crate::downstream::tls::ClientAuth;
use crate::upstream::gateway::Gateway;

/// The state of every limit in use.
#[derive(Debug, Default)]
pub(crate) struct States {
    pub(crate) rates: Kept<Buckets>,
    pub(crate) gates: Kept<Gate>,
    /// The services that gateways have found.
    pub(crate) gateways: Kept<Gateway>,
    /// Whose certificates sites believe.
    pub(crate) client_auths: Kept<ClientAuth>,
}

/// Values by what they are for. One that nobody uses any more is forgotten.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    known: Mutex<HashMap<String, Weak<T>>>,
}

/// Fewer than this are not worth clearing up.
const FEW: usize = 64;

// === impl Kept ===

impl<T> Kept<T> {
    /// The value of this name: the one in use, or a new one.
    pub(crate) fn of(&self, name: String, make: impl FnOnce() -> T) -> Arc<T> {
        let mut known = self.known.lock();
        if let Some(kept) = known.get(&name).and_then(Weak::upgrade) {
            return kept;
        }
        // Before it would grow: so clearing up costs no more than growing.
        if known.len() >= FEW && known.len() == known.capacity() {
            known.retain(|_, kept| kept.strong_count() > 0);
        }
        let made = Arc::new(make());
        known.insert(name, Arc::downgrade(&made));
        made
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_while_it_is_used_and_no_longer() {
        let kept = Kept::default();
        let first = kept.of("a".to_owned(), || 1);
        assert!(Arc::ptr_eq(&first, &kept.of("a".to_owned(), || 2)));
        assert_eq!(*kept.of("b".to_owned(), || 3), 3);
        drop(first);
        assert_eq!(*kept.of("a".to_owned(), || 4), 4);
        for n in 0..10_000 {
            kept.of(n.to_string(), || n);
        }
        assert!(kept.known.lock().len() < 200);
    }
}
