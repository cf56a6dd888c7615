//! Redis fails in every way it can.

use std::future::Future;

use super::*;

/// Beyond any reasonable doubt.
const LONG: Duration = Duration::from_secs(30);

/// Until it is so; with the store's background running.
async fn eventually<F: Future<Output = bool>>(store: &impl CacheStore, is_so: impl Fn() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = store.maintain() => unreachable!(),
        waited = tokio::time::timeout(LONG, waiting) => waited.expect("before long"),
    }
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn without_redis_the_store_is_unavailable_and_comes_by_itself() {
    let mut server = RedisServer::start();
    server.kill();
    let store = edge_waiting(&server, Duration::from_secs(20));
    assert!(is_unavailable(&store.lookup(&key()).await));
    assert!(is_unavailable(&store.connect().await));
    assert!(is_unavailable(&store.insert(&key(), meta()).await));
    assert!(is_unavailable(
        &store.purge(&Purge::hard(Selection::All)).await
    ));
    server.restart();
    eventually(&store, async || store.lookup(&key()).await.is_ok()).await;
    put(&store, "x").await;
    assert_eq!(bodies(&store).await, ["x"]);
}

#[tokio::test]
async fn killed_and_back_it_has_nothing() {
    let mut server = RedisServer::start();
    let store = edge(&server).await;
    put(&store, "x").await;
    let asked = store.moment();
    let growing = begin(&store, asked).await;
    server.kill();
    eventually(&store, async || is_unavailable(&store.lookup(&key()).await)).await;
    assert!(growing.finish(HeaderMap::new()).await.is_err());
    server.restart();
    eventually(&store, async || store.lookup(&key()).await.is_ok()).await;
    assert!(bodies(&store).await.is_empty());
    let refused = store.insert(&key(), meta().with_asked(asked)).await;
    assert!(
        matches!(refused, Err(StoreError::Purged)),
        "what was purged since is not known"
    );
    put(&store, "y").await;
    assert_eq!(bodies(&store).await, ["y"]);
}

#[tokio::test]
async fn a_server_that_comes_back_with_old_data_serves_none_of_it() {
    let mut server = RedisServer::start();
    let store = edge(&server).await;
    put(&store, "x").await;
    assert_eq!(server.ask(&["SAVE"]), "+OK");
    store
        .purge(&Purge::hard(Selection::Tag("t".into())))
        .await
        .unwrap();
    server.restart();
    assert_ne!(server.ask(&["DBSIZE"]), ":0", "it was saved");
    let late = edge(&server).await;
    assert!(bodies(&late).await.is_empty());
    eventually(&store, async || store.lookup(&key()).await.is_ok()).await;
    assert!(bodies(&store).await.is_empty());
}

#[tokio::test]
async fn paused_it_is_left_out_within_the_time_limit() {
    let server = RedisServer::start();
    let store = edge_waiting(&server, Duration::from_millis(200));
    store.connect().await.unwrap();
    eventually(&store, async || store.lookup(&key()).await.is_ok()).await;
    server.pause();
    let begun = tokio::time::Instant::now();
    for _ in 0..20 {
        assert!(is_unavailable(&store.lookup(&key()).await));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "not every look-up waits: {:?}",
        begun.elapsed()
    );
    server.resume();
    eventually(&store, async || store.lookup(&key()).await.is_ok()).await;
}

#[tokio::test]
async fn paused_under_memory_nobody_waits_for_it() {
    let server = RedisServer::start();
    let redis = edge_waiting(&server, Duration::from_millis(200));
    redis.connect().await.unwrap();
    let store = under_memory(redis.clone());
    server.pause();
    let fill = begin(&store, store.moment()).await;
    end(fill, "x").await;
    assert_eq!(bodies(&store).await, ["x"]);
    // What could not be purged there is not served from there.
    assert!(store.purge(&Purge::hard(Selection::All)).await.is_err());
    assert!(bodies(&store).await.is_empty());
    server.resume();
    let is_back = async || {
        let _ = store.lookup(&key()).await;
        redis.lookup(&key()).await.is_ok()
            && store
                .purge(&Purge::soft(Selection::Tag("u".into())))
                .await
                .is_ok()
    };
    eventually(&store, is_back).await;
    assert!(bodies(&redis).await.is_empty(), "the purge was repeated");
}

#[tokio::test]
async fn flushed_it_is_empty_and_goes_on() {
    let server = RedisServer::start();
    let (one, other) = (edge(&server).await, edge(&server).await);
    put(&one, "x").await;
    let growing = begin(&one, one.moment()).await;
    assert_eq!(server.ask(&["FLUSHALL"]), "+OK");
    // Another edge is the first to notice.
    assert!(bodies(&other).await.is_empty());
    end(growing, "before").await;
    assert!(bodies(&one).await.is_empty());
    assert!(bodies(&other).await.is_empty());
    put(&one, "y").await;
    assert_eq!(bodies(&other).await, ["y"]);
    for what in selections() {
        assert_eq!(server.ask(&["FLUSHALL"]), "+OK");
        one.purge(&Purge::hard(what)).await.unwrap();
    }
}

