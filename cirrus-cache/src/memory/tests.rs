mod churn;

use std::time::Duration;

use bytes::Bytes;
use cirrus_core::cache::{BodyState, ByteRange, Freshness, Scheme, StoredBody, Variant};
use cirrus_core::{ManualClock, Timestamp};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;

use super::*;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;

fn key(n: u64) -> CacheKey {
    CacheKey::new(
        Scheme::Https,
        "a.example",
        &PathAndQuery::try_from(format!("/{n}")).unwrap(),
    )
}

fn meta(language: &'static str) -> Meta {
    let vary = language_variant(HeaderValue::from_static(language));
    Meta::new(StatusCode::OK, HeaderMap::new())
        .with_vary(vary)
        .with_tags(["page"])
}

fn language_variant(value: HeaderValue) -> Variant {
    Variant::new([(http::header::ACCEPT_LANGUAGE, Some(value))])
}

fn body(len: u64) -> Bytes {
    vec![7; usize::try_from(len).unwrap()].into()
}

async fn put(store: &MemoryStore, n: u64, len: u64) -> ObjectId {
    put_variant(store, n, meta("de"), len).await
}

async fn put_variant(store: &MemoryStore, n: u64, meta: Meta, len: u64) -> ObjectId {
    let mut fill = store.insert(&key(n), meta).await.unwrap();
    let id = fill.stored().id;
    fill.write(body(len)).await.unwrap();
    fill.finish(HeaderMap::new()).await.unwrap();
    id
}

async fn purge(store: &MemoryStore, purge: Purge) -> Purged {
    store.purge(&purge).await.unwrap()
}

/// What `usage` must say of whole objects: counted one by one.
fn counted(store: &MemoryStore) -> (u64, u64) {
    let entry = |(key, entry): (CacheKey, index::Entry)| {
        let objects = entry.objects().iter().map(|object| {
            let meta = object.meta.weight() as u64;
            OBJECT_OVERHEAD + meta + object.size().unwrap()
        });
        (
            entry.objects().len() as u64,
            index::ENTRY_OVERHEAD + key.weight() as u64 + objects.sum::<u64>(),
        )
    };
    store
        .0
        .index
        .iter()
        .map(entry)
        .fold((0, 0), |(objects, bytes), (o, b)| (objects + o, bytes + b))
}

fn assert_exact(store: &MemoryStore) {
    let usage = store.0.usage();
    assert_eq!((usage.objects, usage.bytes), counted(store));
}

#[tokio::test]
async fn counts_bytes_with_keys_and_metadata() {
    let store = MemoryStore::sized(16 * MIB);
    put(&store, 1, 1000).await;
    let weight = index::ENTRY_OVERHEAD
        + OBJECT_OVERHEAD
        + (key(1).weight() + meta("de").weight()) as u64
        + 1000;
    assert_eq!(store.0.usage(), Usage::new(1, weight, 16 * MIB, 0));
    put(&store, 1, 500).await;
    assert_eq!(store.0.usage(), Usage::new(1, weight - 500, 16 * MIB, 0));
}

#[tokio::test]
async fn counts_fills_in_progress() {
    let store = MemoryStore::sized(16 * MIB);
    let fill = store
        .insert(&key(1), meta("de").with_length(Some(MIB)))
        .await
        .unwrap();
    let usage = store.0.usage();
    assert_eq!(usage.objects, 1);
    assert!(usage.bytes > MIB && usage.bytes < MIB + 4 * KIB);
    drop(fill);
    assert_eq!(store.0.usage(), Usage::new(0, 0, 16 * MIB, 0));
}

