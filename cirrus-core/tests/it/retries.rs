//! Requests that are sent again, and those that are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, proxy, reply, scripted};

use crate::balancing::{list, origins};
use crate::upstream::metric;

fn site(retry: &str, origins: &[RunningOrigin]) -> String {
    let list = list("site.origin", origins);
    format!("[[site]]\nhosts = [\"*\"]\nretry = {{ {retry} }}\n{list}")
}

/// One that answers with a status, and one that answers with what it was sent.
async fn bad_and_good(status: u16) -> [RunningOrigin; 2] {
    let bad = move |_| reply("bad").with_status(status);
    let good = |asked: cirrus_core::testing::Asked| reply(asked.body.unwrap());
    [
        Origin::new().get("*", bad).run().await,
        Origin::new().get("*", good).run().await,
    ]
}

/// One that never answers, and one that does.
async fn slow_and_fast() -> [RunningOrigin; 2] {
    let slow = Origin::new().later("*", |_| std::future::pending());
    let fast = Origin::new().get("*", |_| reply("fast"));
    [slow.run().await, fast.run().await]
}

#[tokio::test]
async fn a_status_is_tried_again_elsewhere_with_its_body() {
    let origins = bad_and_good(503).await;
    let proxy = proxy::new(&site("budget_min = 100", &origins)).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..6 {
        let answer = client.ask("PUT", "/", "", b"kept").await;
        assert_eq!((answer.status, answer.text()), (200, "kept"));
        let chunked = b"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                        2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        client.send(chunked).await;
        let answer = client.reply_to("PUT").await;
        assert_eq!((answer.status, answer.text()), (200, "abc"));
    }
    assert!(origins[0].count() >= 4);
    let retries = metric(&proxy, "cirrus_upstream_retries_total{reason=\"status\"}").await;
    assert_eq!(retries, origins[0].count() as f64);
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_sent_once_unless_told() {
    for (retry, again) in [
        ("budget_min = 100", false),
        ("budget_min = 100, non_idempotent = true", true),
    ] {
        let origins = bad_and_good(503).await;
        let proxy = proxy::new(&site(retry, &origins)).run().await;
        let mut client = Client::to(proxy.address());
        let mut failed = 0;
        for _ in 0..6 {
            failed += usize::from(client.ask("POST", "/", "", b"x").await.status == 503);
        }
        assert_eq!(failed, if again { 0 } else { 3 }, "{retry}");
    }
}

#[tokio::test]
async fn other_statuses_and_larger_bodies_are_passed_on() {
    let origins = bad_and_good(500).await;
    let proxy = proxy::new(&site("budget_min = 100", &origins)).run().await;
    let mut client = Client::to(proxy.address());
    let statuses = [client.get("/").await.status, client.get("/").await.status];
    assert!(statuses.contains(&500), "{statuses:?}");

    let origins = bad_and_good(503).await;
    let retry = "budget_min = 100, buffer = \"1KiB\"";
    let proxy = proxy::new(&site(retry, &origins)).run().await;
    let mut client = Client::to(proxy.address());
    let large = [b'x'; 3000];
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = client.ask("PUT", "/", "", &large).await;
        assert!(answer.status != 200 || answer.text().len() == 3000);
        statuses.push(answer.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503]);
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let origins = [
        scripted(b"").await,
        Origin::new().get("*", |_| reply("ok")).run().await,
    ];
    let proxy = proxy::new(&site("budget_min = 100", &origins)).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..6 {
        assert_eq!(client.get("/").await.text(), "ok");
    }
    let resets = metric(&proxy, "cirrus_upstream_retries_total{reason=\"reset\"}").await;
    assert_eq!(resets, 6.0, "another try takes the other one's turn");
}

#[tokio::test]
async fn a_try_has_a_time_of_its_own() {
    let origins = slow_and_fast().await;
    let retry = "on = [\"timeout\"], per_try_timeout = \"50ms\", budget_min = 100";
    let proxy = proxy::new(&site(retry, &origins)).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..4 {
        assert_eq!(client.get("/").await.text(), "fast");
    }
    let timeouts = metric(&proxy, "cirrus_upstream_retries_total{reason=\"timeout\"}").await;
    assert_eq!(timeouts, 4.0);
}

#[tokio::test]
async fn who_takes_too_long_for_a_try_counts_as_slow() {
    let origins = slow_and_fast().await;
    let retry = "on = [\"timeout\"], per_try_timeout = \"250ms\", budget_min = 100";
    let text = site(retry, &origins).replace("retry =", "balance.policy = \"peak_ewma\"\nretry =");
    let proxy = proxy::new(&text).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "fast");
    }
    assert!(origins[0].count() < 10, "{}", origins[0].count());
}

