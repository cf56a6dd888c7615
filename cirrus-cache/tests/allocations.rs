//! What a hit allocates: docs/decisions/0014-allocations-of-a-hit.md explains each. In a program of its own, since
//! counting takes an allocator.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use cirrus_cache::MemoryStore;
use cirrus_core::cache::{CacheKey, CacheStore, Freshness, Meta, Scheme};
use cirrus_core::testing::pieces::CacheHit;
use cirrus_core::{Body, Clock, Request, SystemClock};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;

/// What is promised.
const MOST: u64 = 8;

/// What the explanation counts: where the codec writes the header's lines, and where it has to be a map.
const WITH_LINES: u64 = 3;
const WITH_MAP: u64 = 7;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

async fn stored() -> MemoryStore {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "text/css"),
        ("content-length", "1024"),
        ("cache-control", "max-age=3600"),
        ("etag", "\"68a1-400\""),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let mut freshness = Freshness::default();
    freshness.received = SystemClock.now();
    freshness.lifetime = Duration::from_secs(3600);
    let meta = Meta::new(StatusCode::OK, headers)
        .with_freshness(freshness)
        .with_length(Some(1024));
    let target = PathAndQuery::from_static("/1k");
    let key = CacheKey::new(Scheme::Http, "a.example", &target);
    let store = MemoryStore::sized(16 << 20);
    let mut fill = store.insert(&key, meta).await.unwrap();
    fill.write(Bytes::from(vec![b'x'; 1024])).await.unwrap();
    fill.finish(HeaderMap::new()).await.unwrap();
    store
}

fn request() -> Box<Request> {
    let request = http::Request::get("/1k")
        .header("host", "a.example")
        .header("user-agent", "test/1.0")
        .header("accept-encoding", "gzip, br");
    Box::new(request.body(Body::empty()).unwrap())
}

/// One hit, its body read.
async fn hit(cache: &mut CacheHit, request: Box<Request>) {
    let response = cache.ask(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.data_ref().map(Bytes::len), Some(1024));
}

fn check(with: impl FnOnce(CacheHit) -> CacheHit, explained: u64) {
    let runtime = runtime();
    let mut cache = with(runtime.block_on(async { CacheHit::of(stored().await) }));
    // What is made once for all hits has been made by then.
    runtime.block_on(hit(&mut cache, request()));
    let request = request();
    let counted = measure(|| runtime.block_on(hit(&mut cache, request)));
    let count = counted.count_total;
    assert!(count <= MOST, "{counted:?}");
    assert_eq!(count, explained, "to be explained anew: {counted:?}");
}

#[test]
fn a_hit_of_lines_allocates_what_is_explained() {
    check(|cache| cache, WITH_LINES);
}

#[test]
fn a_hit_of_a_map_allocates_what_is_explained() {
    check(CacheHit::with_map, WITH_MAP);
}
