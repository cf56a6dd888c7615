//! The requests of a job. They begin where a client's do, behind the socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http_body_util::BodyExt;

use super::Counts;
use super::job::{Fetched, Job};
use crate::body::{Body, Request, Response};
use crate::cache::CacheKey;
use crate::cache::selection::key_of;
use crate::downstream::Connection;
use crate::server::{Worker, Writer};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Fetches all of them, so many at a time.
pub(super) async fn all(
    worker: Arc<Worker>,
    job: Arc<Job>,
    counts: Arc<Counts>,
    urls: Vec<String>,
    at_once: usize,
    headers: HeaderMap,
) {
    let fetch = |url: String| {
        let (worker, job, counts) = (Arc::clone(&worker), Arc::clone(&job), Arc::clone(&counts));
        let headers = headers.clone();
        async move {
            let fetched = one(worker, &url, headers).await;
            let count = match &fetched {
                Ok(_) => &counts.done,
                Err(_) => &counts.failed,
            };
            count.add(1);
            job.note(url, fetched);
        }
    };
    stream::iter(urls).for_each_concurrent(at_once, fetch).await;
}

async fn one(worker: Arc<Worker>, url: &str, headers: HeaderMap) -> Result<Fetched, String> {
    let key = key_of(url).map_err(|error| error.to_string())?;
    let (connection, request) = request(&key, headers)?;
    let serving = worker.serve(connection, None, Writer::Map, Box::new(request));
    // Its future is large, and there are many.
    let response = Box::pin(serving).await;
    let status = response.status();
    let (is_hit, is_stored) = (has_word(&response, "hit"), has_word(&response, "stored"));
    let bytes = read(response.into_body()).await?;
    if status.is_client_error() || status.is_server_error() {
        return Err(format!("status {}", status.as_u16()));
    }
    Ok(Fetched {
        bytes,
        is_hit,
        is_stored,
    })
}

/// As from a client on this machine.
fn request(key: &CacheKey, headers: HeaderMap) -> Result<(Arc<Connection>, Request), String> {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let connection = Connection::plain(here, here);
    let connection = match key.scheme() {
        "https" => connection.secured(None),
        _ => connection,
    };
    let request = http::Request::get(key.target())
        .header(HOST, key.host())
        .header(USER_AGENT, HeaderValue::from_static("cirrus-prefetch"));
    let mut request = request
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    request.headers_mut().extend(headers);
    Ok((Arc::new(connection), request))
}

async fn read(mut body: Body) -> Result<u64, String> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the body broke off: {error}"))?;
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

/// Whether the last cache, which is this one, says so.
fn has_word(response: &Response, word: &str) -> bool {
    let fields = response.headers().get_all(CACHE_STATUS);
    let last = fields.iter().next_back();
    let text = last.and_then(|value| value.to_str().ok()).unwrap_or("");
    let own = text.rsplit(',').next().unwrap_or_default();
    own.split(';').any(|part| part.trim() == word)
}
