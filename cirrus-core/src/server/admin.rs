//! The listener for operators: `/metrics`, `/healthz`, `/readyz`, and what is in force.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::engine::Engine;
use super::supervise::{Drain, Tasks};
use super::worker::Worker;
use crate::body::{Body, Response};
use crate::config::Status;
use crate::downstream::listen::Bound;
use crate::metrics;

/// Connections at the same time; operators and their scrapers need few.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take for a header, and stay idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the admin listener tells about.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) engine: Arc<Engine>,
    pub(crate) workers: Vec<Arc<Worker>>,
    pub(crate) status: Arc<Status>,
    drain: Drain,
}

// === impl State ===

impl State {
    pub(super) fn new(
        engine: Arc<Engine>,
        workers: Vec<Arc<Worker>>,
        status: Arc<Status>,
        drain: Drain,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            workers,
            status,
            drain,
        })
    }

    fn answer<B>(&self, request: &http::Request<B>) -> Response {
        let known = [
            "/metrics",
            "/healthz",
            "/readyz",
            "/api/v1/status",
            "/api/v1/config",
        ];
        if !is_local(request) {
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "ask by address, or as localhost\n",
            );
        }
        let path = request.uri().path();
        if !known.contains(&path) {
            return text(
                StatusCode::NOT_FOUND,
                format!("nothing here; there are {}\n", known.join(", ")),
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics(),
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/api/v1/status" => json(&self.status()),
            _ => json(&self.config()),
        }
    }

    fn metrics(&self) -> Response {
        let mut response = Response::new(Body::from(metrics::render(self)));
        let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(form));
        response
    }

    fn ready(&self) -> Response {
        if self.drain.has_begun() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        text(StatusCode::OK, "ready\n")
    }

    fn status(&self) -> serde_json::Value {
        let snapshot = self.engine.live.now();
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "workers": self.workers.len(),
            "draining": self.drain.has_begun(),
            "sites": snapshot.sites.len(),
            "clusters": snapshot.all_clusters().map(|cluster| {
                let (endpoints, up) = cluster.count();
                serde_json::json!({"name": &*cluster.name, "endpoints": endpoints, "up": up})
            }).collect::<Vec<_>>(),
        })
    }

    /// What is in force, and why the last attempt to change it failed, if it did.
    fn config(&self) -> serde_json::Value {
        let snapshot = self.engine.live.now();
        let refusal = self.status.refusal().map(|refusal| {
            serde_json::json!({"at": refusal.at.as_secs(), "error": refusal.error, "faults": refusal.faults})
        });
        serde_json::json!({
            "revision": snapshot.revision,
            "applied": snapshot.applied.as_secs(),
            "refused": refusal.map(without_passwords),
            "config": masked(&snapshot.config),
        })
    }
}

/// The configuration without the hashes of passwords and keys: whoever has one can try words at leisure.
fn masked(config: &crate::config::Config) -> serde_json::Value {
    let mut config = serde_json::json!(config);
    mask(&mut config);
    config
}

fn mask(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for (table, secrets) in [("basic_auth", "users"), ("api_keys", "keys")] {
                let table = fields
                    .get_mut(table)
                    .and_then(|table| table.get_mut(secrets));
                let hashes = table.and_then(serde_json::Value::as_object_mut);
                for (_, hash) in hashes.into_iter().flatten() {
                    *hash = "…".into();
                }
            }
            fields.values_mut().for_each(mask);
        }
        serde_json::Value::Array(elements) => elements.iter_mut().for_each(mask),
        serde_json::Value::String(text) => mask_url(text),
        _ => {}
    }
}

fn without_passwords(mut value: serde_json::Value) -> serde_json::Value {
    mask(&mut value);
    value
}

/// Hides the passwords of URLs: `redis://user:…@host`. Rather too much than too little, so also in what is no URL.
fn mask_url(text: &mut String) {
    let mut from = 0;
    while let Some(begin) = text[from..].find("://").map(|at| from + at + "://".len()) {
        let is_end = |c: char| c.is_whitespace() || "\"'`<>".contains(c);
        let end = text[begin..]
            .find(is_end)
            .map_or(text.len(), |at| begin + at);
        let login = text[begin..end]
            .rfind('@')
            .map_or("", |at| &text[begin..begin + at]);
        let (start, stop) = (login.find(':'), begin + login.len());
        if let Some(colon) = start {
            text.replace_range(begin + colon + 1..stop, "…");
        }
        from = begin;
    }
}

/// Whether it was asked for by address or as `localhost`. A page in an operator's browser that has its own name resolve to
/// this machine asks by that name (DNS rebinding), and gets nothing.
fn is_local<B>(request: &http::Request<B>) -> bool {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    host.is_none_or(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
    })
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
            (Ok((stream, _)), Ok(permit)) => {
                let (state, drain) = (Arc::clone(&state), drain.clone());
                connections.spawn(async move {
                    connection(stream, state, drain).await;
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

async fn connection(stream: TcpStream, state: Arc<State>, drain: Drain) {
    let service = service_fn(move |request| {
        let response = state.answer(&request);
        async move { Ok::<_, Infallible>(response) }
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

fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    respond(status, "text/plain; charset=utf-8", body.into())
}

fn json(value: &serde_json::Value) -> Response {
    respond(
        StatusCode::OK,
        "application/json",
        Body::from(format!("{value:#}\n")),
    )
}

fn respond(status: StatusCode, form: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(form));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (written, told) in [
            ("redis://edge:secret@a/1", "redis://edge:…@a/1"),
            ("redis://:se:cr@t/@a", "redis://:…@a"),
            (
                "no: \"rediss://u:p@a\" or redis://v:q@b",
                "no: \"rediss://u:…@a\" or redis://v:…@b",
            ),
            ("http://a:80/b", "http://a:80/b"),
            ("redis://edge@a", "redis://edge@a"),
            ("://", "://"),
        ] {
            let mut text = written.to_owned();
            mask_url(&mut text);
            assert_eq!(text, told);
        }
    }
}
