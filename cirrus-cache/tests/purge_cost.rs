//! A purge costs the same however many objects there are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use bytes::Bytes;
use cirrus_cache::MemoryStore;
use cirrus_core::cache::{CacheKey, CacheStore, Meta, Moment, Purge, Scheme, Selection};
use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

/// Few enough for a debug build; `CIRRUS_OBJECTS=1000000` for the figure that is promised.
const OBJECTS: usize = 100_000;

#[tokio::test]
async fn one_label_among_many_objects_is_purged_within_a_millisecond() {
    let objects = std::env::var("CIRRUS_OBJECTS").ok();
    let objects = objects.map_or(OBJECTS, |text| text.parse().unwrap());
    let store = MemoryStore::sized(objects as u64 * 4096);
    for number in 0..objects {
        store_one(&store, number).await;
    }
    let stored = store.usage().unwrap().objects as usize;
    assert!(stored > objects * 9 / 10, "{stored}");
    let mut times = Vec::new();
    for number in 0..100 {
        let what = Selection::Tag(format!("label-{}", number % 10).into());
        let began = Instant::now();
        store.purge(&Purge::hard(what)).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    assert!(
        median < Duration::from_millis(1),
        "{median:?} with {stored} objects"
    );
    assert!(store.lookup(&key(5)).await.unwrap().is_empty());
    assert_eq!(store.lookup(&key(objects - 1)).await.unwrap().len(), 1);
}

/// Every tenth has a label that is purged.
async fn store_one(store: &MemoryStore, number: usize) {
    let label = match number % 100 {
        rest @ 0..10 => format!("label-{rest}"),
        _ => "other".to_owned(),
    };
    let meta = Meta::new(StatusCode::OK, HeaderMap::new())
        .with_length(Some(1))
        .with_tags([label])
        .with_asked(Moment(0));
    let mut fill = store.insert(&key(number), meta).await.unwrap();
    fill.write(Bytes::from_static(b"x")).await.unwrap();
    fill.finish(HeaderMap::new()).await.unwrap();
}

fn key(number: usize) -> CacheKey {
    let target = PathAndQuery::try_from(format!("/{number}")).unwrap();
    CacheKey::new(Scheme::Http, "a.example", &target)
}
