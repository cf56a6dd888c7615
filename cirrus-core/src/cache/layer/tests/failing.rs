//! Many requests for what the origin is late with or fails at, and stores that hang.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::world::{Fault, World, failure, response, world};

/// An origin that takes this long for every answer.
fn slow(world: &World, time: Duration, status: u16, header: &'static str) {
    world.origin.acts(move |_| {
        Box::pin(async move {
            sleep(time).await;
            Ok(response(status, header, "x"))
        })
    });
}

/// How long this many clients take, and how many of them fail.
async fn rush(world: &World, clients: usize) -> (Duration, usize) {
    let began = Instant::now();
    let replies = join_all((0..clients).map(|_| world.begin("GET", "/", ""))).await;
    let failed = |reply: &Result<(crate::body::Response, _), _>| match reply {
        Ok((response, _)) => response.status().is_server_error(),
        Err(_) => true,
    };
    (
        began.elapsed(),
        replies.iter().filter(|reply| failed(reply)).count(),
    )
}

#[tokio::test(start_paused = true)]
async fn five_hundred_wait_for_one_fetch_of_200_ms() {
    let world = world();
    slow(
        &world,
        Duration::from_millis(200),
        200,
        "cache-control: max-age=60",
    );
    let (time, failed) = rush(&world, 500).await;
    assert!(time <= Duration::from_millis(250), "{time:?}");
    assert_eq!((world.origin.calls(), failed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn two_failures_are_everybodys() {
    let world = world();
    slow(&world, Duration::from_secs(2), 503, "");
    let (time, failed) = rush(&world, 500).await;
    assert_eq!(time, Duration::from_secs(4));
    assert_eq!((world.origin.calls(), failed), (2, 500));
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_cannot_be_reached_fails_everybody_too() {
    let world = world();
    world.origin.acts(|_| {
        Box::pin(async {
            sleep(Duration::from_secs(1)).await;
            failure().await
        })
    });
    let (time, failed) = rush(&world, 500).await;
    assert_eq!(time, Duration::from_secs(2));
    assert_eq!((world.origin.calls(), failed), (2, 500));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_the_doing_of_two_is_not_held_against_others() {
    let world = world();
    world.origin.acts(|request| {
        let is_bad = request.headers.contains_key("x-bad");
        Box::pin(async move {
            sleep(Duration::from_secs(1)).await;
            let status = if is_bad { 500 } else { 200 };
            Ok(response(status, "cache-control: private", "x"))
        })
    });
    let bad = join_all((0..2).map(|_| world.get_with("/", "x-bad: 1")));
    let good = join_all((0..20).map(|_| world.get("/")));
    let (bad, good) = tokio::join!(bad, good);
    assert!(bad.iter().all(|reply| reply.status == 500));
    for reply in good {
        reply.is(200, "x");
    }
}

#[tokio::test(start_paused = true)]
async fn two_strange_failures_send_everybody_on_their_own() {
    let world = world();
    slow(&world, Duration::from_secs(1), 500, "");
    let (time, failed) = rush(&world, 500).await;
    assert_eq!(time, Duration::from_secs(3));
    assert_eq!((world.origin.calls(), failed), (500, 500));
}

#[tokio::test(start_paused = true)]
async fn a_shared_failure_says_where_it_comes_from() {
    let world = world();
    slow(
        &world,
        Duration::from_secs(1),
        503,
        "set-cookie: id=1 | x-internal: y",
    );
    let replies = join_all((0..3).map(|_| world.get("/"))).await;
    let told = |reply: &super::world::Reply| reply.field("cache-status");
    let reply = replies
        .into_iter()
        .find(|reply| told(reply).contains("collapsed"))
        .unwrap();
    assert_eq!(
        reply.field("set-cookie") + &reply.field("x-internal"),
        "",
        "it was not for others"
    );
    reply
        .is(503, "503 Service Unavailable\n")
        .has("proxy-status", "cirrus; received-status=503")
        .has("cache-control", "no-store")
        .cached("fwd=uri-miss; fwd-status=503; collapsed");
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_fails_late_does_not_line_them_up() {
    let world = world();
    slow(&world, Duration::from_secs(10), 503, "");
    let (time, failed) = rush(&world, 500).await;
    assert_eq!(time, Duration::from_secs(15), "the time limit, and one try");
    assert_eq!(failed, 500);
}

#[tokio::test(start_paused = true)]
async fn a_late_leader_is_relieved_by_one_who_stores() {
    let world = world();
    let (first, later) = (Duration::from_secs(60), Duration::from_secs(1));
    let calls = std::sync::atomic::AtomicUsize::new(0);
    world.origin.acts(move |_| {
        let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            sleep(if is_first { first } else { later }).await;
            Ok(response(200, "cache-control: max-age=600", "x"))
        })
    });
    let mut leader = Box::pin(world.get("/"));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let replies = join_all((0..10).map(|_| world.get("/"))).await;
    let count = |status: &str| {
        let of = |reply: &&super::world::Reply| reply.field("cache-status") == status;
        replies.iter().filter(of).count()
    };
    assert_eq!(count("cirrus; fwd=uri-miss; stored"), 1);
    assert_eq!(count("cirrus; fwd=uri-miss; detail=lock-timeout"), 9);
    world.get("/").await.cached("hit; ttl=600");
    leader.await.is(200, "x");
}

#[tokio::test(start_paused = true)]
async fn what_became_uncacheable_does_not_queue_behind_its_stale_copy() {
    let world = world();
    world.serves(200, "cache-control: max-age=5 | etag: \"a\"", "old");
    world.get("/").await;
    world.advance(10);
    slow(
        &world,
        Duration::from_secs(1),
        200,
        "cache-control: private",
    );
    rush(&world, 3).await;
    assert_eq!(
        rush(&world, 20).await.0,
        Duration::from_secs(1),
        "remembered: nobody waits"
    );
}

#[tokio::test(start_paused = true)]
async fn stale_in_place_of_a_failure_says_so() {
    let world = world();
    world.serves(200, "cache-control: max-age=5, stale-if-error=60", "old");
    world.get("/").await;
    world.advance(10);
    world.serves(503, "", "");
    let reply = world.get("/").await.is(200, "old");
    assert_eq!(reply.field("proxy-status"), "cirrus; received-status=503");
    world.origin.acts(|_| failure());
    let reply = world.get("/").await.is(200, "old");
    assert_eq!(
        reply.field("proxy-status"),
        "cirrus; error=connection_refused"
    );
    reply.cached("fwd=stale; ttl=-5; detail=stale-if-error");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_passed_by() {
    let world = world();
    world.serves(200, "cache-control: max-age=60", "x");
    world.store.has(Fault::Hanging);
    let began = Instant::now();
    world
        .get("/")
        .await
        .is(200, "x")
        .cached("fwd=bypass; detail=store-unavailable");
    assert_eq!(began.elapsed(), Duration::from_millis(500));
    world
        .get("/")
        .await
        .cached("fwd=bypass; detail=store-unavailable");
    assert_eq!(
        began.elapsed(),
        Duration::from_millis(500),
        "not tried again at once"
    );
    world.advance(2);
    world.store.has(Fault::None);
    world.get("/").await.cached("fwd=uri-miss; stored");
    world.get("/").await.cached("hit; ttl=60");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_hold_up_a_change() {
    let world = world();
    world.serves(200, "", "x");
    world.store.has(Fault::Hanging);
    let began = Instant::now();
    world.ask("POST", "/", "").await.is(200, "x");
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}
