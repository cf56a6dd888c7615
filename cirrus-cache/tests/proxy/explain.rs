//! The admin listener tells what would be done, and what is stored.

use async_trait::async_trait;
use cirrus_core::cache::{
    CacheKey, CacheStore, Fill, Meta, Moment, ObjectId, Purge, Purged, StoreError, Stored,
};
use cirrus_core::testing::{Client, Describe, Origin, proxy, reply};
use serde_json::Value;

use crate::{secs, with_store};

async fn explained(proxy: &proxy::Running, query: &str) -> Value {
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let reply = admin.get(&format!("/api/v1/explain?{query}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_str(reply.text()).expect("JSON")
}

#[tokio::test]
async fn what_is_stored_is_told_with_its_arithmetic() {
    let origin = Origin::new()
        .get("/x", |asked| {
            reply(asked.header("accept-language"))
                .with("cache-control", "max-age=60, stale-while-revalidate=30")
                .with("age", "5")
                .with("vary", "accept-language")
        })
        .run()
        .await;
    let proxy = with_store(proxy::to(&origin)).run().await;
    let url = "url=http%3A%2F%2Fshop.example%2Fx&header=Accept-Language:%20de";
    assert_eq!(
        explained(&proxy, url).await["verdict"],
        "nothing is stored: the origin is asked"
    );
    let mut client = Client::to(proxy.address());
    for language in ["en", "de"] {
        client
            .get_with("/x", &format!("accept-language: {language}\r\n"))
            .await;
    }
    proxy.clock().advance(secs(20));
    let found = explained(&proxy, url).await;
    assert_eq!(
        (&found["verdict"], &found["cache"]["key"]),
        (&"served".into(), &"http://shop.example/x".into())
    );
    let [german, english] = found["stored"].as_array().unwrap().as_slice() else {
        panic!("two variants: {found:#}");
    };
    assert_eq!(
        (&german["matches"], &english["matches"]),
        (&true.into(), &false.into())
    );
    assert_eq!(german["age"], "25 s = 5 s when it was received + 20 s here");
    assert_eq!(german["lifetime"], "60 s, from max-age");
    assert_eq!(
        (&german["ttl"], &german["body"]),
        (&35.into(), &"whole".into())
    );
    assert_eq!(german["vary"][0][1], "de");
    proxy.clock().advance(secs(40));
    let verdict = explained(&proxy, url).await["verdict"].clone();
    assert_eq!(verdict, "served, and revalidated in the background");
    let insisting = format!("{url}&header=Cache-Control:%20no-cache");
    let verdict = explained(&proxy, &insisting).await["verdict"].clone();
    assert_eq!(verdict, "revalidated: the request wants it fresher");
    let other = explained(
        &proxy,
        "url=http://shop.example/x&header=Cache-Control:%20only-if-cached",
    );
    let verdict = other.await["verdict"].clone();
    assert!(verdict.as_str().unwrap().starts_with("504, "), "{verdict}");
    assert_eq!(origin.count(), 2, "nothing was sent");
}

#[tokio::test]
async fn what_is_no_question_is_told() {
    let origin = Origin::new().run().await;
    let proxy = with_store(proxy::to(&origin)).run().await;
    let mut admin = Client::to(proxy.admin()).host("localhost");
    for query in [
        "",
        "?url=x",
        "?url=http://a/&header=x",
        "?url=http://a/&method=G%20T",
    ] {
        assert_eq!(
            admin.get(&format!("/api/v1/explain{query}")).await.status,
            400,
            "{query}"
        );
    }
    let found = explained(&proxy, "url=http://a.example/&method=POST").await;
    assert_eq!(found["cache"]["intent"], "invalidate");
    assert_eq!(found["stored"], Value::Null);
}

/// A store that never says what it has.
struct Silent;

#[async_trait]
impl CacheStore for Silent {
    async fn lookup(&self, _: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        std::future::pending().await
    }

    fn moment(&self) -> Moment {
        Moment(0)
    }

    async fn insert(&self, _: &CacheKey, _: Meta) -> Result<Box<dyn Fill>, StoreError> {
        Err(StoreError::Full)
    }

    async fn refresh(&self, _: &CacheKey, _: ObjectId, _: Meta) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn purge(&self, _: &Purge) -> Result<Purged, StoreError> {
        Ok(Purged::default())
    }
}

#[tokio::test]
async fn operators_do_not_wait_for_a_store_that_hangs() {
    let origin = Origin::new().run().await;
    let proxy = proxy::to(&origin).with(|builder| builder.cache(Silent));
    let proxy = proxy.run().await;
    let url = "url=http://shop.example/x";
    let verdict = explained(&proxy, url).await["verdict"].to_string();
    assert!(verdict.starts_with("\"passed to the origin: "), "{verdict}");
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let looked = admin.get(&format!("/api/v1/cache/lookup?{url}")).await;
    assert_eq!(looked.status, 503);
}