#[tokio::test]
async fn a_trial_that_takes_too_long_has_failed() {
    let origin = Origin::new()
        .get("/bad", |_| reply("").with_status(500))
        .later("/stalls", |_| std::future::pending());
    let retry = "attempts = 1, per_try_timeout = \"50ms\"";
    let breaker = "health.min_requests = 5\n\
                   breaker = { error_rate = 50, open = \"1s\", half_open = 1 }";
    let origins = [origin.run().await];
    let text = site(retry, &origins).replace("retry =", &format!("{breaker}\nretry ="));
    let proxy = proxy::new(&text).run().await;
    let mut client = Client::to(proxy.address());
    // It opens, and lets one through after a while.
    for (path, wanted) in [("/bad", 503), ("/stalls", 504)] {
        let mut seen = Vec::new();
        while seen.last() != Some(&wanted) {
            assert!(seen.len() < 1000, "{path}: {seen:?}");
            seen.push(client.get(path).await.status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(client.get("/bad").await.status, 503, "it is open again");
}

#[tokio::test]
async fn a_lone_endpoint_is_asked_as_often_as_is_written_and_its_last_word_counts() {
    let bad = Origin::new().get("*", |asked| {
        reply(asked.before.to_string()).with_status(503)
    });
    let bad = [bad.run().await];
    let retry = "attempts = 4, back_off = \"1ms\", budget_min = 100";
    let proxy = proxy::new(&site(retry, &bad)).run().await;
    let answer = Client::to(proxy.address()).get("/").await;
    assert_eq!((answer.status, answer.text()), (503, "3"));
    assert_eq!(bad[0].count(), 4);
}

#[tokio::test]
async fn the_budget_keeps_retries_to_a_share() {
    let bad = Origin::new().get("*", |_| reply("").with_status(503));
    let bad = [bad.run().await];
    let retry = "attempts = 3, back_off = \"0ms\", budget = 20, budget_min = 0";
    let proxy = proxy::new(&site(retry, &bad)).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status, 503);
    }
    assert_eq!(bad[0].count(), 120);
    assert!(metric(&proxy, "cirrus_upstream_retry_budget_exhausted_total").await >= 70.0);
}

#[tokio::test]
async fn a_cluster_says_what_is_tried_again_and_a_route_goes_before_it() {
    let origins = bad_and_good(503).await;
    let list = list("cluster.origin", &origins);
    let toml = format!(
        "[[cluster]]\nname = \"a\"\nretry = {{ budget_min = 100 }}\n{list}\
         [[site]]\nhosts = [\"*\"]\ncluster = \"a\"\n\
         [[site.route]]\npath = \"/once\"\ncluster = \"a\"\nretry = {{ attempts = 1 }}\n"
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    let mut once = Vec::new();
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status, 200);
    }
    for _ in 0..4 {
        once.push(client.get("/once").await.status);
    }
    assert!(once.contains(&503), "{once:?}");
}

#[tokio::test]
async fn a_second_endpoint_is_asked_beside_a_slow_one() {
    let origins = slow_and_fast().await;
    let retry = "hedge_after = \"20ms\", budget_min = 100";
    let proxy = proxy::new(&site(retry, &origins)).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..6 {
        assert_eq!(client.get("/").await.text(), "fast");
    }
    let hedges = metric(&proxy, "cirrus_upstream_retries_total{reason=\"hedge\"}").await;
    assert_eq!(hedges, 6.0);
}

/// As many clients as a small machine has breath for, each asking until it is told to stop.
async fn load(proxy: &proxy::Running, failed: &Arc<AtomicUsize>, each: usize) {
    let clients = (0..8).map(|_| {
        let (mut client, failed) = (Client::to(proxy.address()), Arc::clone(failed));
        async move {
            for _ in 0..each {
                let status = client.get("/").await.status;
                failed.fetch_add(usize::from(status != 200), Ordering::Relaxed);
            }
        }
    });
    futures_util::future::join_all(clients).await;
}

#[tokio::test]
async fn no_client_sees_that_one_of_three_endpoints_dies() {
    let origins = origins(3).await;
    let proxy = proxy::new(&site("budget_min = 10", &origins)).run().await;
    let failed = Arc::default();
    let kill = async {
        while origins[1].count() < 100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        origins[1].stop();
    };
    tokio::join!(load(&proxy, &failed, 200), kill);
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    assert!(origins[1].count() < 400);
    assert_eq!(
        origins.iter().map(RunningOrigin::count).sum::<usize>() / 100,
        16
    );
}
