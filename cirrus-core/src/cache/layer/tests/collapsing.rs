//! Many requests for the same at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::world::{Answer, World, failure, response, settle, trickle, world};

/// An origin that answers only when told to.
fn held(
    world: &World,
    answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
) -> watch::Sender<usize> {
    let (permits, wait) = watch::channel(0);
    let (answer, calls) = (Arc::new(answer), AtomicUsize::new(0));
    world.origin.acts(move |_| {
        let (mut wait, answer) = (wait.clone(), Arc::clone(&answer));
        let call = calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let _ = wait.wait_for(|permits| *permits > call).await;
            answer(call).await
        })
    });
    permits
}

fn fresh(call: usize) -> Answer {
    Box::pin(async move {
        Ok(response(
            200,
            "cache-control: max-age=60",
            format!("body {call}"),
        ))
    })
}

fn private(call: usize) -> Answer {
    Box::pin(async move {
        Ok(response(
            200,
            "cache-control: private",
            format!("body {call}"),
        ))
    })
}

#[tokio::test(start_paused = true)]
async fn a_hundred_misses_cost_the_origin_one_request() {
    let world = world();
    let permits = held(&world, fresh);
    let clients = join_all((0..100).map(|_| world.get("/")));
    let (replies, ()) = tokio::join!(clients, async {
        settle().await;
        permits.send_replace(usize::MAX);
    });
    assert_eq!(world.origin.calls(), 1);
    let mut followers = 0;
    for reply in replies {
        followers += usize::from(reply.word == "collapsed");
        let is_follower = reply.word == "collapsed";
        let reply = reply.is(200, "body 0");
        reply.cached(if is_follower {
            "fwd=uri-miss; collapsed"
        } else {
            "fwd=uri-miss; stored"
        });
    }
    assert_eq!(followers, 99);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_shared_releases_all_at_once() {
    let world = world();
    let permits = held(&world, private);
    let clients = join_all((0..20).map(|_| world.get("/")));
    let (replies, ()) = tokio::join!(clients, async {
        settle().await;
        assert_eq!(world.origin.calls(), 1);
        permits.send_replace(1);
        settle().await;
        assert_eq!(world.origin.calls(), 20, "nobody waits for anybody");
        permits.send_replace(usize::MAX);
    });
    let mut bodies: Vec<_> = replies
        .into_iter()
        .map(|reply| reply.body.unwrap())
        .collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 20, "everybody has their own");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_shared_is_not_waited_for_next_time() {
    let world = world();
    let permits = held(&world, private);
    permits.send_replace(1);
    world.get("/").await;
    let clients = join_all((0..5).map(|_| world.get_with("/", "if-none-match: \"a\"")));
    tokio::join!(clients, async {
        settle().await;
        assert_eq!(world.origin.calls(), 6);
        assert_eq!(
            world.origin.saw("if-none-match").as_deref(),
            Some("\"a\""),
            "the client's own condition"
        );
        permits.send_replace(usize::MAX);
    });
}

#[tokio::test(start_paused = true)]
async fn what_can_be_shared_again_is() {
    let world = world();
    world.serves(200, "cache-control: private", "x");
    world.get("/").await;
    world.serves(200, "cache-control: max-age=60", "x");
    world.get("/").await.cached("fwd=uri-miss; stored");
    world.get("/").await.cached("hit; ttl=60");
}

#[tokio::test(start_paused = true)]
async fn a_failed_leader_is_followed_by_another() {
    let world = world();
    let permits = held(
        &world,
        |call| if call == 0 { failure() } else { fresh(call) },
    );
    let clients = join_all((0..10).map(|_| world.begin("GET", "/", "")));
    let (replies, ()) = tokio::join!(clients, async {
        settle().await;
        permits.send_replace(1);
        settle().await;
        assert_eq!(world.origin.calls(), 2, "one of the followers leads now");
        permits.send_replace(2);
    });
    assert_eq!(replies.iter().filter(|reply| reply.is_err()).count(), 1);
    assert_eq!(world.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_before_the_answer_is_followed_by_another() {
    let world = world();
    let permits = held(&world, fresh);
    let mut leader = Box::pin(world.get("/"));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let follower = world.get("/");
    let (reply, ()) = tokio::join!(follower, async {
        settle().await;
        drop(leader);
        permits.send_replace(usize::MAX);
    });
    reply.is(200, "body 1").cached("fwd=uri-miss; stored");
}

/// `stale-if-error` is about an origin that fails, which nobody knows of this one.
#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_has_nobody_served_stale() {
    let world = world();
    world.serves(200, "cache-control: max-age=5, stale-if-error=60", "old");
    world.get("/").await;
    world.advance(10);
    let permits = held(&world, fresh);
    let mut leader = Box::pin(world.get("/"));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let follower = world.get("/");
    let (reply, ()) = tokio::join!(follower, async {
        settle().await;
        drop(leader);
        permits.send_replace(usize::MAX);
    });
    reply.is(200, "body 1").cached("fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let world = world();
    let permits = held(&world, fresh);
    let mut leader = Box::pin(world.get("/"));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let follower = world.get("/");
    let (reply, ()) = tokio::join!(follower, async {
        settle().await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(world.origin.calls(), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(world.origin.calls(), 2);
        permits.send_replace(usize::MAX);
    });
    assert_eq!(reply.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_fill_goes_on_when_its_client_leaves() {
    let world = world();
    let (mut sender, body) = trickle();
    let body = Mutex::new(Some(body));
    world.origin.acts(move |_| {
        super::world::at_once(response(
            200,
            "cache-control: max-age=60",
            body.lock().take().unwrap(),
        ))
    });
    drop(world.begin("GET", "/", "").await.unwrap());
    sender.send_data("all ".into()).await.unwrap();
    sender.send_data("of it".into()).await.unwrap();
    drop(sender);
    settle().await;
    world
        .get("/")
        .await
        .is(200, "all of it")
        .cached("hit; ttl=60")
        .has("content-length", "9");
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_client_does_not_slow_the_others() {
    let world = world();
    let (mut sender, body) = trickle();
    let body = Mutex::new(Some(body));
    world.origin.acts(move |_| {
        super::world::at_once(response(
            200,
            "cache-control: max-age=60",
            body.lock().take().unwrap(),
        ))
    });
    let (slow, _) = world.begin("GET", "/", "").await.unwrap();
    let (fast, _) = world.begin("GET", "/", "").await.unwrap();
    let feed = async move {
        for _ in 0..100 {
            sender.send_data(vec![b'x'; 10_000].into()).await.unwrap();
        }
    };
    let (fast, ()) = tokio::join!(fast.into_body().collect(), feed);
    assert_eq!(fast.unwrap().to_bytes().len(), 1_000_000);
    assert_eq!(
        slow.into_body().collect().await.unwrap().to_bytes().len(),
        1_000_000
    );
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_breaks_off_breaks_all_readers_and_leaves_nothing() {
    let world = world();
    let (mut sender, body) = trickle();
    let body = Mutex::new(Some(body));
    world.origin.acts(move |_| {
        super::world::at_once(response(
            200,
            "cache-control: max-age=60",
            body.lock().take().unwrap(),
        ))
    });
    let (first, _) = world.begin("GET", "/", "").await.unwrap();
    let (second, _) = world.begin("GET", "/", "").await.unwrap();
    sender.send_data("half".into()).await.unwrap();
    sender.abort("gone".into());
    assert!(first.into_body().collect().await.is_err());
    assert!(second.into_body().collect().await.is_err());
    assert_eq!(world.store.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn followers_of_another_variant_fetch_their_own() {
    let world = world();
    world.origin.acts(|request| {
        let body = request.headers["accept"].to_str().unwrap().to_owned();
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(response(
                200,
                "cache-control: max-age=60 | vary: accept",
                body,
            ))
        })
    });
    let accepts = ["accept: a", "accept: a", "accept: b", "accept: a"];
    let replies = join_all(accepts.map(|accept| world.get_with("/", accept))).await;
    for (reply, body) in replies.into_iter().zip(["a", "a", "b", "a"]) {
        reply.is(200, body);
    }
    assert_eq!(world.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn revalidations_are_collapsed_too() {
    let world = world();
    world.serves(200, "cache-control: max-age=5 | etag: \"a\"", "old");
    world.get("/").await;
    world.advance(10);
    let permits = held(&world, |_| {
        Box::pin(async { Ok(response(304, "cache-control: max-age=5", "")) })
    });
    let clients = join_all((0..50).map(|_| world.get("/")));
    let (replies, ()) = tokio::join!(clients, async {
        settle().await;
        permits.send_replace(usize::MAX);
    });
    assert_eq!(world.origin.calls(), 2);
    assert!(
        replies
            .into_iter()
            .all(|reply| reply.is(200, "old").status == 200)
    );
}

#[tokio::test(start_paused = true)]
async fn one_failure_serves_all_followers_stale_where_that_is_allowed() {
    let world = world();
    world.serves(200, "cache-control: max-age=5, stale-if-error=60", "old");
    world.get("/").await;
    world.advance(10);
    let permits = held(&world, |_| failure());
    let clients = join_all((0..50).map(|_| world.get("/")));
    let (replies, ()) = tokio::join!(clients, async {
        settle().await;
        permits.send_replace(usize::MAX);
    });
    assert_eq!(world.origin.calls(), 2);
    assert!(
        replies
            .into_iter()
            .all(|reply| reply.is(200, "old").word == "stale")
    );
}

#[tokio::test(start_paused = true)]
async fn requests_that_insist_do_not_wait_for_others() {
    let world = world();
    let permits = held(&world, fresh);
    let (waiting, insisting) = (
        world.get("/"),
        world.get_with("/", "cache-control: no-cache"),
    );
    tokio::join!(waiting, insisting, async {
        settle().await;
        assert_eq!(world.origin.calls(), 2);
        permits.send_replace(usize::MAX);
    });
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_just_behind_a_landing_looks_again() {
    let world = world();
    world.origin.acts(|_| fresh(0));
    world.store.slow.store(1, Ordering::Relaxed);
    let (late, early) = tokio::join!(world.get("/"), world.get("/"));
    early.is(200, "body 0").cached("fwd=uri-miss; stored");
    late.is(200, "body 0").cached("hit; ttl=60");
    assert_eq!(world.origin.calls(), 1);
}

/// An origin whose answers are a moment on their way.
fn slowly(world: &World, answer: impl Fn(usize) -> (u16, &'static str) + Send + Sync + 'static) {
    let calls = AtomicUsize::new(0);
    world.origin.acts(move |_| {
        let (status, header) = answer(calls.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move {
            settle().await;
            Ok(response(status, header, "x"))
        })
    });
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_end_collapsing() {
    let world = world();
    slowly(&world, |call| match call {
        0 => (503, ""),
        _ => (200, "cache-control: max-age=60"),
    });
    world.get("/").await;
    join_all((0..100).map(|_| world.get("/"))).await;
    assert_eq!(world.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_credentials_does_not_end_collapsing_for_those_without() {
    let world = world();
    slowly(&world, |_| (200, "cache-control: max-age=60"));
    world.get_with("/", "authorization: x").await;
    join_all((0..100).map(|_| world.get("/"))).await;
    assert_eq!(world.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_variant_is_fetched_once() {
    let world = world();
    slowly(&world, |_| {
        (200, "cache-control: max-age=60 | vary: accept-encoding")
    });
    let one = world.get_with("/", "accept-encoding: gzip");
    let others = join_all((0..100).map(|_| world.get_with("/", "accept-encoding: br")));
    tokio::join!(one, others);
    assert_eq!(world.origin.calls(), 2);
}
