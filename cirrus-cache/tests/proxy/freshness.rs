//! How long a response is used, and what happens then.

use cirrus_core::testing::{Describe, Origin, reply};
use tokio::net::TcpStream;

use crate::{cached, did, is_hit, secs, until};

#[tokio::test]
async fn the_second_request_is_a_hit() {
    let origin = Origin::new()
        .get("/", |_| reply("hello").with("cache-control", "max-age=60"))
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    let first = client.get("/").await;
    assert_eq!(
        (first.text(), &*did(&first)),
        ("hello", "fwd=uri-miss; stored")
    );
    assert_eq!(first.header("age"), "");
    let second = client.get("/").await;
    assert_eq!((second.text(), &*did(&second)), ("hello", "hit; ttl=60"));
    assert_eq!(second.header("age"), "0");
    proxy.clock().advance(secs(5));
    let third = client.get("/").await;
    assert_eq!((&*did(&third), &*third.header("age")), ("hit; ttl=55", "5"));
    assert_eq!(third.header("content-length"), "5");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_has_expired_is_confirmed() {
    let origin = Origin::new()
        .get("/", |asked| {
            let fresh = reply("")
                .with("etag", "\"a\"")
                .with("cache-control", "max-age=60");
            match &*asked.header("if-none-match") {
                "\"a\"" => fresh.with_status(304),
                _ => fresh.map(|_| "hello".into()),
            }
        })
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    proxy.clock().advance(secs(60));
    let second = client.get("/").await;
    assert_eq!((second.status, second.text()), (200, "hello"));
    assert_eq!(did(&second), "fwd=stale; fwd-status=304");
    let third = client.get("/").await;
    assert_eq!((third.text(), &*did(&third)), ("hello", "hit; ttl=60"));
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_has_changed_is_replaced() {
    let origin = Origin::new()
        .get("/", |asked| {
            let body = format!("version {}", asked.before);
            reply(body)
                .with("etag", &format!("\"{}\"", asked.before))
                .with("cache-control", "max-age=60")
        })
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    assert_eq!(client.get("/").await.text(), "version 0");
    proxy.clock().advance(secs(61));
    let second = client.get("/").await;
    assert_eq!(
        (second.text(), &*did(&second)),
        ("version 1", "fwd=stale; stored")
    );
    assert_eq!(origin.asked()[1].header("if-none-match"), "\"0\"");
    let third = client.get("/").await;
    assert_eq!((third.text(), is_hit(&third)), ("version 1", true));
}

#[tokio::test]
async fn s_maxage_and_expires_count_too() {
    let origin = Origin::new()
        .get("/shared", |_| {
            reply("").with("cache-control", "s-maxage=10, max-age=1000")
        })
        .get("/until", |_| {
            reply("")
                .with("date", "Fri, 20 Nov 2026 12:00:00 GMT")
                .with("expires", "Fri, 20 Nov 2099 12:00:00 GMT")
        })
        .get("/past", |_| reply("").with("expires", "0"))
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    for path in ["/shared", "/until", "/past"] {
        client.get(path).await;
    }
    assert_eq!(did(&client.get("/shared").await), "hit; ttl=10");
    assert!(is_hit(&client.get("/until").await));
    assert!(!is_hit(&client.get("/past").await));
    proxy.clock().advance(secs(10));
    assert!(!is_hit(&client.get("/shared").await));
}

#[tokio::test]
async fn what_is_stale_is_served_while_it_is_revalidated() {
    let origin = Origin::new()
        .get("/", |asked| {
            reply(format!("version {}", asked.before))
                .with("cache-control", "max-age=1, stale-while-revalidate=60")
        })
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    proxy.clock().advance(secs(5));
    let stale = client.get("/").await;
    assert_eq!((stale.text(), &*did(&stale)), ("version 0", "hit; ttl=-4"));
    until(async || origin.count() == 2).await;
    let mut last = client.get("/").await;
    while last.text() == "version 0" {
        last = client.get("/").await;
    }
    assert_eq!((last.text(), is_hit(&last)), ("version 1", true));
    assert_eq!(origin.count(), 2);
    proxy.clock().advance(secs(62));
    let late = client.get("/").await;
    assert_eq!(
        (late.text(), &*did(&late)),
        ("version 2", "fwd=stale; stored")
    );
}

#[tokio::test]
async fn what_is_stale_stands_in_for_an_origin_that_is_gone() {
    let origin = Origin::new()
        .get("/", |_| {
            reply("hello").with("cache-control", "max-age=1, stale-if-error=60")
        })
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    origin.stop();
    while TcpStream::connect(origin.address()).await.is_ok() {}
    proxy.clock().advance(secs(5));
    let stale = client.get("/").await;
    assert_eq!((stale.status, stale.text()), (200, "hello"));
    assert_eq!(did(&stale), "fwd=stale; ttl=-4; detail=stale-if-error");
    assert_eq!(stale.header("age"), "5");
    proxy.clock().advance(secs(60));
    let gone = client.get("/").await;
    assert_eq!((gone.status, is_hit(&gone)), (502, false));
}

#[tokio::test]
async fn what_is_stale_stands_in_for_an_origin_that_fails() {
    let origin = Origin::new()
        .get("/", |asked| match asked.before {
            0 => reply("hello").with("cache-control", "max-age=1, stale-if-error=60"),
            1 => reply("broken").with_status(503),
            _ => reply("gone").with_status(404),
        })
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    proxy.clock().advance(secs(5));
    let stale = client.get("/").await;
    assert_eq!((stale.status, stale.text()), (200, "hello"));
    assert_eq!(
        did(&stale),
        "fwd=stale; fwd-status=503; ttl=-4; detail=stale-if-error"
    );
    assert_eq!(client.get("/").await.status, 404, "no failure");
}

#[tokio::test]
async fn the_sites_default_is_for_responses_that_name_none() {
    let origin = Origin::new()
        .get("/silent", |_| reply(""))
        .get("/private", |_| reply("").with("cache-control", "private"))
        .run()
        .await;
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\ncache = {{ enable = true, default_ttl = \"30s\" }}\n\
         origin = [{{ url = \"{}\" }}]\n",
        origin.url()
    );
    let proxy = crate::with_store(cirrus_core::testing::proxy::new(&toml))
        .run()
        .await;
    let mut client = cirrus_core::testing::Client::to(proxy.address());
    for path in ["/silent", "/private"] {
        client.get(path).await;
    }
    assert_eq!(did(&client.get("/silent").await), "hit; ttl=30");
    assert_eq!(
        did(&client.get("/private").await),
        "fwd=uri-miss; detail=private"
    );
}
