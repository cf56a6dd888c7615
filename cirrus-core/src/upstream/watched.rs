//! What a cluster learns from its traffic.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::cluster::{Backend, Cluster};
use crate::body::{Body, Response};
use crate::error::{BoxError, Error, Kind};
use crate::health::{Cause, Checks, Pass};
use crate::server::Worker;

/// A request on its way through a cluster.
#[derive(Debug)]
pub(super) struct Passage {
    pass: Option<Pass>,
}

/// A request that an endpoint is busy with.
pub(super) struct Held(Arc<Backend>);

/// A body with what is given back at its end.
struct Holding<T> {
    body: Body,
    _held: T,
}

// === impl Cluster ===

impl Cluster {
    /// Lets a request in.
    ///
    /// # Errors
    ///
    /// [`Kind::Overload`]: the circuit breaker is open, or there are too many.
    pub(super) fn admit(&self, checks: &Checks) -> Result<Passage, Error> {
        let pass = self.breaker().map(|breaker| breaker.enter()).transpose();
        let pass = pass.inspect_err(|_| checks.refused.add(1))?;
        Ok(Passage { pass })
    }

    /// Somebody wants to know how its endpoints do.
    pub(super) fn is_watched(&self) -> bool {
        self.rules.watching.is_some()
    }

    /// A request that an endpoint is busy with, if anybody wants to know.
    pub(super) fn held(&self, backend: &Arc<Backend>) -> Option<Held> {
        let holds = self.rules.watching.as_ref()?.holds;
        holds.then(|| Held::with(backend))
    }

    /// An endpoint has answered.
    pub(super) fn answered(
        &self,
        mut passage: Passage,
        backend: &Arc<Backend>,
        response: Response,
        took: Duration,
        checks: &Checks,
    ) -> Response {
        let Some(watching) = &self.rules.watching else {
            backend.health.succeeded();
            return response;
        };
        let status = response.status();
        let good = !status.is_server_error();
        passage.told(good);
        if watching.counts {
            backend.health.tally().record(good, took);
        }
        match watching.outliers.gateway_errors {
            Some(most) if is_gateway_error(status) => {
                if backend.health.gateway_error(most) {
                    self.eject(backend, Cause::GatewayErrors, checks);
                }
            }
            _ => backend.health.succeeded(),
        }
        let busy = self.held(backend);
        if busy.is_none() && passage.pass.is_none() {
            return response;
        }
        response.map(|body| hold(body, (busy, passage.pass)))
    }

    /// An endpoint could not be reached.
    pub(super) fn unreached(&self, backend: &Backend, error: &io::Error, worker: &Worker) {
        worker.cells.connect_failures.add(1);
        if self.rules.watching.as_ref().is_some_and(|one| one.counts) {
            backend.health.tally().record(false, self.rules.connect);
        }
        if backend.health.failed(self.rules.ejection) {
            worker.cells.ejections.add(1);
            worker.engine.checks.ejected(Cause::Failures);
            self.reckon();
            let time = backend.health.ejected_for();
            let (cluster, endpoint) = (&*self.name, backend.address());
            tracing::warn!(cluster, endpoint, %error, ?time, "ejected");
        }
    }

    /// An exchange with an endpoint came to nothing.
    pub(super) fn broke(&self, backend: &Backend, error: &Error, took: Duration, checks: &Checks) {
        let Some(watching) = &self.rules.watching else {
            return;
        };
        if !is_its_fault(error) {
            return;
        }
        if watching.counts {
            backend.health.tally().record(false, took);
        }
        if let Some(most) = watching.outliers.gateway_errors
            && backend.health.gateway_error(most)
        {
            self.eject(backend, Cause::GatewayErrors, checks);
        }
    }

    /// Leaves an endpoint out for its answers, unless too many are left out already.
    pub(crate) fn eject(&self, backend: &Backend, cause: Cause, checks: &Checks) {
        let Some(watching) = &self.rules.watching else {
            return;
        };
        if backend.health.ejected_for().is_some() {
            return;
        }
        let all = self.backends();
        let ejected = all.iter().filter(|one| one.health.ejected_for().is_some());
        let (cluster, endpoint) = (&*self.name, backend.address());
        if cause.is_capped() && !watching.outliers.has_room(ejected.count(), all.len()) {
            tracing::debug!(
                cluster,
                endpoint,
                cause = cause.word(),
                "too many are ejected already"
            );
            return;
        }
        let time = backend.health.eject(self.rules.ejection, cause);
        checks.ejected(cause);
        tracing::warn!(cluster, endpoint, cause = cause.word(), ?time, "ejected");
        self.reckon();
    }

    /// Finds out whether so few endpoints are up that all are asked.
    pub(crate) fn reckon(&self) {
        let threshold = self
            .rules
            .watching
            .as_ref()
            .map(|watching| watching.panic_threshold);
        let (all, up) = self.count();
        let panicking = threshold.is_some_and(|percent| up * 100 < all * usize::from(percent));
        if self.set_panicking(panicking) {
            let cluster = &*self.name;
            if panicking {
                tracing::warn!(
                    cluster,
                    up,
                    all,
                    "so few endpoints are up that all are asked"
                );
            } else {
                tracing::info!(cluster, up, all, "enough endpoints are up again");
            }
        }
    }
}

// === impl Held ===

impl Held {
    fn with(backend: &Arc<Backend>) -> Self {
        backend.health.begins();
        Self(Arc::clone(backend))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.health.ends();
    }
}

// === impl Passage ===

impl Passage {
    /// It was answered, or not.
    pub(super) fn told(&mut self, good: bool) {
        if let Some(pass) = &mut self.pass {
            pass.told(good);
        }
    }

    /// There is no answer.
    pub(super) fn failed(mut self, error: &Error) {
        if is_its_fault(error) || error.is_unsent() {
            self.told(false);
        }
    }
}

fn is_gateway_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

fn is_its_fault(error: &Error) -> bool {
    matches!(error.kind(), Kind::Exchange | Kind::Deadline)
}

// === impl Holding ===

/// Has a body keep something until it ends. Its header's lines stay with it.
fn hold<T: Send + Unpin + 'static>(mut body: Body, held: T) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let lines = body.take_lines();
    let holding = Body::stream(Holding { body, _held: held });
    match lines {
        Some(lines) => holding.with_lines(lines),
        None => holding,
    }
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = bytes::Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
