use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use cirrus_core::cache::{ByteRange, Freshness, Scheme, Selection, Variant};
use cirrus_core::{ManualClock, Timestamp};
use futures_util::FutureExt;
use http::header::ACCEPT_LANGUAGE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::*;

mod damage;
mod model;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn builder(path: &Path) -> DiskStoreBuilder {
    DiskStore::builder(path)
        .capacity(64 << 20)
        .clock(Arc::new(ManualClock::at(NOW)))
}

/// Once whatever still uses the directory has ended.
fn reopened(builder: impl Fn() -> DiskStoreBuilder) -> DiskStore {
    loop {
        match builder().open_now() {
            Err(OpenError::InUse { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn open_at(path: &Path) -> DiskStore {
    reopened(|| builder(path))
}

fn key(target: &str) -> CacheKey {
    CacheKey::new(
        Scheme::Https,
        "a.example",
        &PathAndQuery::try_from(target).unwrap(),
    )
}

fn fresh() -> Meta {
    let mut freshness = Freshness::default();
    freshness.received = NOW;
    freshness.lifetime = Duration::from_secs(3600);
    Meta::new(StatusCode::OK, HeaderMap::new()).with_freshness(freshness)
}

fn variant(value: &'static str) -> Variant {
    Variant::new([(ACCEPT_LANGUAGE, Some(HeaderValue::from_static(value)))])
}

fn content(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n as u8).wrapping_mul(31) ^ (n >> 8) as u8 ^ seed)
        .collect()
}

async fn put(store: &DiskStore, key: &CacheKey, meta: Meta, body: &[u8]) -> ObjectId {
    let mut fill = store.insert(key, meta).await.unwrap();
    for chunk in body.chunks(100_000) {
        fill.write(chunk.to_vec().into()).await.unwrap();
    }
    let id = fill.stored().id;
    fill.finish(HeaderMap::new()).await.unwrap();
    id
}

async fn read(stored: &Stored) -> Vec<u8> {
    stored
        .body
        .read(ByteRange::ALL)
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec()
}

/// What is found, or nothing if it cannot be read.
async fn find(store: &DiskStore, key: &CacheKey) -> Vec<Stored> {
    store.lookup(key).await.unwrap_or_default()
}

fn is_fresh(stored: &Stored) -> bool {
    !stored.meta.freshness().remaining(NOW).is_zero()
}

fn bytes_in(path: &Path) -> u64 {
    let size = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => bytes_in(&entry.path()),
        false => entry.metadata().unwrap().len(),
    };
    fs::read_dir(path)
        .unwrap()
        .map(|entry| size(entry.unwrap()))
        .sum()
}

#[tokio::test]
async fn what_was_stored_is_there_again() {
    let directory = directory();
    let store = open_at(directory.path());
    let large = content(1, 3_000_000);
    let meta = fresh().with_tags(["t"]).with_length(Some(3_000_000));
    let first = put(&store, &key("/"), meta.clone(), &large).await;
    let de = put(
        &store,
        &key("/v"),
        fresh().with_vary(variant("de")),
        b"hallo",
    )
    .await;
    let en = put(&store, &key("/v"), fresh().with_vary(variant("en")), b"old").await;
    let newer = put(
        &store,
        &key("/v"),
        fresh().with_vary(variant("en")),
        b"hello",
    )
    .await;
    let mut fill = store.insert(&key("/t"), fresh()).await.unwrap();
    let trailers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static("x"))]);
    fill.write("body".into()).await.unwrap();
    fill.finish(trailers.clone()).await.unwrap();
    drop(store);

    let store = open_at(directory.path());
    let found = find(&store, &key("/")).await;
    assert_eq!((found.len(), found[0].id), (1, first));
    assert_eq!(*found[0].meta, meta);
    assert!(read(&found[0]).await == large);
    let range = ByteRange {
        start: 1_000_001,
        end: Some(2_500_003),
    };
    let part = found[0]
        .body
        .read(range)
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert!(part == large[1_000_001..2_500_003]);
    let found = find(&store, &key("/v")).await;
    assert_eq!(
        found.iter().map(|stored| stored.id).collect::<Vec<_>>(),
        [newer, de]
    );
    assert_eq!(read(&found[0]).await, b"hello");
    let found = find(&store, &key("/t")).await;
    let body = found[0].body.read(ByteRange::ALL).collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(store.usage().unwrap().objects, 4);
    assert!(
        put(&store, &key("/n"), fresh(), b"").await > newer.max(en),
        "numbers go on"
    );
}

fn selections() -> [Selection; 5] {
    let (host, path) = ("a.example".into(), "/p".into());
    [
        Selection::Url(key("/p/1")),
        Selection::Prefix { host, path },
        Selection::Tag("t".into()),
        Selection::Host("a.example".into()),
        Selection::All,
    ]
}

