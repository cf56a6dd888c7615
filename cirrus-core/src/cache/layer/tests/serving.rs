//! How stored responses are served: by variant, in part, conditionally, without content.

use super::world::{World, at_once, response, settle, trickle, world};

/// Serves ten bytes with validators.
async fn digits() -> World {
    let world = world();
    let header = "cache-control: max-age=60 | etag: \"a\" | content-type: text/plain | \
                  last-modified: Fri, 20 Nov 2026 11:00:00 GMT";
    world.serves(200, header, "0123456789");
    world.get("/").await;
    world
}

#[tokio::test(start_paused = true)]
async fn variants_are_kept_side_by_side() {
    let world = world();
    world.origin.acts(|request| {
        let language = request
            .headers
            .get("accept-language")
            .map_or("none", |value| value.to_str().unwrap());
        at_once(response(
            200,
            "cache-control: max-age=60 | vary: Accept-Language",
            language.to_owned(),
        ))
    });
    world
        .get_with("/", "accept-language: de")
        .await
        .is(200, "de")
        .cached("fwd=uri-miss; stored");
    world
        .get_with("/", "accept-language: en")
        .await
        .is(200, "en")
        .cached("fwd=vary-miss; stored");
    world
        .get("/")
        .await
        .is(200, "none")
        .cached("fwd=vary-miss; stored");
    for (header, body) in [
        ("accept-language: de", "de"),
        ("accept-language: en", "en"),
        ("", "none"),
    ] {
        world
            .get_with("/", header)
            .await
            .is(200, body)
            .cached("hit; ttl=60");
    }
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_from_a_stored_get() {
    let world = digits().await;
    let reply = world
        .ask("HEAD", "/", "")
        .await
        .is(200, "")
        .cached("hit; ttl=60");
    assert_eq!(
        (&*reply.field("content-length"), &*reply.field("etag")),
        ("10", "\"a\"")
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_that_misses_passes_and_stores_nothing() {
    let world = world();
    world.serves(200, "cache-control: max-age=60 | content-length: 10", "");
    world
        .ask("HEAD", "/", "")
        .await
        .cached("fwd=uri-miss; detail=head");
    assert_eq!(world.store.len(), 0);
    world.serves(200, "cache-control: max-age=60", "0123456789");
    world
        .get("/")
        .await
        .is(200, "0123456789")
        .cached("fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_range_of_a_stored_response_is_a_206() {
    let world = digits().await;
    let part = world
        .get_with("/", "range: bytes=2-4")
        .await
        .is(206, "234")
        .cached("hit; ttl=60");
    assert_eq!(
        (
            &*part.field("content-range"),
            &*part.field("content-length")
        ),
        ("bytes 2-4/10", "3")
    );
    world
        .get_with("/", "range: bytes=-2")
        .await
        .is(206, "89")
        .has("content-range", "bytes 8-9/10");
    world
        .get_with("/", "range: bytes=10-")
        .await
        .is(416, "")
        .has("content-range", "bytes */10");
    world
        .get_with("/", "range: bytes=0-1,4-5")
        .await
        .is(206, "012345")
        .has("content-range", "bytes 0-5/10");
    world
        .get_with("/", "range: bytes=0-1 | if-range: \"a\"")
        .await
        .is(206, "01");
    world
        .get_with("/", "range: bytes=0-1 | if-range: \"b\"")
        .await
        .is(200, "0123456789");
    world
        .get_with(
            "/",
            "range: bytes=0-1 | if-range: Fri, 20 Nov 2026 11:00:00 GMT",
        )
        .await
        .is(206, "01");
    world
        .ask("HEAD", "/", "range: bytes=0-1")
        .await
        .is(200, "")
        .has("content-length", "10");
    assert_eq!(world.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_range_that_misses_passes_and_stores_nothing() {
    let world = world();
    world.serves(
        206,
        "cache-control: max-age=60 | content-range: bytes 0-1/10",
        "01",
    );
    world
        .get_with("/", "range: bytes=0-1 | if-range: \"a\"")
        .await
        .is(206, "01")
        .cached("fwd=uri-miss; detail=range");
    assert_eq!(world.origin.saw("range").as_deref(), Some("bytes=0-1"));
    assert_eq!(
        (world.origin.saw("if-range").as_deref(), world.store.len()),
        (Some("\"a\""), 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_range_can_be_read_while_the_object_grows() {
    let world = world();
    let (mut sender, body) = trickle();
    let body = parking_lot::Mutex::new(Some(body));
    world.origin.acts(move |_| {
        at_once(response(
            200,
            "cache-control: max-age=60 | content-length: 10",
            body.lock().take().unwrap(),
        ))
    });
    let (_first, _) = world.begin("GET", "/", "").await.unwrap();
    sender.send_data("01234".into()).await.unwrap();
    settle().await;
    world
        .get_with("/", "range: bytes=1-2")
        .await
        .is(206, "12")
        .has("content-range", "bytes 1-2/10");
}

#[tokio::test(start_paused = true)]
async fn clients_that_have_it_get_a_304() {
    let world = digits().await;
    for condition in [
        "if-none-match: \"a\"",
        "if-none-match: W/\"a\"",
        "if-none-match: *",
        "if-modified-since: Fri, 20 Nov 2026 11:00:00 GMT",
        "if-none-match: \"a\" | range: bytes=0-1",
    ] {
        let reply = world
            .get_with("/", condition)
            .await
            .is(304, "")
            .cached("hit; ttl=60")
            .has("etag", "\"a\"");
        assert_eq!(reply.field("cache-control"), "max-age=60");
        assert!(
            !reply.headers.contains_key("content-length")
                && !reply.headers.contains_key("content-type")
        );
    }
    world
        .get_with("/", "if-none-match: \"b\"")
        .await
        .is(200, "0123456789");
    world
        .ask("HEAD", "/", "if-none-match: \"a\"")
        .await
        .is(304, "");
    assert_eq!(world.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_filling_request_carries_no_condition_of_its_client() {
    let world = world();
    world.serves(200, "cache-control: max-age=60 | etag: \"a\"", "x");
    let condition = "if-none-match: \"a\" | if-modified-since: Fri, 20 Nov 2026 11:00:00 GMT";
    world
        .get_with("/", condition)
        .await
        .is(304, "")
        .cached("fwd=uri-miss; stored");
    assert_eq!(
        (
            world.origin.saw("if-none-match"),
            world.origin.saw("if-modified-since")
        ),
        (None, None)
    );
    settle().await;
    world.get("/").await.is(200, "x").cached("hit; ttl=60");
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_never_asks_the_origin() {
    let world = digits().await;
    world
        .get_with("/", "cache-control: only-if-cached")
        .await
        .is(200, "0123456789");
    world
        .get_with("/other", "cache-control: only-if-cached")
        .await
        .is(504, "")
        .cached("detail=only-if-cached");
    world.advance(60);
    world
        .get_with("/", "cache-control: only-if-cached")
        .await
        .is(504, "");
    assert_eq!(world.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn clients_can_put_up_with_stale_responses() {
    let world = digits().await;
    world.advance(65);
    let reply = world
        .get_with("/", "cache-control: max-stale=10")
        .await
        .is(200, "0123456789")
        .cached("hit; ttl=-5");
    assert_eq!(reply.word, "stale");
}
