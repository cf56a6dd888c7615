//! Jobs that have responses stored before anybody asks.

use std::sync::Arc;

use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, proxy, reply};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{is_hit, metric, until, with_store};

const PREFETCH: &str = "/api/v1/cache/prefetch";

async fn edge(origin: &RunningOrigin) -> proxy::Running {
    let toml = format!(
        "[admin]\naddress = \"127.0.0.1:0\"\nopen = true\n\
         [[site]]\nhosts = [\"shop.example\"]\ncache = {{ enable = true }}\norigin = [{{ url = \"{}\" }}]\n",
        origin.url()
    );
    with_store(proxy::new(&toml)).run().await
}

async fn ask(proxy: &proxy::Running, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut operator = Client::to(proxy.admin()).host("localhost");
    let text = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let lines = "content-type: application/json\r\n";
    let reply = operator.ask(method, path, lines, text.as_bytes()).await;
    (
        reply.status,
        serde_json::from_slice(&reply.body).expect("JSON"),
    )
}

async fn ended(proxy: &proxy::Running, id: &Value) -> Value {
    let path = format!("{PREFETCH}/{id}");
    let state = async || ask(proxy, "GET", &path, &Value::Null).await.1;
    until(async || state().await["state"] != "running").await;
    state().await
}

#[tokio::test]
async fn what_was_fetched_beforehand_is_a_hit() {
    let origin = Origin::new()
        .get("/a", |_| reply("12345").with("cache-control", "max-age=60"))
        .get("/b", |asked| {
            reply(asked.header("accept-language"))
                .with("cache-control", "max-age=60")
                .with("vary", "accept-language")
        })
        .get("/private", |_| reply("x").with("cache-control", "private"));
    let origin = origin.run().await;
    let proxy = edge(&origin).await;
    let mut client = Client::to(proxy.address());
    client.get("/a").await;
    let urls = [
        "http://shop.example/a",
        "http://shop.example/b",
        "http://shop.example/private",
        "http://shop.example/missing",
        "http://other.example/",
        "shop.example",
    ];
    let body = json!({"urls": urls, "concurrency": 2, "headers": {"accept-language": "de"}});
    let (status, begun) = ask(&proxy, "POST", PREFETCH, &body).await;
    assert_eq!(status, 202, "{begun}");
    let state = ended(&proxy, &begun["id"]).await;
    let expected = [
        ("total", 6),
        ("done", 3),
        ("failed", 3),
        ("hits", 1),
        ("stored", 1),
        ("bytes", 8),
    ];
    for (name, value) in expected {
        assert_eq!(state[name], value, "{name} in {state}");
    }
    assert_eq!(state["state"], "finished");
    let mut reasons: Vec<_> = state["failures"].as_array().unwrap().iter().collect();
    reasons.sort_by_key(|failure| failure["url"].as_str());
    assert_eq!(
        reasons[0],
        &json!({"url": "http://other.example/", "reason": "status 404"})
    );
    assert_eq!(reasons[1]["reason"], "status 404");
    assert!(
        reasons[2]["reason"]
            .as_str()
            .unwrap()
            .contains("a whole URL")
    );
    assert!(is_hit(
        &client.get_with("/b", "accept-language: de\r\n").await
    ));
    assert!(!is_hit(
        &client.get_with("/b", "accept-language: en\r\n").await
    ));
    assert_eq!(metric(&proxy, "cirrus_cache_prefetched_total").await, 3);
    assert_eq!(
        metric(&proxy, "cirrus_cache_prefetch_failures_total").await,
        3
    );
}

#[tokio::test]
async fn never_more_at_once_than_asked_for_and_no_further_once_canceled() {
    let go = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&go);
    let origin = Origin::new().later("*", move |_| {
        let waits = Arc::clone(&waits);
        async move {
            waits.acquire().await.unwrap().forget();
            reply("").with("cache-control", "max-age=60")
        }
    });
    let origin = origin.run().await;
    let proxy = edge(&origin).await;
    let urls: Vec<_> = (0..20)
        .map(|n| format!("http://shop.example/{n}"))
        .collect();
    let body = json!({"urls": urls, "concurrency": 3});
    let (_, begun) = ask(&proxy, "POST", PREFETCH, &body).await;
    until(async || origin.count() == 3).await;
    go.add_permits(2);
    until(async || origin.count() == 5).await;
    let path = format!("{PREFETCH}/{}", begun["id"]);
    until(async || ask(&proxy, "GET", &path, &Value::Null).await.1["done"] == 2).await;
    assert_eq!(ask(&proxy, "DELETE", &path, &Value::Null).await.0, 200);
    let state = ended(&proxy, &begun["id"]).await;
    assert_eq!(
        (&state["state"], &state["done"]),
        (&"canceled".into(), &2.into())
    );
    go.add_permits(100);
    let (_, list) = ask(&proxy, "GET", PREFETCH, &Value::Null).await;
    assert_eq!(list["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(origin.count(), 5);
}

#[tokio::test]
async fn jobs_are_bounded() {
    let origin = Origin::new().later("*", |_| std::future::pending());
    let origin = origin.run().await;
    let proxy = edge(&origin).await;
    let one = json!({"urls": ["http://shop.example/"]});
    for _ in 0..4 {
        assert_eq!(ask(&proxy, "POST", PREFETCH, &one).await.0, 202);
    }
    assert_eq!(ask(&proxy, "POST", PREFETCH, &one).await.0, 429);
    for wrong in [
        json!({"urls": []}),
        json!({"urls": ["http://a/"], "concurrency": 0}),
        json!({"urls": ["http://a/"], "concurrency": 65}),
        json!({"urls": ["http://a/"], "headers": {"a b": "c"}}),
        json!({"urls": vec!["http://a/"; 10_001]}),
    ] {
        assert_eq!(ask(&proxy, "POST", PREFETCH, &wrong).await.0, 400);
    }
    assert_eq!(
        ask(&proxy, "GET", "/api/v1/cache/prefetch/99", &Value::Null)
            .await
            .0,
        404
    );
}
