//! How much a route takes on: how often, how many at once, how long, how large; and what its requests are called.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::Body;
use cirrus_core::testing::{Client, Describe, Origin, Reply, RunningOrigin, proxy, reply};
use http_body_util::Channel;
use tokio::sync::Notify;

use crate::site;

/// One origin behind a site with these lines.
async fn shaped(origin: &RunningOrigin, lines: &str) -> proxy::Running {
    proxy::new(&with(origin, lines)).run().await
}

fn with(origin: &RunningOrigin, lines: &str) -> String {
    let url = origin.url();
    format!("[[site]]\nhosts = [\"*\"]\n{lines}\n[[site.origin]]\nurl = \"{url}\"\n")
}

async fn plain() -> RunningOrigin {
    Origin::new().get("*", |_| reply("ok")).run().await
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Waits until something is so; the test's own patience ends it otherwise.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap();
}

/// The value of a metric.
async fn metric(proxy: &proxy::Running, name: &str) -> f64 {
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let page = admin.get("/metrics").await;
    let mut lines = page.text().lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

// === rates ===

#[tokio::test]
async fn whoever_asks_too_often_is_told_when_to_come_back() {
    let origin = plain().await;
    let proxy = shaped(&origin, "rate_limit = [{ rate = \"2/h\", burst = 2 }]").await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/other").await.status, 200);
    let refused = client.get("/").await;
    assert_eq!(refused.status, 429);
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((1770..=1800).contains(&wait), "{wait}");
    assert_eq!(header(&refused, "ratelimit-policy"), "\"2/h\";q=2;w=3600");
    assert_eq!(
        header(&refused, "ratelimit"),
        format!("\"2/h\";r=0;t={wait}")
    );
    assert_eq!(origin.count(), 2);
    assert!((metric(&proxy, "cirrus_rate_limited_total").await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn clients_are_told_apart_behind_trusted_proxies_only() {
    let origin = plain().await;
    let limit = with(&origin, "rate_limit = [{ rate = \"1/h\" }]");
    let trusting = format!("[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.0/8\"]\n{limit}");
    let proxy = proxy::new(&trusting).run().await;
    let mut client = Client::to(proxy.address());
    let mut from = async |address: &str| {
        let line = format!("x-forwarded-for: {address}\r\n");
        client.get_with("/", &line).await.status
    };
    assert_eq!(from("192.0.2.1").await, 200);
    assert_eq!(from("192.0.2.1").await, 429);
    assert_eq!(from("192.0.2.1, 192.0.2.2").await, 200);
    assert_eq!(from("2001:db8:0:1::1").await, 200);
    assert_eq!(from("2001:db8:0:1::2").await, 429, "the same /64");
    assert_eq!(from("2001:db8:0:2::1").await, 200);

    let proxy = proxy::new(&limit).run().await;
    let mut client = Client::to(proxy.address());
    let mut from = async |address: &str| {
        let line = format!("x-forwarded-for: {address}\r\n");
        client.get_with("/", &line).await.status
    };
    assert_eq!(from("192.0.2.1").await, 200);
    assert_eq!(from("192.0.2.2").await, 429, "anybody can write that");
}

#[tokio::test]
async fn others_keys_are_a_field_a_cookie_and_everybody() {
    let origin = plain().await;
    for (key, line) in [
        ("header:x-key", "x-key: "),
        ("cookie:sid", "cookie: a=b; sid="),
    ] {
        let limit = format!("rate_limit = [{{ rate = \"1/h\", key = \"{key}\" }}]");
        let proxy = shaped(&origin, &limit).await;
        let mut client = Client::to(proxy.address());
        let mut with = async |line: String| client.get_with("/", &line).await.status;
        assert_eq!(with(format!("{line}one\r\n")).await, 200);
        assert_eq!(with(format!("{line}one\r\n")).await, 429);
        assert_eq!(with(format!("{line}two\r\n")).await, 200);
        assert_eq!(with(String::new()).await, 200, "by address");
        assert_eq!(with(String::new()).await, 429);
    }
    let limits = "rate_limit = [{ rate = \"2/h\", burst = 2, key = \"route\" }, { rate = \"1/h\", key = \"header:k\" }]";
    let proxy = shaped(&origin, limits).await;
    let mut client = Client::to(proxy.address());
    let mut with = async |line: &str| client.get_with("/", line).await.status;
    assert_eq!(with("k: a\r\n").await, 200);
    // Refused by the second limit, and so not charged to the first.
    assert_eq!([with("k: a\r\n").await, with("k: a\r\n").await], [429, 429]);
    assert_eq!([with("k: b\r\n").await, with("k: c\r\n").await], [200, 429]);
}

#[tokio::test]
async fn a_route_has_its_own_limit_or_none_and_the_others_share_the_sites() {
    let toml = "[[site]]\nhosts = [\"*\"]\nrate_limit = [{ rate = \"1/h\" }]\n\
        [[site.route]]\npath = \"/free\"\nrate_limit = []\nrespond = {}\n\
        [[site.route]]\npath = \"/own\"\nrate_limit = [{ rate = \"2/h\", burst = 2 }]\nrespond = {}\n\
        [[site.route]]\npath = \"/a\"\nrespond = {}\n\
        [[site.route]]\npath = \"/b\"\nrespond = {}\n";
    let proxy = proxy::new(toml).run().await;
    let mut client = Client::to(proxy.address());
    let mut get = async |path| client.get(path).await.status;
    assert_eq!(
        [get("/a").await, get("/b").await, get("/a").await],
        [200, 429, 429]
    );
    assert_eq!(
        [get("/own").await, get("/own").await, get("/own").await],
        [200, 200, 429]
    );
    assert_eq!(
        [get("/free").await, get("/free").await, get("/free").await],
        [200; 3]
    );
}

#[tokio::test]
async fn a_change_elsewhere_does_not_forgive_what_is_owed() {
    let origin = plain().await;
    let limited = |more: &str| {
        with(
            &origin,
            &format!("rate_limit = [{{ rate = \"1/h\" }}]\n{more}"),
        )
    };
    let proxy = proxy::new(&limited("")).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(
        [client.get("/").await.status, client.get("/").await.status],
        [200, 429]
    );
    proxy.reconfigure(&limited("max_body = \"1MiB\"\n"));
    until(async || proxy.revision() == 2).await;
    assert_eq!(client.get("/").await.status, 429);
    proxy.reconfigure(&with(&origin, "rate_limit = [{ rate = \"2/h\" }]"));
    until(async || proxy.revision() == 3).await;
    assert_eq!(
        client.get("/").await.status,
        200,
        "another limit begins anew"
    );
}

// === places ===

/// An origin whose responses under `/slow` end when they are let go.
async fn slow() -> (RunningOrigin, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let held = Arc::clone(&go);
    let origin = Origin::new()
        .get("*", |_| reply("ok"))
        .get("/slow", move |_| {
            let (mut sender, body) = Channel::<Bytes>::new(1);
            let held = Arc::clone(&held);
            let mut task = tokio::task::JoinSet::new();
            task.spawn(async move {
                let _ = sender.send_data("begun".into()).await;
                held.notified().await;
                let _ = sender.send_data("ended".into()).await;
            });
            task.detach_all();
            reply(Body::stream(body))
        })
        .run()
        .await;
    (origin, go)
}

#[tokio::test]
async fn a_place_is_held_until_the_last_byte() {
    let (origin, go) = slow().await;
    let proxy = shaped(&origin, "concurrency = { requests = 1 }").await;
    let (mut first, mut second) = (Client::to(proxy.address()), Client::to(proxy.address()));
    first.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until(async || origin.count() == 1).await;
    let refused = second.get("/").await;
    assert_eq!(
        (refused.status, header(&refused, "retry-after")),
        (503, "1")
    );
    go.notify_one();
    assert_eq!(first.reply_to("GET").await.text(), "begunended");
    until(async || second.get("/").await.status == 200).await;
    assert!(metric(&proxy, "cirrus_queue_full_total").await >= 1.0);
}

#[tokio::test]
async fn whoever_waits_is_served_next_and_whoever_leaves_makes_room() {
    let (origin, go) = slow().await;
    let proxy = shaped(
        &origin,
        "concurrency = { requests = 1, queue = 1, wait = \"1h\" }",
    )
    .await;
    let queued = async || metric(&proxy, "cirrus_requests_queued").await;
    let mut first = Client::to(proxy.address());
    first.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until(async || origin.count() == 1).await;
    let mut leaves = Client::to(proxy.address());
    leaves
        .send(b"GET /leaves HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    until(async || queued().await > 0.5).await;
    assert_eq!(Client::to(proxy.address()).get("/").await.status, 503);
    leaves.leave();
    until(async || queued().await < 0.5).await;
    let mut waits = Client::to(proxy.address());
    waits.send(b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until(async || queued().await > 0.5).await;
    go.notify_one();
    assert_eq!(waits.reply_to("GET").await.status, 200);
    let asked: Vec<_> = origin
        .asked()
        .into_iter()
        .map(|asked| asked.target)
        .collect();
    assert_eq!(asked, ["/slow", "/waits"]);
}

#[tokio::test]
async fn nobody_waits_longer_than_allowed() {
    let (origin, _go) = slow().await;
    let lines = "concurrency = { requests = 1, queue = 1, wait = \"20ms\" }";
    let proxy = shaped(&origin, lines).await;
    let mut first = Client::to(proxy.address());
    first.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until(async || origin.count() == 1).await;
    assert_eq!(Client::to(proxy.address()).get("/").await.status, 503);
    assert!(metric(&proxy, "cirrus_queue_timeouts_total").await > 0.5);
    // The client who holds the place leaves; its place is free again.
    first.leave();
    until(async || Client::to(proxy.address()).get("/").await.status == 200).await;
}

// === time ===

#[tokio::test]
async fn before_the_header_a_deadline_is_a_504_and_after_it_the_end() {
    let go = Arc::new(Notify::new());
    let never = Arc::clone(&go);
    let (slow, _held) = slow().await;
    let origin = Origin::new()
        .later("/never", move |_| {
            let never = Arc::clone(&never);
            async move {
                never.notified().await;
                reply("")
            }
        })
        .run()
        .await;
    let proxy = shaped(&origin, "deadline = \"50ms\"").await;
    let late = Client::to(proxy.address()).get("/never").await;
    assert_eq!(late.status, 504);
    assert_eq!(
        header(&late, "proxy-status"),
        "cirrus; error=http_response_timeout"
    );
    assert!((metric(&proxy, "cirrus_deadlines_total").await - 1.0).abs() < 0.5);

    let proxy = shaped(&slow, "deadline = \"300ms\"").await;
    let mut client = Client::to(proxy.address());
    client.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.reply_or_end("GET").await.is_none(), "cut off");
    assert!((metric(&proxy, "cirrus_deadlines_total").await - 1.0).abs() < 0.5);
    assert_eq!(client.get("/quick").await.text(), "ok");
}

// === size ===

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_at_once() {
    let origin = plain().await;
    let proxy = shaped(&origin, "max_body = \"10\"").await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.ask("POST", "/", "", b"0123456789").await.status, 200);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n";
    client.send(head.as_bytes()).await;
    assert_eq!(client.reply_to("POST").await.status, 413);
    assert_eq!(origin.count(), 1);
    assert!((metric(&proxy, "cirrus_request_bodies_too_large_total").await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_refused_and_the_origin_sees_it_break_off() {
    let origin = plain().await;
    let proxy = shaped(&origin, "max_body = \"10\"").await;
    let mut client = Client::to(proxy.address());
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    client
        .send(format!("{head}5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n").as_bytes())
        .await;
    assert_eq!(client.reply_to("POST").await.status, 200);
    client
        .send(format!("{head}5\r\nhello\r\n6\r\n world\r\n").as_bytes())
        .await;
    assert_eq!(client.reply_to("POST").await.status, 413);
    until(async || origin.count() == 2).await;
    let bodies: Vec<_> = origin.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies, [Some("helloworld".into()), None]);
}

#[tokio::test]
async fn routes_take_larger_bodies_and_answers_without_an_origin_are_limited_too() {
    let toml = "[[site]]\nhosts = [\"*\"]\nmax_body = \"1\"\n\
        [[site.route]]\npath = \"/small\"\nrespond = {}\n\
        [[site.route]]\npath = \"/any\"\nmax_body = \"none\"\nrespond = {}\n";
    let proxy = proxy::new(toml).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.ask("POST", "/small", "", b"ab").await.status, 413);
    client.leave();
    assert_eq!(client.ask("POST", "/any", "", b"ab").await.status, 200);
}

// === names ===

#[tokio::test]
async fn a_request_has_one_identifier_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("access.log");
    let log = format!(
        "[access_log]\nformat = \"json\"\nfile = \"{}\"\n",
        file.display()
    );
    let origin = Origin::new()
        .get("*", |_| reply("").with("x-request-id", "the origin's"))
        .run()
        .await;
    let site = with(
        &origin,
        "request_id = {}\nrate_limit = [{ rate = \"3/h\", burst = 3 }]",
    );
    let proxy = proxy::new(&format!("{log}{site}")).run().await;
    let mut client = Client::to(proxy.address());
    let mut ids = Vec::new();
    for _ in 0..4 {
        let reply = client.get_with("/", "x-request-id: mine\r\n").await;
        let id = header(&reply, "x-request-id").to_owned();
        assert_eq!(
            (
                id.len(),
                reply.headers.get_all("x-request-id").iter().count()
            ),
            (32, 1)
        );
        ids.push(id);
    }
    let asked: Vec<_> = origin
        .asked()
        .iter()
        .map(|asked| asked.header("x-request-id"))
        .collect();
    assert_eq!(
        asked,
        ids[..3],
        "the last was refused, and has an identifier too"
    );
    proxy.shutdown().await;
    let text = std::fs::read_to_string(file).unwrap();
    let logged: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["request_id"].clone())
        .collect();
    assert_eq!(logged, ids);
}

#[tokio::test]
async fn a_clients_own_identifier_is_taken_if_it_is_trusted_and_valid() {
    let origin = plain().await;
    let proxy = shaped(&origin, "request_id = { header = \"x-id\", trust = true }").await;
    let mut client = Client::to(proxy.address());
    let mut answered = async |line: &str| {
        let reply = client.get_with("/", line).await;
        header(&reply, "x-id").to_owned()
    };
    assert_eq!(answered("x-id: a-b/7\r\n").await, "a-b/7");
    assert_eq!(answered("x-id: a b\r\n").await.len(), 32);
    assert_eq!(answered("x-id: a\r\nx-id: b\r\n").await.len(), 32);
    let site = with(&origin, "request_id = {}");
    let trusted = format!("[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1/32\"]\n{site}");
    let proxy = proxy::new(&trusted).run().await;
    let reply = Client::to(proxy.address())
        .get_with("/", "x-request-id: theirs\r\n")
        .await;
    assert_eq!(header(&reply, "x-request-id"), "theirs");
}

#[tokio::test]
async fn a_trace_goes_on_to_the_origin_and_into_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("access.log");
    let log = format!(
        "[access_log]\nformat = \"json\"\nfile = \"{}\"\n",
        file.display()
    );
    let origin = plain().await;
    let site = with(&origin, "trace_context = true");
    let proxy = proxy::new(&format!("{log}{site}")).run().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let lines = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\ntracestate: v=1\r\n");
    let mut client = Client::to(proxy.address());
    client.get_with("/", &lines).await;
    client.get_with("/", "tracestate: v=1\r\n").await;
    proxy.shutdown().await;
    let asked = origin.asked();
    let parent = asked[0].header("traceparent");
    assert!(
        parent.starts_with(&format!("00-{trace}-")) && parent.ends_with("-01"),
        "{parent}"
    );
    assert!(!parent.contains("b7ad6b7169203331"));
    assert_eq!(
        (asked[0].header("tracestate"), asked[1].header("tracestate")),
        ("v=1".into(), String::new())
    );
    let text = std::fs::read_to_string(file).unwrap();
    let logged: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(logged[0]["trace_id"], trace);
    assert_eq!(logged[1]["trace_id"], asked[1].header("traceparent")[3..35]);
}

#[tokio::test]
async fn without_any_of_it_nothing_is_added() {
    let origin = plain().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let reply = Client::to(proxy.address()).get("/").await;
    assert!(!reply.headers.contains_key("x-request-id"));
    let asked = &origin.asked()[0].headers;
    assert!(!asked.contains_key("x-request-id") && !asked.contains_key("traceparent"));
}
