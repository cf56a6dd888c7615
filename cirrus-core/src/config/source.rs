//! Where the configuration comes from.

use std::sync::Arc;

use super::Config;
use crate::Updates;

/// Where the configuration comes from.
///
/// Backends live in crates of their own. The engine drives the stream: it starts the watch again with back-off
/// when it ends, keeps the last good configuration through errors, and reports them.
///
/// `cirrus_core::testing::config_source_suite!` checks a backend against this contract.
pub trait ConfigSource: Send + Sync + 'static {
    /// The present configuration first, then every replacement, whole.
    ///
    /// An error is an item, not the end; a [`Faults`](super::Faults) in it is shown with its places.
    /// Unchanged sites are the same `Arc` (or at least equal), so that the engine recompiles only what changed.
    /// Dropping the stream ends the watch.
    fn watch(&self) -> Updates<Config>;
}

impl<S: ConfigSource + ?Sized> ConfigSource for Arc<S> {
    fn watch(&self) -> Updates<Config> {
        (**self).watch()
    }
}
