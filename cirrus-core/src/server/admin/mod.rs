//! The listener for operators: metrics, health, what is in force, and what they want done.

mod answer;
mod auth;
mod cache;
mod certificates;
mod clusters;
mod numbered;
mod prefetch;
mod purge;
mod registry;
mod request;
mod route;
mod status;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use self::answer::{Problem, json, text};
use self::auth::Auth;
use self::numbered::Verb;
pub(super) use self::prefetch::Prefetches;
use self::route::Action;
use super::engine::Engine;
use super::supervise::{Drain, Tasks};
use super::worker::Worker;
use crate::body::Response;
use crate::config::Status;
use crate::downstream::listen::Bound;
use crate::explain;

/// Connections at the same time; operators and their scrapers need few.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take for a header, and stay idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the admin listener tells about, and acts on.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) engine: Arc<Engine>,
    pub(crate) workers: Vec<Arc<Worker>>,
    pub(crate) status: Arc<Status>,
    pub(crate) prefetches: Prefetches,
    certificates: certificates::Jobs,
    auth: Auth,
    /// The service that is changed by number.
    legacy: Option<String>,
    drain: Drain,
}

// === impl State ===

impl State {
    pub(super) fn new(
        engine: Arc<Engine>,
        workers: Vec<Arc<Worker>>,
        status: Arc<Status>,
        prefetches: Prefetches,
        drain: Drain,
    ) -> Arc<Self> {
        let config = Arc::clone(&engine.live.now().config);
        let auth = Auth::new(config.admin.as_ref());
        let legacy = config.registry.as_ref();
        let legacy = legacy.and_then(|registry| registry.legacy.clone());
        Arc::new(Self {
            engine,
            workers,
            status,
            prefetches,
            certificates: certificates::Jobs::default(),
            auth,
            legacy,
            drain,
        })
    }

    async fn answer(&self, request: http::Request<Incoming>, peer: SocketAddr) -> Response {
        self.act(request, peer).await.unwrap_or_else(Response::from)
    }

    async fn act(
        &self,
        request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response, Problem> {
        let (head, body) = request.into_parts();
        let found = match self.numbered().and_then(|_| Verb::of(head.uri.path())) {
            Some(verb) => route::only_get(&head.method).map(|()| (Action::Number(verb), "")),
            None => route::find(&head.method, head.uri.path()),
        };
        // Whom nothing is told is not told either what there is.
        let action = found.as_ref().map_or(Action::Config, |(action, _)| *action);
        let who = self
            .auth
            .permit(action, &head.method, &head.headers, peer)?;
        let (action, id) = found?;
        match action {
            Action::Metrics => Ok(self.metrics()),
            Action::Health => Ok(text(StatusCode::OK, "ok\n")),
            Action::Ready => Ok(self.ready()),
            Action::Status => Ok(json(&self.status())),
            Action::Config => Ok(json(&self.config())),
            Action::Explain => match explain::answer(&self.engine, head.uri.query()).await {
                Ok(explanation) => Ok(json(&explanation)),
                Err(why) => Err(Problem::bad(why)),
            },
            Action::Clusters => Ok(self.clusters()),
            Action::Cluster => self.cluster(id),
            Action::Cache => self.cache(),
            Action::Lookup => self.lookup(head.uri.query()).await,
            Action::Purge => self.purge(&request::read(body).await?, &who).await,
            Action::Certificates => self.certificates(head.uri.query()),
            Action::Certificate => self.certificate(id).await,
            Action::CertificateJob => self.certificate_job(id),
            Action::CertificateIssue => self.certificate_issue(&request::read(body).await?, &who),
            Action::CertificateRenew => self.certificate_renew(&request::read(body).await?, &who),
            Action::CertificateRevoke => self.certificate_revoke(&request::read(body).await?, &who),
            Action::CertificateImport => {
                let body = request::read(body).await?;
                self.certificate_import(&body, &who).await
            }
            Action::CertificateExport => {
                let body = request::read(body).await?;
                self.certificate_export(&body, &who).await
            }
            Action::Registry => self.registry_services(),
            Action::RegistryRead => self.registry_read(id),
            Action::RegistryPut => {
                let body = request::read(body).await?;
                self.registry_put(id, &head.headers, &body, &who).await
            }
            Action::RegistryDelete => self.registry_delete(id, &head.headers, &who).await,
            Action::Number(verb) => self.by_number(verb, head.uri.query(), &who).await,
            Action::Prefetches => Ok(json(&self.prefetches.list())),
            Action::Prefetch => self.prefetches.begin(&request::read(body).await?, &who),
            Action::PrefetchState => self.prefetches.state(id),
            Action::PrefetchCancel => self.prefetches.cancel(id),
        }
    }
}

/// Serves until the background ends.
pub(super) async fn serve(bound: Bound, state: Arc<State>, drain: Drain) {
    let (address, socket) = (bound.address, bound.sockets.into_iter().next());
    let Some(Ok(listener)) = socket.map(TcpListener::from_std) else {
        return tracing::error!(%address, "the admin socket cannot be used");
    };
    tracing::debug!(%address, "the admin listener serves");
    let (connections, room) = (Tasks::default(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.begun() => break,
        };
        let permit = Arc::clone(&room).try_acquire_owned();
        match (accepted, permit) {
            (Ok((stream, peer)), Ok(permit)) => {
                let (state, drain) = (Arc::clone(&state), drain.clone());
                connections.spawn(async move {
                    connection(stream, peer, state, drain).await;
                    drop(permit);
                });
            }
            (Ok(_), Err(_)) => {}
            (Err(error), _) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, state: Arc<State>, drain: Drain) {
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(state.answer(request, peer).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        result = served => if let Err(error) = result {
            tracing::debug!(%error, "an admin connection broke");
        },
        () = drain.begun() => {}
    }
}