#[tokio::test]
async fn refresh_counts_the_new_metadata() {
    let store = MemoryStore::sized(16 * MIB);
    let heavy = || {
        let mut meta = meta("de");
        let value = HeaderValue::from_bytes(&[b'x'; 5000]).unwrap();
        meta.headers
            .change(|map| drop(map.insert("x-heavy", value)));
        meta
    };
    let id = put(&store, 1, 10).await;
    assert!(store.refresh(&key(1), id, heavy()).await.unwrap());
    assert_exact(&store);

    let mut fill = store.insert(&key(2), meta("de")).await.unwrap();
    let id = fill.stored().id;
    assert!(
        store.refresh(&key(2), id, heavy()).await.unwrap(),
        "while it grows"
    );
    fill.write(body(10)).await.unwrap();
    fill.finish(HeaderMap::new()).await.unwrap();
    assert_exact(&store);
    assert!(store.refresh(&key(2), id, meta("de")).await.unwrap());
    assert_exact(&store);
}

#[tokio::test]
async fn evicts_to_make_room() {
    let store = MemoryStore::sized(MIB);
    for n in 0..1000 {
        put(&store, n, 10 * KIB).await;
        assert!(store.0.usage().bytes <= MIB);
    }
    let usage = store.0.usage();
    assert_eq!(usage.evicted + usage.objects, 1000);
    assert!(usage.bytes > MIB / 2, "and makes use of it: {usage:?}");
    assert_exact(&store);
}

#[tokio::test]
async fn replacement_is_no_eviction() {
    let store = MemoryStore::sized(MIB);
    for _ in 0..100 {
        put(&store, 1, 10 * KIB).await;
    }
    assert_eq!(store.0.usage().evicted, 0);
}

#[tokio::test]
async fn hot_key_survives_a_scan() {
    let store = MemoryStore::sized(MIB);
    let id = put(&store, 0, 10 * KIB).await;
    for n in 1..2000 {
        put(&store, n, 10 * KIB).await;
        let found = store.lookup(&key(0)).await.unwrap();
        assert_eq!(
            found.first().map(|stored| stored.id),
            Some(id),
            "after {n} others"
        );
    }
}

#[tokio::test]
async fn largest_object_fits_at_every_size() {
    for capacity in [256 * KIB, MIB, 10 * MIB + 1, 64 * MIB] {
        let store = MemoryStore::sized(capacity);
        for n in 0..8 {
            put(&store, n, capacity / 8).await;
            let found = store.lookup(&key(n)).await.unwrap();
            assert_eq!(found.len(), 1, "number {n} of {capacity} bytes");
            assert!(store.0.usage().bytes <= capacity);
        }
    }
}

#[tokio::test]
async fn refuses_what_is_declared_too_large() {
    let store = MemoryStore::builder()
        .capacity(MIB)
        .max_object(10 * KIB)
        .build();
    let insert = async |len| {
        store
            .insert(&key(1), meta("de").with_length(Some(len)))
            .await
    };
    assert!(matches!(insert(10 * KIB + 1).await, Err(StoreError::Full)));
    assert!(insert(10 * KIB).await.is_ok());
}