#[tokio::test]
async fn a_restart_brings_nothing_back_that_was_purged() {
    for what in selections() {
        let directory = directory();
        let store = open_at(directory.path());
        let key = key("/p/1");
        let tagged = || fresh().with_tags(["t"]);
        put(&store, &key, tagged(), b"first").await;
        // The one before it must not come back either.
        put(&store, &key, tagged(), b"second").await;
        store.purge(&Purge::soft(what.clone())).await.unwrap();
        drop(store);

        // Twice, since the log is written anew when it is opened.
        for _ in 0..2 {
            let found = find(&open_at(directory.path()), &key).await;
            assert!(
                found.len() == 1 && !is_fresh(&found[0]),
                "softly, after {what:?}"
            );
        }
        let store = open_at(directory.path());
        let id = find(&store, &key).await[0].id;
        assert!(store.refresh(&key, id, tagged()).await.unwrap());
        drop(store);
        let store = open_at(directory.path());
        assert!(
            is_fresh(&find(&store, &key).await[0]),
            "revalidated after {what:?}"
        );
        store.purge(&Purge::hard(what.clone())).await.unwrap();
        drop(store);

        for _ in 0..2 {
            assert!(
                find(&open_at(directory.path()), &key).await.is_empty(),
                "after {what:?}"
            );
        }
        let store = open_at(directory.path());
        put(&store, &key, tagged(), b"third").await;
        drop(store);
        let found = find(&open_at(directory.path()), &key).await;
        assert!(
            is_fresh(&found[0]) && read(&found[0]).await == b"third",
            "after {what:?}"
        );
    }
}

#[tokio::test]
async fn purging_what_is_not_there_writes_nothing() {
    let directory = directory();
    let store = open_at(directory.path());
    put(&store, &key("/1"), fresh(), b"1").await;
    let before = store.0.log.len();
    store
        .purge(&Purge::hard(Selection::Url(key("/2"))))
        .await
        .unwrap();
    assert_eq!(store.0.log.len(), before);
    store
        .purge(&Purge::hard(Selection::Url(key("/1"))))
        .await
        .unwrap();
    assert!(store.0.log.len() > before);
}

#[tokio::test]
async fn the_oldest_make_room() {
    let directory = directory();
    let small = || builder(directory.path()).capacity(8 << 20);
    let store = reopened(small);
    let url = |n: usize| key(&format!("/{n}"));
    for n in 0..60 {
        put(&store, &url(n), fresh(), &content(n as u8, 500_000)).await;
        let usage = store.usage().unwrap();
        assert!(usage.bytes <= usage.capacity + 4096, "{usage:?}");
        assert!(bytes_in(directory.path()) <= (8 << 20) + 4096);
    }
    assert!(find(&store, &url(0)).await.is_empty());
    let usage = store.usage().unwrap();
    assert_eq!(usage.objects + usage.evicted, 60);
    assert!(usage.objects >= 13, "{usage:?}");
    for n in 50..60 {
        assert!(read(&find(&store, &url(n)).await[0]).await == content(n as u8, 500_000));
    }
    drop(store);
    let store = reopened(|| builder(directory.path()).capacity(4 << 20));
    assert!(bytes_in(directory.path()) <= (4 << 20) + 4096);
    assert_eq!(find(&store, &url(59)).await.len(), 1);
}

#[tokio::test]
async fn who_reads_what_is_evicted_gets_all_of_it() {
    let directory = directory();
    let store = builder(directory.path())
        .capacity(8 << 20)
        .open_now()
        .unwrap();
    let body = content(9, 900_000);
    put(&store, &key("/read"), fresh(), &body).await;
    let stored = find(&store, &key("/read")).await.remove(0);
    let reading = stored.body.read(ByteRange::ALL);
    for n in 0..40 {
        put(
            &store,
            &key(&format!("/{n}")),
            fresh(),
            &content(n, 500_000),
        )
        .await;
    }
    assert!(find(&store, &key("/read")).await.is_empty());
    assert!(reading.collect().await.unwrap().to_bytes() == body);
}

#[tokio::test]
async fn a_refresh_that_finds_no_room_ends_its_object() {
    let directory = directory();
    let store = builder(directory.path())
        .capacity(4 << 20)
        .open_now()
        .unwrap();
    let id = put(&store, &key("/"), fresh(), b"x").await;
    let mut refreshed = 0;
    while store.refresh(&key("/"), id, fresh()).await.unwrap() {
        refreshed += 1;
        assert_eq!(find(&store, &key("/")).await.len(), 1);
    }
    assert!(refreshed > 1000, "{refreshed}");
    assert!(bytes_in(directory.path()) <= (4 << 20) + 4096);
}

