//! What is stored, and what is not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::world::{Fault, World, at_once, failure, response, world};
use crate::cache::Rules;

#[tokio::test(start_paused = true)]
async fn the_second_request_is_a_hit() {
    let world = world();
    world.serves(
        200,
        "cache-control: max-age=60 | date: Fri, 20 Nov 2026 11:59:59 GMT | x-a: 1 | x-a: 2",
        "hello",
    );
    let first = world
        .get("/a?b")
        .await
        .is(200, "hello")
        .cached("fwd=uri-miss; stored");
    assert_eq!(first.word, "miss");
    world.advance(10);
    let second = world
        .get("/a?b")
        .await
        .is(200, "hello")
        .cached("hit; ttl=49")
        .has("age", "11");
    assert_eq!((second.word, &*second.field("x-a")), ("hit", "1, 2"));
    assert_eq!(second.field("date"), "Fri, 20 Nov 2026 11:59:59 GMT");
    assert_eq!(second.field("content-length"), "5");
    assert_eq!(world.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_miss_has_no_age_but_what_it_brought() {
    let world = world();
    world.serves(200, "cache-control: max-age=60", "");
    world.get("/young").await.has("age", "");
    world.serves(200, "cache-control: max-age=60 | age: 7", "");
    world.get("/old").await.has("age", "7");
    world
        .get("/old")
        .await
        .has("age", "7")
        .cached("hit; ttl=53");
}

#[tokio::test(start_paused = true)]
async fn a_response_without_date_gets_the_time_it_came() {
    let world = world();
    world.serves(200, "cache-control: max-age=60", "");
    world
        .get("/")
        .await
        .has("date", "Fri, 20 Nov 2026 12:00:00 GMT");
    world.advance(5);
    world
        .get("/")
        .await
        .has("date", "Fri, 20 Nov 2026 12:00:00 GMT")
        .has("age", "5");
}

#[tokio::test(start_paused = true)]
async fn targets_are_kept_apart() {
    let world = world();
    world.origin.acts(|request| {
        at_once(response(
            200,
            "cache-control: max-age=60",
            request.uri.to_string(),
        ))
    });
    for path in ["/", "/?", "/a", "/A", "/a/", "/a?b", "/a?c"] {
        world
            .get(path)
            .await
            .is(200, path)
            .cached("fwd=uri-miss; stored");
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_stored_never_is() {
    for (request, status, header, detail) in [
        ("", 200, "cache-control: private, max-age=60", "private"),
        ("", 200, "cache-control: no-store, max-age=60", "no-store"),
        (
            "authorization: Basic YTpi",
            200,
            "cache-control: max-age=60",
            "authorization",
        ),
        (
            "",
            200,
            "cache-control: public, s-maxage=60 | set-cookie: a=b",
            "set-cookie",
        ),
        ("", 200, "cache-control: max-age=60 | vary: *", "vary"),
        (
            "",
            206,
            "cache-control: max-age=60 | content-range: bytes 0-1/5",
            "status",
        ),
        ("", 200, "", "no-freshness"),
        ("", 500, "", "no-freshness"),
    ] {
        let world = world();
        world.serves(status, header, "secret");
        for _ in 0..2 {
            let reply = world.get_with("/", request).await.is(status, "secret");
            reply.cached(&format!("fwd=uri-miss; detail={detail}"));
        }
        assert_eq!(
            (world.origin.calls(), world.store.len()),
            (2, 0),
            "{header}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn errors_and_redirects_with_explicit_freshness_are_stored() {
    for status in [204, 301, 302, 404, 503] {
        let world = world();
        world.serves(status, "cache-control: max-age=60", "");
        world.get("/").await;
        world.get("/").await.is(status, "").cached("hit; ttl=60");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rules_default_makes_silent_responses_fresh() {
    let world = World::ruled(Rules::enabled().with_default_ttl(Duration::from_secs(5)));
    world.serves(200, "", "x");
    world.get("/").await.cached("fwd=uri-miss; stored");
    world.get("/").await.cached("hit; ttl=5");
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_off_does_nothing() {
    let world = World::ruled(Rules::default());
    world.serves(200, "cache-control: max-age=60", "x");
    for _ in 0..2 {
        let reply = world.get("/").await.is(200, "x").has("cache-status", "");
        assert_eq!(reply.word, "none");
    }
    assert_eq!(
        (
            world.origin.calls(),
            world.store.lookups.load(Ordering::Relaxed)
        ),
        (2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn what_caches_nearer_the_origin_said_stays_in_front() {
    let world = world();
    world.serves(
        200,
        "cache-control: max-age=60 | cache-status: shield; hit",
        "x",
    );
    world
        .get("/")
        .await
        .has("cache-status", "shield; hit, cirrus; fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn some_requests_pass() {
    let world = world();
    world.serves(200, "cache-control: max-age=60", "x");
    world.get("/").await;
    world
        .get_with("/", "cache-control: no-store")
        .await
        .cached("fwd=request; detail=no-store");
    world
        .get_with("/other", "if-match: \"a\"")
        .await
        .cached("fwd=bypass; detail=precondition");
    world
        .get_with("/", "upgrade: websocket")
        .await
        .cached("fwd=bypass; detail=upgrade");
    world.ask("OPTIONS", "/", "").await.cached("fwd=method");
    assert_eq!(world.origin.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn unsafe_methods_remove_what_they_may_have_changed() {
    let world = world();
    world.serves(200, "cache-control: max-age=60", "x");
    for path in ["/form", "/list", "/item", "/other"] {
        world.get(path).await;
    }
    world.serves(
        303,
        "location: /list | content-location: http://a.example/item",
        "",
    );
    assert_eq!(
        world
            .ask("POST", "/form", "")
            .await
            .cached("fwd=method")
            .word,
        "pass"
    );
    assert_eq!(world.store.len(), 1);
    world.get("/other").await.cached("hit; ttl=60");
}

#[tokio::test(start_paused = true)]
async fn unsafe_methods_that_fail_remove_nothing() {
    let world = world();
    world.serves(200, "cache-control: max-age=60", "x");
    world.get("/").await;
    world.serves(403, "", "");
    world.ask("DELETE", "/", "").await;
    world.origin.acts(|_| failure());
    assert!(world.begin("DELETE", "/", "").await.is_err());
    world.get("/").await.cached("hit; ttl=60");
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_store_is_left_alone_for_a_while() {
    let world = world();
    world.serves(200, "cache-control: max-age=60", "x");
    world.store.has(Fault::Unavailable);
    for _ in 0..3 {
        world
            .get("/")
            .await
            .is(200, "x")
            .cached("fwd=bypass; detail=store-unavailable");
    }
    assert_eq!(world.store.lookups.load(Ordering::Relaxed), 1);
    world.store.has(Fault::None);
    world.advance(1);
    world.get("/").await.cached("fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_object_is_a_miss_and_a_full_store_a_pass() {
    let world = world();
    world.serves(200, "cache-control: max-age=60", "x");
    world.store.has(Fault::Damaged);
    world.get("/").await.is(200, "x");
    world.store.has(Fault::Full);
    world.advance(2);
    world
        .get("/")
        .await
        .is(200, "x")
        .cached("fwd=uri-miss; detail=store-full");
    assert_eq!(world.store.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_response_shorter_than_announced_is_not_kept() {
    let world = world();
    world.serves(
        200,
        "cache-control: max-age=60 | content-length: 9",
        "short",
    );
    assert_eq!(world.get("/").await.body, None, "the client must notice");
    assert_eq!(world.store.len(), 0);
}
