//! Finds the endpoints of services.

mod endpoint;
pub(crate) mod feed;
pub(crate) mod follow;
pub(crate) mod guard;
mod labels;
mod record;
mod registry;
pub(crate) mod state;

pub use endpoint::{Endpoint, Endpoints, ServiceName, UnknownService};
pub use labels::Labels;
pub use registry::{Condition, Entries, Registry, RegistryError};

use std::sync::Arc;

use crate::Updates;
use crate::error::BoxError;

/// Finds the endpoints of a service.
///
/// Backends live in crates of their own. The engine drives the streams: it starts a watch again with back-off
/// when it ends, keeps the last good set through errors, and exports its age.
///
/// `cirrus_core::testing::discovery_suite!` checks a backend against this contract.
pub trait Discovery: Send + Sync + 'static {
    /// The present endpoints first, then the full set after each change.
    ///
    /// An error is an item, not the end. Endpoints keep their identity when weight or metadata change, so health,
    /// load and pooled connections survive an update. An empty set means "known, but nobody is there";
    /// an unknown service is an error, an [`UnknownService`]. Dropping the stream ends the watch.
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints>;

    /// Whether it makes sense to name this service: a matter of words alone, nobody is asked. By default everything does.
    ///
    /// # Errors
    ///
    /// What is wrong with the name, for whoever wrote the configuration.
    fn check(&self, service: &ServiceName) -> Result<(), BoxError> {
        let _ = service;
        Ok(())
    }
}

impl<D: Discovery + ?Sized> Discovery for Arc<D> {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        (**self).watch(service)
    }

    fn check(&self, service: &ServiceName) -> Result<(), BoxError> {
        (**self).check(service)
    }
}
