//! One worker: its pool, its counters, and the way from a request to its response.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::engine::Engine;
use super::supervise::{Drain, Tasks};
use crate::body::{Request, Response};
use crate::cache::{CacheOutcome, Peering};
use crate::downstream::{Activity, Connection, Counted};
use crate::error::Error;
use crate::metrics::Cells;
use crate::middleware::{Context, Handler, Record};
use crate::routing::Host;
use crate::upstream::Sessions;
use crate::upstream::pool::Pool;

/// What one worker has to itself.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) engine: Arc<Engine>,
    /// Which shard of the counters is its own.
    pub(crate) index: usize,
    pub(crate) pool: Arc<Pool>,
    /// Its HTTP/2 connections to origins.
    pub(crate) sessions: Sessions,
    pub(crate) cells: Arc<Cells>,
    /// The connections it serves, tunnels included.
    pub(crate) connections: Tasks,
    /// When these have to end.
    pub(crate) drain: Drain,
}

/// Who writes a response to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Our own codec, which takes header lines as they are.
    Lines,
    /// Somebody who knows header maps only.
    Map,
}

/// Room for one connection; gives it back however the connection ends.
#[derive(Debug)]
pub(crate) struct Admission {
    cells: Arc<Cells>,
    _permit: OwnedSemaphorePermit,
    /// Its client's count, unless it is not counted or not known yet.
    client: Option<Counted>,
}

// === impl Admission ===

impl Admission {
    #[cfg(test)]
    pub(crate) fn testing() -> Self {
        let permits = Arc::new(tokio::sync::Semaphore::new(1));
        Self {
            cells: Arc::default(),
            _permit: permits.try_acquire_owned().unwrap(),
            client: None,
        }
    }
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(engine: Arc<Engine>, index: usize, drain: Drain) -> Arc<Self> {
        let cells = Arc::clone(&engine.cells[index]);
        Arc::new(Self {
            engine,
            index,
            pool: Arc::default(),
            sessions: Sessions::new(drain.clone()),
            cells,
            connections: Tasks::default(),
            drain,
        })
    }

    /// Room for one more connection, if there is any.
    pub(crate) fn admit(&self) -> Option<Admission> {
        let permit = Arc::clone(&self.engine.permits).try_acquire_owned().ok()?;
        self.cells.accepted.add(1);
        Some(Admission {
            cells: Arc::clone(&self.cells),
            _permit: permit,
            client: None,
        })
    }

    /// Counts a connection as this client's, whose address is known by now. Whether the client has room for it.
    ///
    /// Proxies that are trusted bring the connections of many, and are not counted.
    pub(crate) fn count(&self, admission: &mut Admission, peer: IpAddr) -> bool {
        let live = self.engine.live.now();
        if live.trusts(peer) {
            return true;
        }
        let most = live.limits.connections_per_client;
        admission.client = self.engine.clients.count(peer, most);
        if admission.client.is_none() {
            self.cells.client_refused.add(1);
        }
        admission.client.is_some()
    }

    /// Answers one request of a connection that a watchdog looks after.
    pub(crate) fn answer(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        activity: &Arc<Activity>,
        writer: Writer,
        request: Box<Request>,
    ) -> impl Future<Output = Response> + Send + use<> {
        let (connection, activity) = (Arc::clone(connection), Arc::clone(activity));
        Arc::clone(self).serve(connection, Some(activity), writer, request)
    }

    /// Answers one request. The response's body tells the log and the counters when it has ended.
    pub(crate) async fn serve(
        self: Arc<Self>,
        connection: Arc<Connection>,
        activity: Option<Arc<Activity>>,
        writer: Writer,
        request: Box<Request>,
    ) -> Response {
        self.cells.requests.add(1);
        // The worker's own count: the engine's is shared by all.
        let worker = Arc::clone(&self);
        let engine = &worker.engine;
        let cx = Context {
            worker: self,
            snapshot: engine.live.now(),
            site: None,
            host: Host::unknown(),
            scheme: connection.scheme,
            connection,
            started: Instant::now(),
            cache: CacheOutcome::default(),
            asked: None,
            tried: None,
            due: None,
            error: None,
            writes_lines: writer == Writer::Lines,
            request_id: None,
            trace_id: None,
            places: Vec::new(),
            claims: None,
            activity,
            user: None,
            personal: false,
            peering: Peering::default(),
        };
        let head = *request.method() == http::Method::HEAD;
        let mut record = Record::new(cx, &request);
        let response = engine.front.handle(record.context(), request).await;
        let response = response.unwrap_or_else(|error| unreachable_error(&error));
        record.attach(if head {
            without_content(response)
        } else {
            response
        })
    }
}

/// What answers HEAD says how long the content would be, and has none (RFC 9110 §9.3.2). Here for every codec, an
/// embedder's too.
fn without_content(mut response: Response) -> Response {
    use http_body::Body as _;
    let length = response.body().size_hint().exact();
    if let Some(length) = length.filter(|_| !response.body().is_end_stream()) {
        let length = http::HeaderValue::from(length);
        response
            .headers_mut()
            .entry(http::header::CONTENT_LENGTH)
            .or_insert(length);
    }
    response.map(|_| crate::Body::empty())
}

/// The rescue layer leaves no error; should it, the client gets a plain 500 and the log says why.
fn unreachable_error(error: &Error) -> Response {
    tracing::error!(%error, "an error escaped");
    let mut response = Response::default();
    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    response
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.cells.closed.add(1);
    }
}
