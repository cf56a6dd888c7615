//! What the benchmarks share: how long they measure, and the things they measure with.

use std::time::Duration;

use bytes::Bytes;
use cirrus_core::cache::{CacheKey, CacheStore, Freshness, Meta, Scheme};
use cirrus_core::{Clock, SystemClock};
use criterion::Criterion;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::runtime::Runtime;

/// The binary's own, so that the figures are those of what people run.
#[path = "../../cirrus-bin/src/memory/allocator.rs"]
mod allocator;

#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

/// The body that most scenarios speak of: 1 KiB.
pub const SMALL: usize = 1024;

/// About two seconds for each benchmark. The command line's own wishes go first.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
        .configure_from_args()
}

/// A runtime like a worker's.
///
/// # Panics
///
/// If the machine refuses one.
#[must_use]
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The name of the n-th host.
#[must_use]
pub fn host(n: usize) -> String {
    format!("www.shop-{n}.example")
}

/// A configuration of this many sites, each with two hosts, three routes and an origin.
#[must_use]
pub fn sites(count: usize) -> String {
    (0..count).map(site).collect()
}

fn site(n: usize) -> String {
    let (www, port) = (host(n), 1024 + n % 60_000);
    format!(
        r#"
        [[site]]
        hosts = ["{www}", "shop-{n}.example"]
        cache = {{ enable = true, default_ttl = "30s" }}
        [[site.origin]]
        url = "http://127.0.0.1:{port}"
        [[site.route]]
        path = "/api/*"
        cache = {{ enable = false }}
        origin = [{{ url = "http://127.0.0.1:{port}" }}]
        [[site.route]]
        path = "/old/{{id}}"
        redirect = {{ to = "/new/{{id}}", status = 301 }}
        [[site.route]]
        path = "/robots.txt"
        respond = {{ body = "User-agent: *" }}
        "#
    )
}

/// The cache key of a path of this host, without TLS.
#[must_use]
pub fn key(host: &str, path: &'static str) -> CacheKey {
    CacheKey::new(Scheme::Http, host, &PathAndQuery::from_static(path))
}

/// What is kept beside a body of `length` bytes: a usual header, fresh for an hour from now on.
#[must_use]
pub fn meta(length: usize) -> Meta {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/css"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    headers.insert(ETAG, HeaderValue::from_static("\"68a1-400\""));
    let mut freshness = Freshness::default();
    freshness.received = SystemClock.now();
    freshness.lifetime = Duration::from_secs(3600);
    Meta::new(StatusCode::OK, headers)
        .with_freshness(freshness)
        .with_length(Some(length as u64))
}

/// Stores a whole response.
///
/// # Panics
///
/// If the store does not take it.
pub async fn put(store: &impl CacheStore, key: &CacheKey, body: &Bytes) {
    let meta = meta(body.len());
    let mut fill = store.insert(key, meta).await.expect("room for an object");
    fill.write(body.clone()).await.expect("room for its body");
    fill.finish(HeaderMap::new()).await.expect("an object");
}
