//! Endpoints that answer, but not as they should: what checks and traffic say together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, proxy, reply};
use serde_json::Value;

use crate::health::{checked, cluster, until, ups};

/// An origin that takes so long for its answers, fails every so many of them, and has this to say about its health.
async fn origin(takes: Duration, fails: usize, health: u16) -> RunningOrigin {
    Origin::new()
        .get("/healthz", move |_| reply("").with_status(health))
        .later("/", move |asked| async move {
            tokio::time::sleep(takes).await;
            let is_bad = fails > 0 && asked.before % fails == 0;
            reply("").with_status(if is_bad { 500 } else { 200 })
        })
        .run()
        .await
}

/// Asks with several clients at once until the cluster is as it should be.
async fn under_load(proxy: &proxy::Running, is: impl Fn(&Value) -> bool) -> Value {
    let done = Arc::<AtomicBool>::default();
    let clients = (0..8).map(|_| {
        let (mut client, done) = (Client::to(proxy.address()), Arc::clone(&done));
        async move {
            while !done.load(Ordering::Relaxed) {
                client.get("/").await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let looking = async {
        let shown = until(proxy, is).await;
        done.store(true, Ordering::Relaxed);
        shown
    };
    let (shown, _) = tokio::join!(looking, futures_util::future::join_all(clients));
    shown
}

fn asked(origin: &RunningOrigin) -> usize {
    let asked = origin.asked();
    asked.iter().filter(|asked| asked.target == "/").count()
}

#[tokio::test]
async fn an_endpoint_is_up_while_its_check_its_latency_and_its_errors_say_so() {
    let quick = Duration::ZERO;
    let slow = origin(Duration::from_millis(500), 0, 200).await;
    let wrong = origin(quick, 5, 200).await;
    let sick = origin(quick, 0, 503).await;
    let well = origin(quick, 0, 200).await;
    let urls = [slow.url(), wrong.url(), sick.url(), well.url()];
    let health = "health = { all = [\"http\", \"p99 < 300ms\", \"error_rate < 5%\"], \
                  min_requests = 5, window = \"3s\" }";
    let check = checked("path = \"/healthz\"");
    let proxy = proxy::new(&cluster(&urls, health, &check)).run().await;
    under_load(&proxy, |shown| ups(shown) == [false, false, false, true]).await;
    let before = [&slow, &wrong, &sick].map(asked);
    let mut client = Client::to(proxy.address());
    for _ in 0..8 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(
        [&slow, &wrong, &sick].map(asked),
        before,
        "they are left alone"
    );
    // What traffic said is over with the window; what the check says is not.
    until(&proxy, |shown| ups(shown) == [true, true, false, true]).await;
}

#[tokio::test]
async fn who_is_much_slower_than_the_others_is_ejected() {
    let slow = origin(Duration::from_millis(300), 0, 200).await;
    let (one, two) = (
        origin(Duration::ZERO, 0, 200).await,
        origin(Duration::ZERO, 0, 200).await,
    );
    let urls = [one.url(), slow.url(), two.url()];
    let health = "health = { latency_above_median = 5, min_requests = 5, eject = \"1h\", \
                  max_eject = \"1h\" }";
    let proxy = proxy::new(&cluster(&urls, health, "")).run().await;
    let shown = under_load(&proxy, |shown| ups(shown) == [true, false, true]).await;
    assert_eq!(shown["endpoints"][1]["ejected"]["cause"], "latency");
    let before = asked(&slow);
    let mut client = Client::to(proxy.address());
    for _ in 0..6 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(asked(&slow), before);
}
