//! What the stations tell each other about a request.

use std::sync::Arc;

use tokio::time::Instant;

use crate::cache::{CacheOutcome, Scheme};
use crate::config::{Site, Snapshot};
use crate::downstream::Connection;
use crate::routing::Host;
use crate::server::Worker;
use crate::upstream::Asked;

/// What is known about one request while it is served. One allocation; it lives until the response's last byte.
#[derive(Debug)]
#[non_exhaustive]
pub struct Context {
    /// The worker that serves it, with its pool and counters.
    pub(crate) worker: Arc<Worker>,
    /// The configuration it is served by, from beginning to end.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The connection it came on.
    pub(crate) connection: Arc<Connection>,
    /// The site of its host, once that is found.
    pub(crate) site: Option<Arc<Site>>,
    /// The host it is for: lower-case, with its port if that is not the scheme's own.
    pub(crate) host: Host,
    /// When its header was complete.
    pub(crate) started: Instant,
    /// What the cache did.
    pub(crate) cache: CacheOutcome,
    /// Which endpoint answered it, and when.
    pub(crate) asked: Option<Asked>,
}

// === impl Context ===

impl Context {
    /// The scheme the client used.
    pub(crate) fn scheme(&self) -> Scheme {
        self.connection.scheme
    }

    /// The same request continued in the background, after its client has been answered.
    pub(crate) fn detached(&self) -> Box<Self> {
        Box::new(Self {
            worker: Arc::clone(&self.worker),
            snapshot: Arc::clone(&self.snapshot),
            connection: Arc::clone(&self.connection),
            site: self.site.clone(),
            host: self.host.clone(),
            started: Instant::now(),
            cache: CacheOutcome::default(),
            asked: None,
        })
    }
}