#[tokio::test]
async fn without_the_log_what_is_stored_is_void() {
    let server = RedisServer::start();
    let store = edge(&server).await;
    put(&store, "x").await;
    assert_eq!(server.ask(&["DEL", "cirrus:cache:log"]), ":1");
    assert!(bodies(&store).await.is_empty());
    assert!(bodies(&edge(&server).await).await.is_empty());
    put(&store, "y").await;
    assert_eq!(bodies(&store).await, ["y"]);
}

/// Of the one URL that is there.
fn damage(server: &RedisServer, script: &str) {
    let script = format!("local key = redis.call('KEYS', '*:u:*')[1] {script} return 'done'");
    assert_eq!(server.ask(&["EVAL", &script, "0"]), "done");
}

#[tokio::test]
async fn what_is_damaged_is_a_miss_and_is_replaced() {
    let server = RedisServer::start();
    let store = edge(&server).await;
    let each = "for _, field in ipairs(redis.call('HKEYS', key)) do \
                if string.sub(field, 1, 1) == '{}' then {} end end";
    let of = |kind: &str, what: &str| each.replacen("{}", kind, 1).replacen("{}", what, 1);
    for damaged in [
        of("m", "redis.call('HSET', key, field, 'garbage')"),
        of("b", "redis.call('HSET', key, field, 'garbage')"),
        of("m", "redis.call('HSET', key, field, '')"),
        of("m", "redis.call('HDEL', key, field)"),
        of("b", "redis.call('HDEL', key, field)"),
        of(
            "b",
            "redis.call('HSET', key, field, redis.call('HGET', key, field) .. 'x')",
        ),
        "redis.call('SET', key, 'a string')".to_owned(),
        "redis.call('DEL', key) redis.call('LPUSH', key, 'a list')".to_owned(),
        "redis.call('DEL', key)".to_owned(),
    ] {
        put(&store, "good").await;
        assert_eq!(bodies(&store).await, ["good"], "before {damaged}");
        damage(&server, &damaged);
        assert!(bodies(&store).await.is_empty(), "{damaged}");
        put(&store, "new").await;
        assert_eq!(bodies(&store).await, ["new"], "{damaged}");
        store
            .purge(&Purge::hard(Selection::Url(key())))
            .await
            .unwrap();
    }
    put(&store, "x").await;
    assert_eq!(server.ask(&["SET", "cirrus:cache:log", "a string"]), "+OK");
    assert!(bodies(&store).await.is_empty());
    put(&store, "y").await;
    assert_eq!(bodies(&store).await, ["y"]);
}

#[tokio::test]
async fn another_urls_hash_is_not_this_ones() {
    let server = RedisServer::start();
    let store = edge(&server).await;
    put(&store, "x").await;
    store.insert(&key_of("/other"), meta()).await.unwrap();
    let copy = "local name = redis.call('KEYS', '*:u:*')[1] \
                redis.call('RENAME', name, 'saved') return 'done'";
    assert_eq!(server.ask(&["EVAL", copy, "0"]), "done");
    let fill = store.insert(&key_of("/other"), meta()).await.unwrap();
    end(fill, "other").await;
    damage(
        &server,
        "redis.call('DEL', key) redis.call('RENAME', 'saved', key)",
    );
    assert!(store.lookup(&key_of("/other")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_full_server_evicts_or_refuses() {
    for policy in ["allkeys-lru", "noeviction"] {
        let server = RedisServer::with(&["--maxmemory", "6mb", "--maxmemory-policy", policy]);
        let store = edge(&server).await;
        for n in 0..40_u8 {
            let target = PathAndQuery::try_from(format!("/{n}")).unwrap();
            let key = CacheKey::new(Scheme::Https, "a.example", &target);
            let Ok(mut fill) = store.insert(&key, meta()).await else {
                continue;
            };
            fill.write(vec![n; 500_000].into()).await.unwrap();
            let ended = fill.finish(HeaderMap::new()).await;
            assert!(
                ended.is_ok() || matches!(ended, Err(StoreError::Full)) && policy == "noeviction",
                "{policy}: {ended:?}"
            );
            for stored in store.lookup(&key).await.unwrap() {
                let body = stored.body.read(ByteRange::ALL).collect().await.unwrap();
                assert_eq!(body.to_bytes(), vec![n; 500_000]);
            }
        }
    }
}

#[tokio::test]
async fn the_password_stands_in_the_url() {
    let server = RedisServer::with(&["--requirepass", "se@cret"]);
    let without = edge_waiting(&server, Duration::from_secs(20));
    assert!(is_unavailable(&without.connect().await));
    let url = format!("redis://:se%40cret@{}", server.address());
    let store = RedisStore::builder(&url).unwrap().build();
    store.connect().await.unwrap();
    let told = format!("{store:?}");
    assert!(!told.contains("cret"), "{told}");
}
