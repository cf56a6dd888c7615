//! What happens to stale responses.

use crate::cache::Rules;
use crate::config::SetCookie;

use super::world::{World, at_once, failure, response, settle, world};

/// Stores `old` with this `Cache-Control` and lets it grow 10 s old.
async fn stale(header: &'static str) -> World {
    let world = world();
    world.serves(200, header, "old");
    world.get("/").await.cached("fwd=uri-miss; stored");
    world.advance(10);
    world
}

#[tokio::test(start_paused = true)]
async fn a_304_makes_it_fresh_again() {
    let world = stale(
        "cache-control: max-age=5 | etag: \"a\" | last-modified: Fri, 20 Nov 2026 11:00:00 GMT",
    )
    .await;
    world.serves(304, "cache-control: max-age=7 | etag: \"a\" | x-new: 1", "");
    let reply = world
        .get("/")
        .await
        .is(200, "old")
        .cached("fwd=stale; fwd-status=304")
        .has("age", "");
    assert_eq!(
        (
            reply.word,
            &*reply.field("x-new"),
            &*reply.field("content-length")
        ),
        ("revalidated", "1", "3")
    );
    assert_eq!(reply.field("date"), "Fri, 20 Nov 2026 12:00:10 GMT");
    assert_eq!(world.origin.saw("if-none-match").as_deref(), Some("\"a\""));
    assert_eq!(
        world.origin.saw("if-modified-since").as_deref(),
        Some("Fri, 20 Nov 2026 11:00:00 GMT")
    );
    world.advance(2);
    world
        .get("/")
        .await
        .is(200, "old")
        .cached("hit; ttl=5")
        .has("age", "2")
        .has("x-new", "1");
}