#[tokio::test]
async fn store_without_room_refuses_everything() {
    for capacity in [0, 1, 100] {
        let store = MemoryStore::sized(capacity);
        assert!(matches!(
            store.insert(&key(1), meta("de")).await,
            Err(StoreError::Full)
        ));
        assert!(store.lookup(&key(1)).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn body_that_outgrows_the_limit_is_passed_on() {
    let store = MemoryStore::builder()
        .capacity(MIB)
        .max_object(10 * KIB)
        .build();
    let mut fill = store.insert(&key(1), meta("de")).await.unwrap();
    let reading = fill.stored().body.read(ByteRange::ALL);
    fill.write(body(10 * KIB)).await.unwrap();
    assert_eq!(store.lookup(&key(1)).await.unwrap().len(), 1);
    fill.write(body(1)).await.unwrap();
    assert!(store.lookup(&key(1)).await.unwrap().is_empty());
    // Its readers still hold what they have not read: that stays counted for as long as it is filled.
    assert!(store.0.usage().bytes >= 10 * KIB);
    fill.finish(HeaderMap::new()).await.unwrap();
    assert_eq!(store.0.usage().bytes, 0);
    assert_eq!(
        reading.collect().await.unwrap().to_bytes().len() as u64,
        10 * KIB + 1
    );
    assert!(store.lookup(&key(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn fills_that_find_no_room_together_are_passed_on() {
    let store = MemoryStore::builder()
        .capacity(MIB)
        .max_object(200 * KIB)
        .build();
    let mut first = store
        .insert(&key(1), meta("de").with_length(Some(200 * KIB)))
        .await
        .unwrap();
    assert!(matches!(
        store
            .insert(&key(2), meta("de").with_length(Some(100 * KIB)))
            .await,
        Err(StoreError::Full)
    ));
    let mut second = store.insert(&key(2), meta("de")).await.unwrap();
    assert!(
        matches!(second.write(body(100 * KIB)).await, Err(StoreError::Full)),
        "and nobody reads it"
    );
    first.write(body(200 * KIB)).await.unwrap();
    first.finish(HeaderMap::new()).await.unwrap();
    put(&store, 2, 200 * KIB).await;
    assert_eq!(
        store.lookup(&key(2)).await.unwrap().len(),
        1,
        "the room is free again"
    );
}

#[tokio::test]
async fn keeps_the_newest_variants() {
    let store = MemoryStore::sized(16 * MIB);
    let mut ids = Vec::new();
    for n in 0..70 {
        let mut meta = meta("de");
        meta.vary = language_variant(HeaderValue::from(n));
        ids.push(put_variant(&store, 1, meta, 10).await);
    }
    let found: Vec<_> = store
        .lookup(&key(1))
        .await
        .unwrap()
        .iter()
        .map(|stored| stored.id)
        .collect();
    ids.reverse();
    assert_eq!(found, ids[..MOST_VARIANTS]);
    assert_exact(&store);
}

#[tokio::test]
async fn variants_that_are_too_much_for_one_part_leave_out_the_oldest() {
    let store = MemoryStore::sized(MIB);
    for language in ["aa", "bb", "cc", "dd", "ee"] {
        put_variant(&store, 1, meta(language), 100 * KIB).await;
        let found = store.lookup(&key(1)).await.unwrap();
        assert_eq!(found[0].meta.vary, meta(language).vary);
    }
    assert!(store.0.usage().bytes <= MIB);
    assert_exact(&store);
}

#[tokio::test]
async fn fill_that_began_earlier_does_not_replace_a_newer_one() {
    let store = MemoryStore::sized(MIB);
    let slow = store.insert(&key(1), meta("de")).await.unwrap();
    let fast = put(&store, 1, 10).await;
    slow.finish(HeaderMap::new()).await.unwrap();
    let found = store.lookup(&key(1)).await.unwrap();
    assert_eq!(
        found.iter().map(|stored| stored.id).collect::<Vec<_>>(),
        [fast]
    );
}

#[tokio::test]
async fn soft_purge_is_as_of_its_own_time() {
    let clock = ManualClock::at(Timestamp::from_secs(1_000));
    let store = MemoryStore::builder()
        .clock(Arc::new(clock.clone()))
        .build();
    let mut fresh = meta("de");
    let mut freshness = Freshness::default();
    freshness.received = clock.now();
    freshness.lifetime = Duration::from_secs(3600);
    fresh.set_freshness(freshness);
    let id = put_variant(&store, 1, fresh.clone(), 10).await;

    let asked = store.moment();
    clock.advance(Duration::from_secs(100));
    purge(&store, Purge::soft(Selection::All)).await;
    clock.advance(Duration::from_secs(100));
    let found = store.lookup(&key(1)).await.unwrap();
    assert_eq!(found[0].meta.freshness().lifetime, Duration::from_secs(100));

    // What was asked for before the purge does not answer it.
    let late = fresh.clone().with_asked(asked);
    assert!(store.refresh(&key(1), id, late).await.unwrap());
    assert_eq!(
        store.lookup(&key(1)).await.unwrap()[0]
            .meta
            .freshness()
            .lifetime,
        Duration::from_secs(100)
    );
    freshness.received = clock.now();
    fresh.set_freshness(freshness);
    assert!(store.refresh(&key(1), id, fresh.clone()).await.unwrap());
    assert_eq!(*store.lookup(&key(1)).await.unwrap()[0].meta, fresh);
}

#[tokio::test]
async fn purge_by_url_counts_and_frees_at_once() {
    let store = MemoryStore::sized(MIB);
    put_variant(&store, 1, meta("de"), 10).await;
    put_variant(&store, 1, meta("en"), 10).await;
    assert_eq!(
        purge(&store, Purge::soft(Selection::Url(key(1)))).await,
        Purged::counted(2)
    );
    assert_eq!(
        purge(&store, Purge::hard(Selection::Url(key(1)))).await,
        Purged::counted(2)
    );
    assert_eq!(
        purge(&store, Purge::hard(Selection::Url(key(1)))).await,
        Purged::counted(0)
    );
    assert_eq!(store.0.usage().bytes, 0);
}

#[tokio::test]
async fn purged_object_is_freed_when_it_is_looked_for() {
    let store = MemoryStore::sized(MIB);
    put(&store, 1, 10).await;
    put(&store, 2, 10).await;
    purge(&store, Purge::hard(Selection::All)).await;
    assert!(store.lookup(&key(1)).await.unwrap().is_empty());
    assert_eq!(store.0.usage().objects, 1);
    assert_exact(&store);
}

#[tokio::test]
async fn sweep_frees_what_was_purged_and_forgets_the_purges() {
    let store = MemoryStore::sized(16 * MIB);
    for n in 0..1000 {
        put(&store, n, 10).await;
    }
    purge(&store, Purge::hard(Selection::Tag("other".into()))).await;
    assert_eq!(store.sweep().await, 0);
    assert_eq!(
        store.0.epochs.remembered(),
        1,
        "it may concern what is older"
    );
    purge(&store, Purge::hard(Selection::Tag("page".into()))).await;
    let growing = store.insert(&key(1), meta("de")).await.unwrap();
    assert_eq!(store.sweep().await, 1000);
    assert_eq!(store.0.epochs.remembered(), 0);
    drop(growing);
    assert_eq!(store.0.usage(), Usage::new(0, 0, 16 * MIB, 0));
}

#[tokio::test]
async fn readers_keep_what_is_evicted() {
    let store = MemoryStore::sized(MIB);
    put(&store, 0, 100 * KIB).await;
    let stored = store.lookup(&key(0)).await.unwrap().remove(0);
    for n in 1..100 {
        put(&store, n, 100 * KIB).await;
    }
    assert_eq!(stored.body.state(), BodyState::Whole);
    let read = stored
        .body
        .read(ByteRange::ALL)
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(read.len() as u64, 100 * KIB);
}

#[tokio::test]
async fn what_was_purged_while_the_origin_was_asked_is_not_stored() {
    for what in [
        Selection::Url(key(1)),
        Selection::All,
        Selection::Tag("page".into()),
        Selection::Host("a.example".into()),
        Selection::Prefix {
            host: "a.example".into(),
            path: "/".into(),
        },
    ] {
        for swept in [false, true] {
            let store = MemoryStore::sized(MIB);
            let asked = store.moment();
            purge(&store, Purge::hard(what.clone())).await;
            if swept {
                store.sweep().await;
                store.sweep().await;
            }
            let late = store.insert(&key(1), meta("de").with_asked(asked)).await;
            assert!(matches!(late, Err(StoreError::Purged)), "{what:?} {swept}");
            assert!(
                store
                    .insert(&key(1), meta("de").with_asked(store.moment()))
                    .await
                    .is_ok()
            );
        }
    }
}
