//! Endpoints are looked after: what fails is left out in time, and comes back when it is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::BoxError;
use cirrus_core::health::{Probe, Target};
use cirrus_core::testing::process::RedisServer;
use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, proxy, reply};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// Quick, so that tests need not wait.
const QUICK: &str = "interval = \"20ms\"\ntimeout = \"500ms\"\nhealthy = 2\nunhealthy = 2\n";

/// A cluster of these, with more text about it.
pub(crate) fn cluster(urls: &[String], text: &str, check: &str) -> String {
    let origins: String = urls
        .iter()
        .map(|url| format!("[[cluster.origin]]\nurl = \"{url}\"\n"))
        .collect();
    let site = "[[site]]\nhosts = [\"*\"]\ncluster = \"shop\"\n";
    format!("[[cluster]]\nname = \"shop\"\n{text}\n{origins}{check}\n{site}")
}

pub(crate) fn checked(kind: &str) -> String {
    format!("[[cluster.check]]\n{kind}\n{QUICK}")
}

async fn admin(proxy: &proxy::Running, path: &str) -> Value {
    let reply = Client::to(proxy.admin()).host("localhost").get(path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_str(reply.text()).unwrap()
}

/// The cluster as soon as it is as it should be.
pub(crate) async fn until(proxy: &proxy::Running, is: impl Fn(&Value) -> bool) -> Value {
    let mut shown = Value::Null;
    for _ in 0..1000 {
        shown = admin(proxy, "/api/v1/clusters/shop").await;
        if is(&shown) {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{shown:#}");
}

pub(crate) fn ups(shown: &Value) -> Vec<bool> {
    let endpoints = shown["endpoints"].as_array().unwrap();
    endpoints
        .iter()
        .map(|one| one["up"].as_bool().unwrap())
        .collect()
}

/// It has been looked after, and is up or not.
pub(crate) fn looked(shown: &Value, up: bool) -> bool {
    let check = &shown["endpoints"][0]["checks"][0];
    let seen = check["last"].as_array().is_some_and(|last| last.len() > 2);
    seen && ups(shown)[0] == up && check["up"] == up
}

/// An origin that says by its status whether it is well.
async fn moody() -> (RunningOrigin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let mood = Arc::clone(&status);
    let origin = Origin::new()
        .get("/healthz", move |_| {
            reply(r#"{"status": "UP"}"#).with_status(mood.load(Ordering::SeqCst))
        })
        .get("/", |_| reply("hello"))
        .run()
        .await;
    (origin, status)
}

#[tokio::test]
async fn what_fails_its_check_gets_no_requests_until_it_passes_again() {
    let ((one, mood), (other, _)) = (moody().await, moody().await);
    let urls = [one.url(), other.url()];
    let check = checked("path = \"/healthz\"");
    let proxy = proxy::new(&cluster(&urls, "", &check)).run().await;
    until(&proxy, |shown| looked(shown, true)).await;
    mood.store(500, Ordering::SeqCst);
    let shown = until(&proxy, |shown| ups(shown) == [false, true]).await;
    let check = &shown["endpoints"][0]["checks"][0];
    assert_eq!(check["name"], "http");
    assert_eq!(check["last"][0]["error"], "status 500");
    assert!(check["since"].as_f64().unwrap() > 0.0);
    let asked = |origin: &RunningOrigin| {
        let asked = origin.asked();
        asked.iter().filter(|asked| asked.target == "/").count()
    };
    let mut client = Client::to(proxy.address());
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!((asked(&one), asked(&other)), (0, 10));
    let metrics = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    let down = format!(
        "cirrus_endpoint_up{{cluster=\"shop\",endpoint=\"{}\"}} 0",
        one.url()
    );
    assert!(metrics.text().contains(&down), "{}", metrics.text());
    mood.store(200, Ordering::SeqCst);
    until(&proxy, |shown| ups(shown) == [true, true]).await;
    for _ in 0..10 {
        client.get("/").await;
    }
    assert_eq!((asked(&one), asked(&other)), (5, 15));
}

#[tokio::test]
async fn a_check_changes_while_it_runs_and_knows_what_it_knew() {
    let (origin, mood) = moody().await;
    let urls = [origin.url(), origin.url().replace("127.0.0.1", "localhost")];
    let text = |check: &str| cluster(&urls, "", &format!("[[cluster.check]]\n{check}"));
    let quick = format!("path = \"/healthz\"\n{QUICK}");
    let proxy = proxy::new(&text(&quick)).run().await;
    mood.store(503, Ordering::SeqCst);
    until(&proxy, |shown| ups(shown) == [false, false]).await;
    // It begins up where it is new; here it is not.
    let slow = "path = \"/healthz\"\ninterval = \"1h\"\ninterval_unhealthy = \"1h\"\n";
    proxy.reconfigure(&text(slow));
    while proxy.revision() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    mood.store(200, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let shown = admin(&proxy, "/api/v1/clusters/shop").await;
    assert_eq!(
        ups(&shown),
        [false, false],
        "it is not looked after so often any more"
    );
    assert_eq!(
        shown["endpoints"][0]["checks"][0]["last"][1]["error"],
        "status 503"
    );
    let other = format!(
        "path = \"/healthz\"\nbody = {{ pointer = \"/status\", equals = \"UP\" }}\n{QUICK}"
    );
    proxy.reconfigure(&text(&other));
    until(&proxy, |shown| ups(shown) == [true, true]).await;
    proxy.reconfigure(&text(&other.replace("\"UP\"", "\"DOWN\"")));
    let shown = until(&proxy, |shown| ups(shown) == [false, false]).await;
    assert_eq!(
        shown["endpoints"][0]["checks"][0]["last"][0]["error"],
        "/status is UP"
    );
    // Nobody asks any more.
    proxy.reconfigure(&cluster(&urls, "", ""));
    until(&proxy, |shown| ups(shown) == [true, true]).await;
}

#[tokio::test]
async fn clusters_and_workers_share_a_check() {
    let (origin, _) = moody().await;
    let check = "path = \"/healthz\"\ninterval = \"200ms\"\njitter = 0\n";
    let one = |name: &str| {
        let url = origin.url();
        format!(
            "[[cluster]]\nname = \"{name}\"\n[[cluster.origin]]\nurl = \"{url}\"\n[[cluster.check]]\n{check}"
        )
    };
    let server = "[server]\nworkers = 3\n";
    let site = "[[site]]\nhosts = [\"*\"]\ncluster = \"shop\"\n";
    let text = format!("{server}{}{}{site}", one("shop"), one("other"));
    let proxy = proxy::new(&text).run().await;
    until(&proxy, |shown| looked(shown, true)).await;
    let metrics = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    assert!(
        metrics.text().contains("cirrus_health_checks_running 1\n"),
        "{}",
        metrics.text()
    );
}

/// An endpoint, the check that is to pass or fail.
pub(crate) async fn is_judged(url: &str, check: &str, up: bool) -> Value {
    // The word that is to change must be the check's: it begins with the other one.
    let initial = if up { "down" } else { "up" };
    let check = checked(&format!("{check}\ninitial = \"{initial}\""));
    let proxy = proxy::new(&cluster(&[url.to_owned()], "", &check))
        .run()
        .await;
    until(&proxy, |shown| looked(shown, up)).await
}

pub(crate) fn reason(shown: &Value) -> &str {
    let seen = &shown["endpoints"][0]["checks"][0]["last"][0];
    seen["error"].as_str().unwrap_or_default()
}

/// A server that says this to whoever comes, and then listens.
async fn says(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(bytes).await;
                open.push(stream);
            }
        });
    });
    url
}

#[tokio::test]
async fn tcp_connects() {
    let (origin, _) = moody().await;
    is_judged(&origin.url(), "kind = \"tcp\"", true).await;
    is_judged(&crate::nowhere(), "kind = \"tcp\"", false).await;
    // Another port than requests go to.
    let port = origin.address().port();
    is_judged(
        &crate::nowhere(),
        &format!("kind = \"tcp\"\nport = {port}"),
        true,
    )
    .await;
}

#[tokio::test]
async fn tls_shakes_hands() {
    let (origin, _) = moody().await;
    let shown = is_judged(&origin.url(), "kind = \"tls\"", false).await;
    assert!(reason(&shown).contains("InvalidContentType"), "{shown:#}");
}

#[tokio::test]
async fn redis_answers_ping() {
    let mut redis = RedisServer::start();
    let url = format!("http://{}", redis.address());
    let check = checked("kind = \"redis\"");
    let proxy = proxy::new(&cluster(&[url], "", &check)).run().await;
    until(&proxy, |shown| looked(shown, true)).await;
    redis.pause();
    let shown = until(&proxy, |shown| looked(shown, false)).await;
    assert_eq!(reason(&shown), "no answer within 500ms");
    redis.resume();
    until(&proxy, |shown| looked(shown, true)).await;
    redis.kill();
    until(&proxy, |shown| looked(shown, false)).await;
    redis.restart();
    until(&proxy, |shown| looked(shown, true)).await;
    let secret = RedisServer::with(&["--requirepass", "secret"]);
    is_judged(
        &format!("http://{}", secret.address()),
        "kind = \"redis\"",
        true,
    )
    .await;
    is_judged(
        &says(b"-LOADING not yet\r\n").await,
        "kind = \"redis\"",
        false,
    )
    .await;
}

#[tokio::test]
async fn databases_greet() {
    let mysql = says(b"\x4a\x00\x00\x00\x0a8.0.36\x00").await;
    is_judged(&mysql, "kind = \"mysql\"", true).await;
    let full = says(b"\x17\x00\x00\x00\xff\x10\x04Too many connections").await;
    let shown = is_judged(&full, "kind = \"mysql\"", false).await;
    assert_eq!(reason(&shown), "it said: Too many connections");
    is_judged(&says(b"N").await, "kind = \"postgres\"", true).await;
    is_judged(
        &says(b"HTTP/1.1 400 Bad Request\r\n").await,
        "kind = \"postgres\"",
        false,
    )
    .await;
    // Silence is no greeting.
    is_judged(&says(b"").await, "kind = \"mysql\"", false).await;
}

#[tokio::test]
async fn http2_origins_are_asked_over_http2() {
    let origin = Origin::new()
        .over_http2()
        .get("/healthz", |_| reply("fine"))
        .run()
        .await;
    let check = checked("path = \"/healthz\"\nbody = { text = \"fine\" }\ninitial = \"down\"");
    let text = cluster(&[origin.url()], "protocol = \"http2\"", &check);
    let proxy = proxy::new(&text).run().await;
    until(&proxy, |shown| looked(shown, true)).await;
}

#[tokio::test]
async fn scripts_tell_by_their_status() {
    let script = |command: &str| {
        let check = checked(&format!(
            "kind = \"script\"\ncommand = [\"/bin/sh\", \"-c\", \"{command}\"]"
        ));
        let text = cluster(&[crate::nowhere()], "", &check);
        format!("[server]\nworkers = 1\nallow_scripts = true\n{text}")
    };
    let proxy = proxy::new(&script("test -n $CIRRUS_PORT")).run().await;
    until(&proxy, |shown| looked(shown, true)).await;
    proxy.reconfigure(&script("echo no replica >&2; exit 2"));
    let shown = until(&proxy, |shown| looked(shown, false)).await;
    assert_eq!(reason(&shown), "exit status: 2: no replica");
}

/// Passes or hangs.
struct Own {
    hangs: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Probe for Own {
    async fn probe(&self, target: &Target) -> Result<(), BoxError> {
        assert_eq!(target.arguments, ["x"]);
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_probe_of_ones_own_that_hangs_holds_up_no_other() {
    let (hangs, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let own = Own {
        hangs: Arc::clone(&hangs),
        asked: Arc::clone(&asked),
    };
    let (origin, mood) = moody().await;
    let custom = checked("kind = \"custom\"\nprobe = \"own\"\ncommand = [\"x\"]");
    let both = format!("{custom}{}", checked("path = \"/healthz\""));
    let text = cluster(
        &[origin.url()],
        "health = { any = [\"custom\", \"http\"] }",
        &both,
    );
    let proxy = proxy::new(&text)
        .with(|builder| builder.probe("own", own))
        .run()
        .await;
    until(&proxy, |shown| looked(shown, true)).await;
    hangs.store(true, Ordering::SeqCst);
    let shown = until(&proxy, |shown| {
        shown["endpoints"][0]["checks"][0]["up"] == false
    })
    .await;
    assert_eq!(ups(&shown), [true], "the other one is enough");
    mood.store(500, Ordering::SeqCst);
    until(&proxy, |shown| ups(shown) == [false]).await;
    assert!(asked.load(Ordering::SeqCst) > 2);
}

#[tokio::test]
async fn gateway_errors_in_a_row_eject_but_not_everybody() {
    let bad = || async {
        Origin::new()
            .get("/", |_| reply("").with_status(502))
            .run()
            .await
    };
    let (one, two, good) = (
        bad().await,
        bad().await,
        Origin::new().get("/", |_| reply("")).run().await,
    );
    let urls = [one.url(), two.url(), good.url()];
    let text = cluster(
        &urls,
        "health = { gateway_errors = 2, eject = \"1h\", max_eject = \"1h\" }",
        "",
    );
    let proxy = proxy::new(&text).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..30 {
        client.get("/").await;
    }
    let shown = admin(&proxy, "/api/v1/clusters/shop").await;
    // Half of three: one.
    let ejected = shown["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["up"] == false);
    let ejected: Vec<_> = ejected.collect();
    assert_eq!(ejected.len(), 1, "{shown:#}");
    assert_eq!(ejected[0]["ejected"]["cause"], "gateway_errors");
    let metrics = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    assert!(
        metrics
            .text()
            .contains("cirrus_health_ejections_total{cause=\"gateway_errors\"} 1\n")
    );
}

#[tokio::test]
async fn with_too_few_up_all_are_asked() {
    let ((one, mood), (other, other_mood)) = (moody().await, moody().await);
    let urls = [one.url(), other.url()];
    let check = checked("path = \"/healthz\"");
    let text = |panic: &str| {
        cluster(
            &urls,
            &format!("health = {{ panic_threshold = {panic} }}"),
            &check,
        )
    };
    let proxy = proxy::new(&text("50")).run().await;
    mood.store(500, Ordering::SeqCst);
    let shown = until(&proxy, |shown| ups(shown) == [false, true]).await;
    assert_eq!(shown["panic"], false);
    other_mood.store(500, Ordering::SeqCst);
    until(&proxy, |shown| shown["panic"] == true).await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/").await.status, 200);
    proxy.reconfigure(&text("0"));
    until(&proxy, |shown| shown["panic"] == false).await;
    let refused = client.get("/").await;
    assert_eq!(refused.status, 503);
    assert!(!refused.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_cluster_that_fails_is_left_alone_for_a_while() {
    let status = Arc::new(AtomicU16::new(500));
    let mood = Arc::clone(&status);
    let origin = Origin::new()
        .get("/", move |_| {
            reply("x").with_status(mood.load(Ordering::SeqCst))
        })
        .run()
        .await;
    let text = "health = { min_requests = 5 }\nbreaker = { error_rate = 50, open = \"300ms\", half_open = 1 }";
    let proxy = proxy::new(&cluster(&[origin.url()], text, "")).run().await;
    let mut client = Client::to(proxy.address());
    let mut refused = None;
    for _ in 0..2000 {
        let reply = client.get("/").await;
        if reply.status == 503 {
            refused = Some(reply);
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!refused.unwrap().header("retry-after").is_empty());
    let count = origin.count();
    client.get("/").await;
    assert_eq!(origin.count(), count, "nobody asks it");
    status.store(200, Ordering::SeqCst);
    for _ in 0..2000 {
        if client.get("/").await.status == 200 {
            let shown = admin(&proxy, "/api/v1/clusters/shop").await;
            assert_eq!(shown["breaker"], "closed");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not close");
}

#[tokio::test]
async fn a_cluster_takes_so_many_requests_at_a_time() {
    let (told, hears) = tokio::sync::watch::channel(false);
    let origin = Origin::new()
        .later("/", move |_| {
            let mut hears = hears.clone();
            async move {
                let _ = hears.wait_for(|go| *go).await;
                reply("done")
            }
        })
        .run()
        .await;
    let text = cluster(&[origin.url()], "breaker = { max_requests = 1 }", "");
    let proxy = proxy::new(&text).run().await;
    let (mut one, mut other) = (Client::to(proxy.address()), Client::to(proxy.address()));
    let first = async {
        let reply = one.get("/").await;
        (reply.status, reply.text().to_owned())
    };
    let second = async {
        while origin.count() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = other.get("/").await.status;
        told.send_replace(true);
        status
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second), ((200, "done".to_owned()), 503));
    assert_eq!(other.get("/").await.status, 200);
}

#[tokio::test]
async fn an_endpoint_that_dies_under_requests_is_left_out_in_time_and_comes_back() {
    let (one, two, three) = (moody().await.0, moody().await.0, moody().await.0);
    let urls = [one.url(), two.url(), three.url()];
    let check = checked("path = \"/healthz\"");
    let proxy = proxy::new(&cluster(&urls, "", &check)).run().await;
    until(&proxy, |shown| looked(shown, true)).await;
    let mut client = Client::to(proxy.address());
    let mut failed = 0;
    for turn in 0..500 {
        if turn == 100 {
            one.stop();
        }
        failed += usize::from(client.get("/").await.status != 200);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(failed <= 1, "{failed} requests beyond the one in flight");
    let shown = until(&proxy, |shown| ups(shown) == [false, true, true]).await;
    assert!(shown["endpoints"][0]["checks"][0]["last"][0]["error"].is_string());
}

#[tokio::test]
async fn grpc_servers_are_asked_in_their_own_way() {
    let state = Arc::new(AtomicU16::new(1));
    let mood = Arc::clone(&state);
    let origin = Origin::new()
        .over_http2()
        .get("/grpc.health.v1.Health/Check", move |asked| {
            // `HealthCheckRequest { service: "shop" }`.
            assert_eq!(asked.body.unwrap()[..], *b"\0\0\0\0\x06\x0a\x04shop");
            assert_eq!(asked.headers["content-type"], "application/grpc");
            let state = mood.load(Ordering::SeqCst) as u8;
            reply(vec![0, 0, 0, 0, 2, 8, state]).with("content-type", "application/grpc")
        })
        .run()
        .await;
    let check = checked("kind = \"grpc\"\nservice = \"shop\"\ninitial = \"down\"");
    let text = cluster(&[origin.url()], "protocol = \"http2\"", &check);
    let proxy = proxy::new(&text).run().await;
    until(&proxy, |shown| looked(shown, true)).await;
    state.store(2, Ordering::SeqCst);
    let shown = until(&proxy, |shown| looked(shown, false)).await;
    assert_eq!(reason(&shown), "NOT_SERVING");
}

#[tokio::test]
async fn who_answers_with_errors_too_often_is_left_out_until_the_window_has_passed() {
    let bad = Origin::new()
        .get("/", |_| reply("").with_status(500))
        .run()
        .await;
    let good = Origin::new().get("/", |_| reply("")).run().await;
    let urls = [bad.url(), good.url()];
    let health = "health = { all = [\"error_rate < 50%\"], min_requests = 5, window = \"1s\" }";
    let proxy = proxy::new(&cluster(&urls, health, "")).run().await;
    let mut client = Client::to(proxy.address());
    let mut shown = Value::Null;
    for _ in 0..1000 {
        for _ in 0..10 {
            client.get("/").await;
        }
        shown = admin(&proxy, "/api/v1/clusters/shop").await;
        if ups(&shown) == [false, true] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(ups(&shown), [false, true]);
    let count = bad.count();
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(bad.count(), count);
    until(&proxy, |shown| ups(shown) == [true, true]).await;
}

#[tokio::test]
async fn who_answers_worse_than_the_others_is_ejected() {
    let bad = Origin::new()
        .get("/", |_| reply("").with_status(500))
        .run()
        .await;
    let good = || async { Origin::new().get("/", |_| reply("")).run().await };
    let (one, two) = (good().await, good().await);
    let urls = [one.url(), bad.url(), two.url()];
    let health = "health = { success_rate_below_mean = 30, min_requests = 5, eject = \"1h\" }";
    let proxy = proxy::new(&cluster(&urls, health, "")).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..30 {
        client.get("/").await;
    }
    let shown = until(&proxy, |shown| ups(shown) == [true, false, true]).await;
    assert_eq!(shown["endpoints"][1]["ejected"]["cause"], "success_rate");
}
