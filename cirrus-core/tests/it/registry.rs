//! Endpoints that are put in and taken out while traffic flows.

use std::time::Duration;

use cirrus_core::discovery::{Condition, Registry};
use cirrus_core::testing::{Client, Origin, RunningOrigin, proxy, reply};
use serde_json::{Value, json};

const LOCAL: &str = "[admin]\naddress = \"127.0.0.1:0\"\nopen = true\n";

async fn origin(name: &'static str) -> RunningOrigin {
    Origin::new().get("*", move |_| reply(name)).run().await
}

fn config(rest: &str) -> String {
    format!(
        "{rest}\n[[cluster]]\nname = \"pay\"\nservice = \"pay\"\n\
         [[site]]\nhosts = [\"*\"]\ncluster = \"pay\"\n"
    )
}

async fn before(registry: &Registry, rest: &str) -> (proxy::Running, Client, Client) {
    let parts = registry.clone();
    let proxy = proxy::new(&config(rest))
        .with(|builder| builder.discovery(parts.clone()).registry(parts))
        .run()
        .await;
    let admin = Client::to(proxy.admin()).host("localhost");
    let client = Client::to(proxy.address());
    (proxy, admin, client)
}

/// Asks until the answer is this one.
async fn until(client: &mut Client, wanted: &str) {
    let mut last = String::new();
    for _ in 0..500 {
        last = client.get("/").await.text().to_owned();
        if last == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{last:?} instead of {wanted:?}");
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn changes_by_rest_are_followed_at_once() {
    let (one, two) = (origin("one").await, origin("two").await);
    let (_proxy, mut admin, mut client) = before(&Registry::new(), LOCAL).await;
    let at = "/api/v1/registry/pay/endpoints/a";
    let body = |origin: &RunningOrigin| json!({"url": origin.url()}).to_string();
    let put = admin.ask("PUT", at, "", body(&one).as_bytes()).await;
    assert_eq!(put.status, 201, "{}", put.text());
    until(&mut client, "one").await;

    let list = admin.get("/api/v1/registry/pay").await;
    let tag = list.header("etag");
    assert_eq!(tag, put.header("etag"));
    let told = parsed(list.text());
    assert_eq!(told["endpoints"]["a"]["weight"], 1);

    let whole = json!({"endpoints": {"b": {"url": two.url(), "weight": 3}}}).to_string();
    let all = "/api/v1/registry/pay";
    let lines = format!("If-Match: {tag}\r\n");
    let replaced = admin.ask("PUT", all, &lines, whole.as_bytes()).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text());
    until(&mut client, "two").await;
    // Who has not seen that change may not undo it.
    let late = admin.ask("PUT", all, &lines, whole.as_bytes()).await;
    assert_eq!(late.status, 412);
    let late = admin
        .ask("DELETE", "/api/v1/registry/pay/endpoints/b", &lines, b"")
        .await;
    assert_eq!(late.status, 412);

    assert_eq!(admin.get(at).await.status, 404);
    let gone = admin
        .ask("DELETE", "/api/v1/registry/pay/endpoints/b", "", b"")
        .await;
    assert_eq!(gone.status, 200);
    let again = admin
        .ask("DELETE", "/api/v1/registry/pay/endpoints/b", "", b"")
        .await;
    assert_eq!(again.status, 404);
    let services = parsed(admin.get("/api/v1/registry").await.text());
    assert_eq!(services["services"][0]["endpoints"], 0);
    let forgotten = admin.ask("DELETE", all, "", b"").await;
    assert_eq!(forgotten.status, 200);
    assert_eq!(admin.get(all).await.status, 404);
}

#[tokio::test]
async fn what_makes_no_sense_changes_nothing() {
    let registry = Registry::new();
    let (_proxy, mut admin, _) = before(&registry, LOCAL).await;
    let at = "/api/v1/registry/pay";
    for (path, body, status) in [
        ("/endpoints/a", "{\"url\": \"nowhere\"}", 400),
        ("/endpoints/a", "{\"url\": \"http://a:1\", \"x\": 1}", 400),
        ("/endpoints/a%20b", "{\"url\": \"http://a:1\"}", 400),
        ("/endpoint/a", "{\"url\": \"http://a:1\"}", 404),
        (
            "",
            "{\"endpoints\": {\"\": {\"url\": \"http://a:1\"}}}",
            400,
        ),
        ("", "[]", 400),
    ] {
        let path = format!("{at}{path}");
        let answer = admin.ask("PUT", &path, "", body.as_bytes()).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    assert_eq!(registry.entries("pay"), None);
    assert_eq!(admin.ask("POST", at, "", b"").await.status, 405);
}

#[tokio::test]
async fn changes_need_a_token_unless_the_machine_is_trusted() {
    let registry = Registry::new();
    let rest = "[registry]\nlegacy = \"pay\"";
    let (_proxy, mut admin, _) = before(&registry, rest).await;
    let body = b"{\"url\": \"http://a:1\"}";
    let at = "/api/v1/registry/pay/endpoints/a";
    assert_eq!(admin.ask("PUT", at, "", body).await.status, 403);
    assert_eq!(admin.ask("DELETE", at, "", b"").await.status, 403);
    let add = admin.get("/add?no=1&ip=127.0.0.1&port=80").await;
    assert_eq!(add.status, 403);
    assert_eq!(admin.get("/delete?no=1").await.status, 403);
    assert_eq!(registry.entries("pay"), None);
}

#[tokio::test]
async fn numbers_as_the_predecessor_had_them() {
    let (one, two) = (origin("one").await, origin("two").await);
    let rest = format!("{LOCAL}[registry]\nlegacy = \"pay\"");
    let (_proxy, mut admin, mut client) = before(&Registry::new(), &rest).await;
    let port = |origin: &RunningOrigin| origin.address().port();

    let usage = admin.get("/add?no=1&ip=127.0.0.1").await;
    assert_eq!(
        (usage.status, usage.text()),
        (400, "usage: /add?no=1&ip=127.0.0.1&port=8081\n")
    );
    assert_eq!(admin.get("/get").await.text(), "usage: /get?no=1\n");
    assert_eq!(admin.get("/delete").await.text(), "usage: /delete?no=1\n");
    let unknown = admin.get("/get?no=1").await;
    assert_eq!(
        (unknown.status, unknown.text()),
        (404, "there is no endpoint with the number 1\n")
    );
    assert_eq!(admin.get("/delete?no=1").await.status, 404);

    let add = format!("/add?no=1&ip=127.0.0.1&port={}", port(&one));
    let added = admin.get(&add).await;
    let told = format!("added 1: 127.0.0.1:{}\n", port(&one));
    assert_eq!((added.status, added.text()), (200, &*told));
    until(&mut client, "one").await;
    // The same number again replaces it.
    let add = format!("/add?no=1&ip=127.0.0.1&port={}", port(&two));
    assert_eq!(admin.get(&add).await.status, 200);
    until(&mut client, "two").await;
    let told = format!("127.0.0.1:{}\n", port(&two));
    assert_eq!(admin.get("/get?no=1").await.text(), told);
    // A page somewhere cannot have a browser do it.
    let page = admin
        .get_with("/delete?no=1", "Sec-Fetch-Site: cross-site\r\n")
        .await;
    assert_eq!(page.status, 403);
    assert_eq!(admin.ask("POST", "/delete?no=1", "", b"").await.status, 405);
    assert_eq!(admin.get("/delete?no=1").await.text(), "deleted 1\n");
    assert_eq!(admin.get("/get?no=1").await.status, 404);
}

#[tokio::test]
async fn numbers_and_the_registry_are_off_unless_configured() {
    let (_proxy, mut admin, _) = before(&Registry::new(), LOCAL).await;
    assert_eq!(admin.get("/get?no=1").await.status, 404);
    let plain = proxy::new(LOCAL).run().await;
    let mut admin = Client::to(plain.admin()).host("localhost");
    assert_eq!(admin.get("/api/v1/registry").await.status, 404);
}

#[tokio::test]
async fn an_edge_serves_what_it_knew_while_nobody_can_be_asked() {
    let one = origin("one").await;
    let directory = tempfile::tempdir().unwrap();
    let state = format!("[discovery]\nstate = \"{}\"", directory.path().display());
    let registry = Registry::new();
    let seed = cirrus_core::discovery::Endpoint::new(one.url().parse().unwrap());
    registry.put("pay", "a", seed, &Condition::Any).unwrap();
    let (proxy, mut admin, mut client) = before(&registry, &state).await;
    until(&mut client, "one").await;
    let discovery = |text: &str| parsed(text)["clusters"][0]["discovery"].clone();
    let told = discovery(admin.get("/api/v1/status").await.text());
    assert_eq!(told["restored"], false);
    assert_eq!(told["service"], "pay");
    assert!(told["age"].is_number());
    drop(client);
    proxy.shutdown().await;

    // This one knows nothing of the service.
    let (_proxy, mut admin, mut client) = before(&Registry::new(), &state).await;
    assert_eq!(
        client.get("/").await.text(),
        "one",
        "the very first request"
    );
    let mut told = Value::Null;
    for _ in 0..500 {
        told = discovery(admin.get("/api/v1/status").await.text());
        if told["errors"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(told["restored"], true);
    assert_eq!(told["error"], "the service `pay` is unknown");
    let metrics = admin.get("/metrics").await;
    for line in [
        "cirrus_discovery_failing{cluster=\"pay\"} 1",
        "cirrus_discovery_errors_total{cluster=\"pay\"} 1",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
}
