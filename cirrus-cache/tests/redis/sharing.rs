//! What one edge does holds for the others.

use super::*;

#[tokio::test]
async fn what_one_edge_stores_another_finds() {
    let server = RedisServer::start();
    let (one, other) = (edge(&server).await, edge(&server).await);
    put(&one, "x").await;
    assert_eq!(bodies(&other).await, ["x"]);
    let ttl: u64 = server
        .ask(&[
            "EVAL",
            "return redis.call('PTTL', redis.call('KEYS', '*:u:*')[1])",
            "0",
        ])
        .trim_start_matches(':')
        .parse()
        .unwrap();
    let grace = 600_000;
    assert!(
        (3_500_000 + grace..=3_600_000 + grace).contains(&ttl),
        "{ttl}"
    );
}

#[tokio::test]
async fn what_one_edge_purges_no_other_finds() {
    let server = RedisServer::start();
    let (one, other) = (edge(&server).await, edge(&server).await);
    for what in selections() {
        put(&one, "x").await;
        assert_eq!(bodies(&other).await, ["x"], "before {what:?}");
        one.purge(&Purge::hard(what.clone())).await.unwrap();
        assert!(bodies(&other).await.is_empty(), "after {what:?}");
        // Nor does one that knows nothing but the log.
        let late = edge(&server).await;
        assert!(bodies(&late).await.is_empty(), "after {what:?}");
        put(&other, "new").await;
        assert_eq!(bodies(&late).await, ["new"], "after {what:?}");

        one.purge(&Purge::soft(what.clone())).await.unwrap();
        let found = other.lookup(&key()).await.unwrap();
        let left = found[0].meta.freshness().remaining(SystemClock.now());
        assert!(left.is_zero(), "softly, after {what:?}");
        one.purge(&Purge::hard(what)).await.unwrap();
    }
}

#[tokio::test]
async fn a_fill_never_undoes_the_purge_of_another_edge() {
    let server = RedisServer::start();
    let (one, other) = (edge(&server).await, edge(&server).await);
    for what in selections() {
        let asked = other.moment();
        let growing = begin(&other, asked).await;
        one.purge(&Purge::hard(what.clone())).await.unwrap();
        assert!(bodies(&other).await.is_empty(), "growing, after {what:?}");
        end(growing, "before").await;
        // Asked for before the purge, and inserted after it.
        if let Ok(late) = other.insert(&key(), meta().with_asked(asked)).await {
            end(late, "before").await;
        }
        assert!(bodies(&other).await.is_empty(), "after {what:?}");
        assert!(bodies(&one).await.is_empty(), "after {what:?}");
    }
}

#[tokio::test]
async fn what_the_log_has_forgotten_counts_as_purged() {
    let server = RedisServer::start();
    let one = edge(&server).await;
    put(&one, "x").await;
    // As if a great many purges had been made since.
    let script = "for n = 1, 3 do redis.call('HINCRBY', KEYS[1], 'clk', 1) end \
                  redis.call('HSET', KEYS[1], 'cnt', 3, 'low', 4) return 1";
    assert_eq!(server.ask(&["EVAL", script, "1", "cirrus:cache:log"]), ":1");
    one.purge(&Purge::hard(Selection::Tag("other".into())))
        .await
        .unwrap();
    let late = edge(&server).await;
    assert!(bodies(&late).await.is_empty());
    put(&late, "y").await;
    assert_eq!(bodies(&late).await, ["y"]);
    assert_eq!(bodies(&edge(&server).await).await, ["y"]);
}

#[tokio::test]
async fn the_older_of_two_fills_does_not_replace_the_newer() {
    let server = RedisServer::start();
    let (one, other) = (edge(&server).await, edge(&server).await);
    let older = begin(&one, one.moment()).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let newer = begin(&other, other.moment()).await;
    end(newer, "newer").await;
    end(older, "older").await;
    assert_eq!(bodies(&one).await, ["newer"]);
}

#[tokio::test]
async fn prefixes_keep_stores_apart_and_only_so_many_variants_are_kept() {
    let server = RedisServer::start();
    let one = edge(&server).await;
    let other = RedisStore::builder(&server.url())
        .unwrap()
        .prefix("other:")
        .timeout(Duration::from_secs(20))
        .build();
    other.connect().await.unwrap();
    put(&one, "x").await;
    assert!(bodies(&other).await.is_empty());
    for n in 0..40_u32 {
        let name = http::header::ACCEPT_LANGUAGE;
        let value = http::HeaderValue::from(n);
        let vary = cirrus_core::cache::Variant::new([(name, Some(value))]);
        let fill = other.insert(&key(), meta().with_vary(vary)).await;
        end(fill.unwrap(), n.to_string()).await;
    }
    let expected: Vec<_> = (24..40).rev().map(|n: u32| n.to_string()).collect();
    assert_eq!(bodies(&other).await, expected);
}