#[tokio::test(start_paused = true)]
async fn a_200_replaces_it() {
    let world = stale("cache-control: max-age=5 | etag: \"a\"").await;
    world.serves(200, "cache-control: max-age=5 | etag: \"b\"", "new");
    world
        .get("/")
        .await
        .is(200, "new")
        .cached("fwd=stale; stored");
    world.get("/").await.is(200, "new").cached("hit; ttl=5");
    assert_eq!(world.store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_validator_is_fetched_anew() {
    let world = stale("cache-control: max-age=5").await;
    world.serves(200, "cache-control: max-age=5 | content-length: 3", "new");
    world
        .get_with("/", "if-none-match: \"x\" | range: bytes=0-0")
        .await
        .is(206, "n");
    assert_eq!(
        (world.origin.saw("if-none-match"), world.origin.saw("range")),
        (None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn the_client_is_answered_by_its_own_condition() {
    let world = stale("cache-control: max-age=5 | etag: \"a\"").await;
    world.serves(304, "cache-control: max-age=5", "");
    world
        .get_with("/", "if-none-match: \"other\"")
        .await
        .is(200, "old")
        .cached("fwd=stale; fwd-status=304");
    world.advance(10);
    world
        .get_with("/", "if-none-match: \"a\"")
        .await
        .is(304, "");
}

#[tokio::test(start_paused = true)]
async fn requests_can_demand_revalidation() {
    for (header, why) in [
        ("cache-control: no-cache", "request"),
        ("cache-control: max-age=0", "request"),
        ("pragma: no-cache", "request"),
        ("cache-control: min-fresh=100", "request"),
        ("cache-control: max-age=9", "request"),
    ] {
        let world = stale("cache-control: max-age=60 | etag: \"a\"").await;
        world.serves(304, "", "");
        world
            .get_with("/", header)
            .await
            .is(200, "old")
            .cached(&format!("fwd={why}; fwd-status=304"));
        world
            .get_with("/", "pragma: no-cache | cache-control: max-age=60")
            .await
            .cached("hit; ttl=60");
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_about_something_else_freshens_nothing() {
    let world = stale("cache-control: max-age=5 | etag: \"a\"").await;
    world.origin.acts(|asked| {
        at_once(match asked.headers.contains_key("if-none-match") {
            true => response(304, "cache-control: max-age=5 | etag: \"b\"", ""),
            false => response(200, "cache-control: max-age=5 | etag: \"b\"", "new"),
        })
    });
    // It is asked once more, without conditions.
    world.get("/").await.is(200, "new").has("etag", "\"b\"");
    world.get("/").await.is(200, "new").cached("hit; ttl=5");
    assert_eq!(world.origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_304_that_forbids_storing_removes_it() {
    for header in [
        "cache-control: private, max-age=5",
        "cache-control: max-age=5 | set-cookie: a=b",
    ] {
        let world = stale("cache-control: max-age=5 | etag: \"a\"").await;
        world.serves(304, header, "");
        let reply = world.get("/").await.is(200, "old");
        assert_eq!(
            (reply.headers.contains_key("set-cookie"), world.store.len()),
            (header.contains("cookie"), 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn cookies_of_a_304_go_to_who_asked_only() {
    let mut rules = Rules::enabled();
    rules.set_cookie = SetCookie::Strip;
    let world = World::ruled(rules);
    world.serves(
        200,
        "cache-control: max-age=5 | etag: \"a\" | set-cookie: a=1",
        "old",
    );
    world.get("/").await.is(200, "old").has("set-cookie", "a=1");
    world
        .get("/")
        .await
        .cached("hit; ttl=5")
        .has("set-cookie", "");
    world.advance(5);
    world.serves(304, "cache-control: max-age=5 | set-cookie: a=2", "");
    world.get("/").await.is(200, "old").has("set-cookie", "a=2");
    world
        .get("/")
        .await
        .cached("hit; ttl=5")
        .has("set-cookie", "");
}

#[tokio::test(start_paused = true)]
async fn an_authorized_304_neither_freshens_nor_removes() {
    let world = stale("cache-control: max-age=5 | etag: \"a\"").await;
    world.serves(304, "cache-control: max-age=5", "");
    for _ in 0..2 {
        world
            .get_with("/", "authorization: Basic YTpi")
            .await
            .is(200, "old")
            .cached("fwd=stale; fwd-status=304");
    }
    assert_eq!((world.origin.calls(), world.store.len()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn no_cache_asks_every_time() {
    let world = stale("cache-control: no-cache | etag: \"a\"").await;
    world.serves(304, "", "");
    for call in 2..5 {
        world
            .get("/")
            .await
            .is(200, "old")
            .cached("fwd=stale; fwd-status=304");
        assert_eq!(world.origin.calls(), call);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_head_is_revalidated_without_storing() {
    let world = stale("cache-control: max-age=5 | etag: \"a\"").await;
    world.serves(
        200,
        "cache-control: max-age=5 | etag: \"b\" | content-length: 9",
        "",
    );
    world
        .ask("HEAD", "/", "")
        .await
        .is(200, "")
        .has("content-length", "9")
        .cached("fwd=stale");
    world.serves(304, "", "");
    world
        .ask("HEAD", "/", "")
        .await
        .is(200, "")
        .has("content-length", "3")
        .cached("fwd=stale; fwd-status=304");
    world.get("/").await.is(200, "old").cached("hit; ttl=5");
}

#[tokio::test(start_paused = true)]
async fn section_4_3_5_a_head_freshens_what_it_agrees_with() {
    for (stored, head, hit) in [
        ("etag: \"a\"", "etag: \"a\" | x-new: 1", true),
        (
            "etag: \"a\"",
            "etag: \"a\" | content-length: 3 | x-new: 1",
            true,
        ),
        ("etag: \"a\"", "etag: \"a\" | content-length: 4", false),
        ("etag: \"a\"", "etag: \"b\"", false),
        ("etag: \"a\"", "", false),
        ("", "", false),
        ("", "etag: \"a\"", false),
        (
            "etag: \"a\" | last-modified: Fri, 20 Nov 2026 11:00:00 GMT",
            "etag: \"a\" | last-modified: Fri, 20 Nov 2026 11:30:00 GMT",
            false,
        ),
    ] {
        let world = world();
        let header = format!("cache-control: max-age=5 | {stored}");
        world
            .origin
            .acts(move |_| at_once(response(200, &header, "old")));
        world.get("/").await.is(200, "old");
        world.advance(10);
        let header = format!("cache-control: max-age=5 | {head}");
        world
            .origin
            .acts(move |_| at_once(response(200, &header, "")));
        world
            .ask("HEAD", "/", "")
            .await
            .is(200, "")
            .cached("fwd=stale");
        let after = world.get_with("/", "cache-control: only-if-cached").await;
        assert_eq!(after.status == 200, hit, "{stored} then {head}");
        assert!(!hit || !head.contains("x-new") || after.field("x-new") == "1");
    }
}

#[tokio::test(start_paused = true)]
async fn section_4_3_5_a_head_that_disagrees_makes_it_stale() {
    let world = world();
    world.serves(200, "cache-control: max-age=60 | etag: \"a\"", "old");
    world.get("/").await.is(200, "old");
    world.serves(200, "cache-control: max-age=60 | etag: \"b\"", "");
    world
        .ask("HEAD", "/", "cache-control: no-cache")
        .await
        .is(200, "");
    world
        .get_with("/", "cache-control: only-if-cached")
        .await
        .is(504, "");
}

#[tokio::test(start_paused = true)]
async fn section_4_3_5_a_head_that_forbids_storing_removes_it() {
    let world = stale("cache-control: max-age=5 | etag: \"a\"").await;
    world.serves(200, "cache-control: no-store | etag: \"a\"", "");
    world.ask("HEAD", "/", "").await.is(200, "");
    assert_eq!(world.store.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn stale_while_revalidate_serves_at_once_and_asks_behind() {
    let world = stale("cache-control: max-age=5, stale-while-revalidate=60").await;
    let (answer, wait) = tokio::sync::watch::channel(false);
    world.origin.acts(move |_| {
        let mut wait = wait.clone();
        Box::pin(async move {
            let _ = wait.wait_for(|may| *may).await;
            Ok(response(200, "cache-control: max-age=5", "new"))
        })
    });
    for _ in 0..5 {
        let reply = world
            .get("/")
            .await
            .is(200, "old")
            .cached("hit; ttl=-5")
            .has("age", "10");
        assert_eq!(reply.word, "stale");
        settle().await;
    }
    assert_eq!(world.origin.calls(), 2, "one request for all of them");
    answer.send_replace(true);
    settle().await;
    world.get("/").await.is(200, "new").cached("hit; ttl=5");
    assert_eq!(world.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_in_grace_has_a_get_revalidate() {
    let world = stale("cache-control: max-age=5, stale-while-revalidate=60").await;
    world.origin.acts(|request| {
        assert_eq!(request.method, http::Method::GET);
        at_once(response(200, "cache-control: max-age=5", "newer"))
    });
    world
        .ask("HEAD", "/", "")
        .await
        .is(200, "")
        .cached("hit; ttl=-5");
    settle().await;
    world.get("/").await.is(200, "newer").cached("hit; ttl=5");
}

#[tokio::test(start_paused = true)]
async fn a_revalidation_behind_that_fails_is_tried_again() {
    let world = stale("cache-control: max-age=5, stale-while-revalidate=60").await;
    world.origin.acts(|_| failure());
    world.get("/").await.is(200, "old");
    settle().await;
    world.serves(200, "cache-control: max-age=5", "new");
    world.get("/").await.is(200, "old");
    settle().await;
    world.get("/").await.is(200, "new");
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_stands_in_for_a_failing_origin() {
    let world = stale("cache-control: max-age=5, stale-if-error=60 | etag: \"a\"").await;
    world.serves(503, "", "down");
    let reply = world.get("/").await.is(200, "old").has("age", "10");
    let reply = reply.cached("fwd=stale; fwd-status=503; ttl=-5; detail=stale-if-error");
    assert_eq!(reply.word, "stale");
    world.origin.acts(|_| failure());
    world
        .get("/")
        .await
        .is(200, "old")
        .cached("fwd=stale; ttl=-5; detail=stale-if-error");
    world.advance(60);
    assert!(
        world.begin("GET", "/", "").await.is_err(),
        "the window is over"
    );
}

#[tokio::test(start_paused = true)]
async fn without_permission_an_error_is_an_error() {
    for header in [
        "cache-control: max-age=5",
        "cache-control: max-age=5, stale-if-error=60, must-revalidate",
    ] {
        let world = stale(header).await;
        world.origin.acts(|_| failure());
        assert!(world.begin("GET", "/", "").await.is_err());
        world.serves(502, "", "down");
        world
            .get("/")
            .await
            .is(502, "down")
            .cached("fwd=stale; detail=no-freshness");
    }
}
