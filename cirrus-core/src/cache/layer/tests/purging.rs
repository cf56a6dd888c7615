//! Purges that come while the origin is asked.

use std::sync::Arc;

use futures_util::future::join_all;
use http::request::Parts;
use http::uri::PathAndQuery;

use super::world::{World, response, settle, world};
use crate::body::Response;
use crate::cache::{CacheKey, CacheStore, Purge, Scheme, Selection};

/// The origin answers like this, and everything stored for `/` is purged meanwhile.
fn purged_meanwhile(world: &World, answer: impl Fn(&Parts) -> Response + Send + Sync + 'static) {
    let store = Arc::clone(&world.store);
    world.origin.acts(move |asked| {
        let (store, answer) = (Arc::clone(&store), answer(asked));
        Box::pin(async move {
            settle().await;
            let key = CacheKey::new(Scheme::Http, "a.example", &PathAndQuery::from_static("/"));
            store
                .purge(&Purge::hard(Selection::Url(key)))
                .await
                .unwrap();
            Ok(answer)
        })
    });
}

async fn stale(header: &'static str) -> World {
    let world = world();
    world.serves(200, header, "old");
    world.get("/").await;
    world.advance(5);
    world
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_does_not_stand_in_for_a_failure() {
    let world = stale("cache-control: max-age=1, stale-if-error=600 | etag: \"a\"").await;
    purged_meanwhile(&world, |_| response(503, "", "down"));
    world.get("/").await.is(503, "down");
}

#[tokio::test(start_paused = true)]
async fn those_who_waited_for_what_is_purged_ask_anew() {
    let world = stale("cache-control: max-age=1 | etag: \"a\"").await;
    purged_meanwhile(&world, |asked| {
        match asked.headers.contains_key("if-none-match") {
            true => response(304, "", ""),
            false => response(200, "cache-control: max-age=60", "new"),
        }
    });
    let replies = join_all((0..100).map(|_| world.get("/"))).await;
    let old = replies
        .iter()
        .filter(|reply| reply.body.as_deref() == Some("old"))
        .count();
    // Whoever asked before the purge may be told what was true then; nobody else is.
    assert_eq!(old, 1);
    assert!(world.origin.calls() <= 3, "{}", world.origin.calls());
}
