//! What the stations tell each other about a request.

use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::claims::Claims;
use super::trace_context::TraceId;
use crate::cache::{CacheOutcome, Peering, Scheme};
use crate::config::{Site, Snapshot};
use crate::downstream::{Activity, Connection};
use crate::error::Kind;
use crate::routing::Host;
use crate::server::Worker;
use crate::upstream::{Asked, Tried};

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
    /// The scheme the client used, as far as a trusted proxy before us says otherwise than our own connection.
    pub(crate) scheme: Scheme,
    /// When its header was complete.
    pub(crate) started: Instant,
    /// What the cache did.
    pub(crate) cache: CacheOutcome,
    /// Which endpoint answered it, and how long it took.
    pub(crate) asked: Option<Asked>,
    /// Which endpoints were asked for it, if it may be tried again.
    pub(crate) tried: Option<Arc<Tried>>,
    /// When the present try is over, if tries have a time of their own.
    pub(crate) due: Option<Instant>,
    /// What went wrong, if anything did.
    pub(crate) error: Option<Kind>,
    /// Whoever writes the response takes its header as lines too: nobody in between looks at it.
    pub(crate) writes_lines: bool,
    /// What it is called, if its route gives names.
    pub(crate) request_id: Option<HeaderValue>,
    /// The trace it belongs to, if its route takes part in traces.
    pub(crate) trace_id: Option<TraceId>,
    /// Its places among those served at the same time; given back with the last of these.
    pub(crate) places: Vec<Arc<OwnedSemaphorePermit>>,
    /// What the origin is told about who asks, if that is not among the request's fields.
    pub(crate) claims: Option<Arc<Claims>>,
    /// What its connection is doing, if it is one of our own.
    pub(crate) activity: Option<Arc<Activity>>,
    /// Who asks, as far as an access policy has found out.
    pub(crate) user: Option<Arc<str>>,
    /// The origin is told who asks: its answer may be for that user only.
    pub(crate) personal: bool,
    /// What it has to do with other edges.
    pub(crate) peering: Peering,
}

// === impl Context ===

impl Context {
    /// The same request continued in the background, after its client has been answered.
    pub(crate) fn detached(&self) -> Box<Self> {
        Box::new(Self {
            started: Instant::now(),
            activity: None,
            writes_lines: false,
            ..self.again()
        })
    }

    /// The same request with nothing done about it yet.
    pub(crate) fn again(&self) -> Self {
        Self {
            worker: Arc::clone(&self.worker),
            snapshot: Arc::clone(&self.snapshot),
            connection: Arc::clone(&self.connection),
            site: self.site.clone(),
            host: self.host.clone(),
            scheme: self.scheme,
            started: self.started,
            cache: CacheOutcome::default(),
            asked: None,
            tried: None,
            due: None,
            error: None,
            writes_lines: self.writes_lines,
            request_id: self.request_id.clone(),
            trace_id: self.trace_id,
            places: Vec::new(),
            claims: None,
            activity: self.activity.clone(),
            user: self.user.clone(),
            personal: self.personal,
            peering: self.peering.again(),
        }
    }

    /// Takes over what another one learned about the same request.
    pub(crate) fn learn(&mut self, other: Self) {
        *self = Self {
            started: self.started,
            ..other
        };
    }
}

#[cfg(any(test, feature = "testing"))]
impl Context {
    /// The context of a request for `http://a.example` from `192.0.2.1`, with an empty configuration.
    pub(crate) fn testing(
        clock: Arc<dyn crate::Clock>,
        store: Option<Arc<dyn crate::cache::CacheStore>>,
    ) -> Self {
        let worker = Worker::new(
            crate::server::Engine::testing(clock, store),
            0,
            crate::server::Drain::default(),
        );
        let (peer, local) = (([192, 0, 2, 1], 50_000).into(), ([192, 0, 2, 2], 80).into());
        Self {
            snapshot: worker.engine.live.now(),
            worker,
            connection: Arc::new(Connection::plain(peer, local)),
            site: None,
            host: Host::parse("a.example", Scheme::Http).expect("a host"),
            scheme: Scheme::Http,
            started: Instant::now(),
            cache: CacheOutcome::default(),
            asked: None,
            tried: None,
            due: None,
            error: None,
            writes_lines: false,
            request_id: None,
            trace_id: None,
            places: Vec::new(),
            claims: None,
            activity: None,
            user: None,
            personal: false,
            peering: Peering::default(),
        }
    }
}