#[tokio::test]
async fn rare_ones_stay_off_the_disk() {
    let directory = directory();
    let store = builder(directory.path()).min_uses(3).open_now().unwrap();
    for _ in 0..2 {
        let mut fill = store.insert(&key("/"), fresh()).await.unwrap();
        fill.write("body".into()).await.unwrap();
        let found = find(&store, &key("/")).await;
        fill.finish(HeaderMap::new()).await.unwrap();
        assert_eq!(read(&found[0]).await, b"body", "found while it grows");
        assert!(find(&store, &key("/")).await.is_empty());
    }
    put(&store, &key("/"), fresh(), b"body").await;
    assert_eq!(read(&find(&store, &key("/")).await[0]).await, b"body");
}

#[tokio::test]
async fn a_slow_reader_of_a_growing_body_reads_from_the_disk() {
    let directory = directory();
    let store = open_at(directory.path());
    let body = content(3, 6_000_000);
    let mut fill = store.insert(&key("/"), fresh()).await.unwrap();
    let mut slow = fill.stored().body.read(ByteRange::ALL);
    for chunk in body.chunks(60_000) {
        fill.write(chunk.to_vec().into()).await.unwrap();
        // So that the disk need not be fast for all of it to be written.
        store.0.writers.run(|| ()).await.unwrap();
    }
    assert!(store.0.backlog.load(Ordering::Relaxed) < 4 << 20);
    let mut got = Vec::new();
    for _ in 0..20 {
        got.extend(slow.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    fill.finish(HeaderMap::new()).await.unwrap();
    got.extend(slow.collect().await.unwrap().to_bytes());
    assert!(got == body);
    assert!(read(&find(&store, &key("/")).await[0]).await == body);
    assert_eq!(store.0.backlog.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_full_disk_stores_nothing_and_holds_up_nobody() {
    let directory = directory();
    let store = open_at(directory.path());
    put(&store, &key("/before"), fresh(), b"before").await;
    let faults = &store.0.io.faults;
    faults.writes.store(true, Ordering::SeqCst);
    for (n, len) in [(1, 10), (2, 3_000_000)] {
        let body = content(n, len);
        let mut fill = store.insert(&key("/full"), fresh()).await.unwrap();
        let reading = fill.stored().body.read(ByteRange::ALL);
        let writing = async {
            for chunk in body.chunks(60_000) {
                fill.write(chunk.to_vec().into()).await.unwrap();
            }
            fill.finish(HeaderMap::new()).await.is_ok()
        };
        let (read, _) = tokio::join!(reading.collect(), writing);
        assert!(read.unwrap().to_bytes() == body);
        assert!(find(&store, &key("/full")).await.is_empty());
    }
    let purge = Purge::hard(Selection::Url(key("/before")));
    assert!(
        store.purge(&purge).await.is_err(),
        "a purge that may not last is no purge"
    );
    assert!(
        find(&store, &key("/before")).await.is_empty(),
        "though it holds for now"
    );
    assert!(store.errors() >= 3);

    store.0.io.faults.writes.store(false, Ordering::SeqCst);
    store.purge(&purge).await.unwrap();
    put(&store, &key("/after"), fresh(), b"after").await;
    drop(store);
    let store = open_at(directory.path());
    assert!(find(&store, &key("/before")).await.is_empty());
    assert_eq!(find(&store, &key("/after")).await.len(), 1);
}

/// Whichever write it is: what is there afterwards is right, and so it is after a restart.
#[tokio::test]
async fn each_write_may_fail() {
    for left in 0..30 {
        let directory = directory();
        let store = open_at(directory.path());
        let faults = &store.0.io.faults;
        faults.writes_left.store(left, Ordering::SeqCst);
        faults.writes.store(true, Ordering::SeqCst);
        let (mut stored, mut purged) = (HashMap::new(), Vec::new());
        for n in 0..8_u8 {
            let url = key(&format!("/{n}"));
            let body = content(n, 200_000);
            let mut fill = store.insert(&url, fresh()).await.unwrap();
            fill.write(body.clone().into()).await.unwrap();
            if fill.finish(HeaderMap::new()).await.is_ok() {
                stored.insert(url.clone(), body);
            }
            if n % 3 == 0
                && store
                    .purge(&Purge::hard(Selection::Url(url.clone())))
                    .await
                    .is_ok()
            {
                purged.push(url);
            }
        }
        drop(store);
        let store = open_at(directory.path());
        for n in 0..8 {
            let url = key(&format!("/{n}"));
            if let Some(found) = find(&store, &url).await.first() {
                assert!(!purged.contains(&url), "{left} writes");
                assert!(read(found).await == stored[&url], "{left} writes");
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_a_miss() {
    let directory = directory();
    let store = open_at(directory.path());
    for n in 0..3 {
        put(
            &store,
            &key(&format!("/{n}")),
            fresh(),
            &content(n, 300_000),
        )
        .await;
    }
    drop(store);
    let store = open_at(directory.path());
    let before = find(&store, &key("/1")).await;
    store.0.io.faults.reads.store(true, Ordering::SeqCst);
    assert!(matches!(
        store.lookup(&key("/0")).await,
        Err(StoreError::Damaged(_))
    ));
    let range = ByteRange {
        start: 200_000,
        end: None,
    };
    assert!(
        before[0].body.read(range).collect().await.is_err(),
        "an error, not an end"
    );
    store.0.io.faults.reads.store(false, Ordering::SeqCst);
    assert!(find(&store, &key("/0")).await.is_empty());
    assert!(find(&store, &key("/1")).await.is_empty());
    assert_eq!(find(&store, &key("/2")).await.len(), 1);
    assert_eq!(store.errors(), 2);
    drop(before);
    // What is out of sight can still be purged for good.
    store
        .purge(&Purge::hard(Selection::Url(key("/0"))))
        .await
        .unwrap();
    drop(store);
    let store = open_at(directory.path());
    assert!(find(&store, &key("/0")).await.is_empty());
    assert_eq!(
        find(&store, &key("/1")).await.len(),
        1,
        "the disk was well in the end"
    );
}

#[tokio::test]
async fn a_directory_of_others_is_refused() {
    let directory = directory();
    fs::write(directory.path().join("thesis.tex"), "x").unwrap();
    let refused = builder(directory.path()).open().await;
    assert!(
        matches!(refused, Err(OpenError::NotOurs { .. })),
        "{refused:?}"
    );
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing was written"
    );
    let file = directory.path().join("thesis.tex");
    assert!(matches!(
        builder(&file).open().await,
        Err(OpenError::Io { .. })
    ));
}

#[tokio::test]
async fn two_do_not_share_a_directory() {
    let directory = directory();
    let store = builder(directory.path()).open().await.unwrap();
    let second = builder(directory.path()).open().await;
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    drop(store);
    open_at(directory.path());
}

/// As that of a process that was killed a moment ago.
#[test]
fn a_lock_that_is_about_to_be_given_up_is_waited_for() {
    let directory = directory();
    let store = builder(directory.path()).open_now().unwrap();
    let next = builder(directory.path());
    let opening = std::thread::spawn(|| next.open_now());
    std::thread::sleep(Duration::from_millis(100));
    assert!(!opening.is_finished());
    drop(store);
    assert!(opening.join().unwrap().is_ok());
}

#[tokio::test]
async fn another_version_is_begun_anew() {
    let directory = directory();
    let store = open_at(directory.path());
    put(&store, &key("/"), fresh(), b"x").await;
    drop(store);
    let mark = directory.path().join("cirrus-cache");
    let mut bytes = fs::read(&mark).unwrap();
    bytes[15] += 1;
    fs::write(&mark, bytes).unwrap();
    let store = open_at(directory.path());
    assert!(find(&store, &key("/")).await.is_empty());
    put(&store, &key("/"), fresh(), b"y").await;
    drop(store);
    let found = find(&open_at(directory.path()), &key("/")).await;
    assert_eq!(read(&found[0]).await, b"y");
}

#[tokio::test]
async fn purging_all_frees_the_disk_at_once() {
    let directory = directory();
    let store = open_at(directory.path());
    put(&store, &key("/"), fresh(), &content(1, 2_000_000)).await;
    store.purge(&Purge::hard(Selection::All)).await.unwrap();
    assert!(bytes_in(directory.path()) < 4096);
    put(&store, &key("/"), fresh(), b"x").await;
    assert_eq!(read(&find(&store, &key("/")).await[0]).await, b"x");
}

#[tokio::test]
async fn purges_that_concern_nobody_are_forgotten() {
    let directory = directory();
    let store = open_at(directory.path());
    for n in 0..100 {
        let purge = Purge::hard(Selection::Tag(format!("{n}").into()));
        store.purge(&purge).await.unwrap();
    }
    put(&store, &key("/"), fresh(), b"x").await;
    store
        .purge(&Purge::hard(Selection::Tag("last".into())))
        .await
        .unwrap();
    store.0.forget();
    assert_eq!(store.0.epochs.remembered(), 1);
}

#[tokio::test]
async fn a_hot_object_needs_no_thread() {
    let directory = directory();
    let store = open_at(directory.path());
    put(&store, &key("/"), fresh(), b"hot").await;
    let found = store
        .lookup(&key("/"))
        .now_or_never()
        .expect("at once")
        .unwrap();
    let body = found[0].body.read(ByteRange::ALL).collect().now_or_never();
    assert_eq!(body.expect("at once").unwrap().to_bytes(), "hot");
}
