//! What an object takes in memory beside its body. In a program of its own, since counting takes an allocator.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use cirrus_cache::MemoryStore;
use cirrus_core::cache::{ByteRange, CacheKey, CacheStore, Freshness, Meta, Scheme, Variant};
use cirrus_core::{Clock, SystemClock};
use http::header::{ACCEPT_ENCODING, ETAG};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;

/// As many as leave little spare room in tables that double, as a million do.
const OBJECTS: u64 = 28_000;
const BODY: u64 = 1024;

/// What is promised is 1.6 KiB for an object with a body of 1 KiB. Some of that is left for what is not counted here:
/// sizes that the allocator rounds up, and pages that it has not filled.
const PROMISED: u64 = 1638;
const MOST: u64 = PROMISED - 64;

/// A header as most stored responses have one. It is not cheap either: 360 bytes of lines.
const USUAL: [(&str, &str); 10] = [
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", "1024"),
    (
        "cache-control",
        "public, max-age=3600, stale-while-revalidate=60",
    ),
    ("date", "Fri, 20 Nov 2026 12:00:00 GMT"),
    ("last-modified", "Fri, 20 Nov 2026 11:00:00 GMT"),
    ("vary", "accept-encoding"),
    ("server", "nginx/1.30.0"),
    ("x-content-type-options", "nosniff"),
    ("strict-transport-security", "max-age=31536000"),
    ("x-request-id", "9a1c2f34"),
];

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    fields.iter().map(field).collect()
}

fn described(number: u64, fields: &[(&'static str, &'static str)]) -> Meta {
    let mut headers = map(fields);
    headers.insert(
        ETAG,
        HeaderValue::try_from(format!("\"{number:x}-400\"")).unwrap(),
    );
    let mut freshness = Freshness::default();
    freshness.received = SystemClock.now();
    freshness.lifetime = Duration::from_secs(3600);
    Meta::new(StatusCode::OK, headers)
        .with_freshness(freshness)
        .with_tags([format!("label-{}", number % 1000)])
        .with_length(Some(BODY))
}

fn key(number: u64) -> CacheKey {
    let target: PathAndQuery = format!("/object/{number}").parse().unwrap();
    CacheKey::new(Scheme::Http, "www.shop.example", &target)
}

async fn keep(store: &MemoryStore, number: u64, meta: Meta) {
    let mut fill = store.insert(&key(number), meta).await.unwrap();
    let body = vec![b'x'; usize::try_from(BODY).unwrap()];
    fill.write(Bytes::from(body)).await.unwrap();
    fill.finish(HeaderMap::new()).await.unwrap();
}

/// Every object is found, as a map too, which may make its block a shared one.
async fn use_once(store: &MemoryStore) {
    for number in 0..OBJECTS {
        let found = store.lookup(&key(number)).await.unwrap();
        assert!(found[0].meta.headers.to_map().contains_key(ETAG));
        let body = found[0].body.read(ByteRange::ALL);
        assert_eq!(body.collect().await.unwrap().to_bytes().len() as u64, BODY);
    }
}

/// Bytes that each object has in memory, and those that the store says.
fn each(meta: impl Fn(u64) -> Meta) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut store = None;
    let counted = measure(|| {
        let filled = MemoryStore::sized(OBJECTS * 4096);
        runtime.block_on(async {
            for number in 0..OBJECTS {
                keep(&filled, number, meta(number)).await;
            }
            use_once(&filled).await;
        });
        store = Some(filled);
    });
    let usage = store.unwrap().usage().unwrap();
    assert_eq!(usage.objects, OBJECTS);
    let bytes = u64::try_from(counted.bytes_current).unwrap();
    (bytes / OBJECTS, usage.bytes / OBJECTS)
}

#[test]
fn an_object_of_1_kib_takes_little_more() {
    let few = [
        ("content-type", "text/css"),
        USUAL[1],
        ("cache-control", "max-age=3600"),
    ];
    let (bytes, said) = each(|number| described(number, &few));
    assert!(bytes <= MOST, "{bytes} bytes each");
    assert!(said >= bytes, "{bytes} bytes each are no more than {said}");
    assert!(said <= PROMISED + 64, "{said} are said of {bytes}");
}

#[test]
fn a_usual_header_costs_its_lines() {
    let variant = || Variant::new([(ACCEPT_ENCODING, Some(HeaderValue::from_static("gzip, br")))]);
    let lines: usize = USUAL
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    let (bytes, said) = each(|number| described(number, &USUAL).with_vary(variant()));
    let (few, _) = each(|number| described(number, &USUAL[..0]));
    let more = bytes - few;
    assert!(
        more <= lines as u64 + 64,
        "{more} bytes for {lines} of lines"
    );
    assert!(said >= bytes, "{bytes} bytes each are no more than {said}");
}
