//! Purges: by API, and by the method PURGE.

use std::sync::Arc;

use cirrus_core::testing::{Client, Describe, Origin, Reply, RunningOrigin, proxy, reply};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{is_hit, metric, until, with_store};

/// Of `secret`.
const HASH: &str = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const JSON: &str = "content-type: application/json\r\n";
const TOKEN: &str = "authorization: Bearer secret\r\n";
const PURGE: &str = "/api/v1/cache/purge";

/// Every answer has the tag of its path, and a variant for each language.
async fn origin() -> RunningOrigin {
    Origin::new()
        .get("*", |asked| {
            let tag = asked.target.trim_matches('/').replace('/', "-");
            reply(asked.before.to_string())
                .with("cache-control", "max-age=60, stale-while-revalidate=60")
                .with("vary", "accept-language")
                .with("cache-tag", &format!("all-pages, {tag}"))
        })
        .run()
        .await
}

/// An edge whose admin listener has a token, with `cache` in its site.
async fn edge(origin: &RunningOrigin, cache: &str) -> proxy::Running {
    let toml = format!(
        "[admin]\naddress = \"127.0.0.1:0\"\ntokens = {{ ci = \"{HASH}\" }}\n\
         [[site]]\nhosts = [\"*\"]\ncache = {{ enable = true{cache} }}\norigin = [{{ url = \"{}\" }}]\n",
        origin.url()
    );
    with_store(proxy::new(&toml)).run().await
}

fn operator(proxy: &proxy::Running) -> Client {
    Client::to(proxy.admin()).host("localhost")
}

async fn purge(proxy: &proxy::Running, what: &Value) -> (u16, Value) {
    let body = what.to_string();
    let lines = format!("{JSON}{TOKEN}");
    let mut operator = operator(proxy);
    let reply = operator.ask("POST", PURGE, &lines, body.as_bytes()).await;
    (
        reply.status,
        serde_json::from_slice(&reply.body).expect("JSON"),
    )
}

/// Has these stored, each in two languages; which of them are hits?
async fn hits(client: &mut Client, paths: &[&str]) -> Vec<bool> {
    let mut hits = Vec::new();
    for path in paths {
        for language in ["en", "de"] {
            let line = format!("accept-language: {language}\r\n");
            hits.push(is_hit(&client.get_with(path, &line).await));
        }
    }
    hits
}

fn problem(reply: &Reply) -> String {
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(problem["status"], reply.status);
    problem["detail"].as_str().expect("a detail").to_owned()
}

#[tokio::test]
async fn removes_what_was_asked_for_and_nothing_else() {
    let origin = origin().await;
    let proxy = edge(&origin, "").await;
    let mut client = Client::to(proxy.address());
    let paths = ["/a/1", "/a/2", "/b"];
    let all = [true; 6];
    for (what, left) in [
        (
            json!({"urls": ["http://SHOP.example:80/a/./1"]}),
            [false, false, true, true, true, true],
        ),
        (
            json!({"prefixes": ["shop.example/a/"]}),
            [false, false, false, false, true, true],
        ),
        (
            json!({"tags": ["b"]}),
            [true, true, true, true, false, false],
        ),
        (json!({"tags": ["all-pages"]}), [false; 6]),
        (json!({"hosts": ["shop.example"]}), [false; 6]),
        (json!({"all": true}), [false; 6]),
        (
            json!({"urls": ["https://shop.example/b"], "hosts": ["other.example"]}),
            all,
        ),
        (
            json!({"urls": ["http://shop.example/b"], "tags": ["a-2"]}),
            [true, true, false, false, false, false],
        ),
    ] {
        hits(&mut client, &paths).await;
        assert_eq!(hits(&mut client, &paths).await, all);
        let (status, answer) = purge(&proxy, &what).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(hits(&mut client, &paths).await, left, "{what}");
    }
    for (kind, count) in [
        ("url", 3),
        ("prefix", 1),
        ("tag", 3),
        ("host", 2),
        ("all", 1),
    ] {
        let name = format!("cirrus_cache_purges_total{{kind=\"{kind}\"}}");
        assert_eq!(metric(&proxy, &name).await, count, "{kind}");
    }
}

#[tokio::test]
async fn soft_purges_make_stale() {
    let origin = origin().await;
    let proxy = edge(&origin, "").await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/a").await.text(), "0");
    let (status, answer) = purge(&proxy, &json!({"tags": ["a"], "soft": true})).await;
    assert_eq!((status, &answer["soft"]), (200, &true.into()));
    let stale = client.get("/a").await;
    assert_eq!(stale.text(), "0", "served while it is revalidated");
    until(async || Client::to(proxy.address()).get("/a").await.text() == "1").await;
}

#[tokio::test]
async fn tells_what_was_done_for_each() {
    let origin = origin().await;
    let proxy = edge(&origin, "").await;
    let mut client = Client::to(proxy.address());
    hits(&mut client, &["/a"]).await;
    let what =
        json!({"urls": ["http://shop.example/a", "shop.example/b"], "hosts": ["*"], "tags": ["t"]});
    let (status, answer) = purge(&proxy, &what).await;
    assert_eq!(status, 422);
    assert_eq!(answer["detail"], "2 of 4 could not be purged");
    let results = answer["results"].as_array().unwrap();
    let first =
        json!({"kind": "url", "item": "http://shop.example/a", "result": "purged", "objects": 2});
    assert_eq!(results[0], first);
    assert_eq!(
        (&results[1]["result"], &results[1]["item"]),
        (&"failed".into(), &"shop.example/b".into())
    );
    assert!(
        results[1]["error"]
            .as_str()
            .unwrap()
            .contains("a whole URL is needed")
    );
    assert_eq!(
        (&results[2]["kind"], &results[2]["result"]),
        (&"tag".into(), &"purged".into())
    );
    assert_eq!(
        (&results[3]["kind"], &results[3]["result"]),
        (&"host".into(), &"failed".into())
    );
    assert_eq!(
        hits(&mut client, &["/a"]).await,
        [false, false],
        "what was right is done"
    );
}

#[tokio::test]
async fn refuses_what_it_should() {
    let origin = origin().await;
    let proxy = edge(&origin, "").await;
    let mut client = Client::to(proxy.address());
    client.get("/a").await;
    let everything = br#"{"all":true}"#;
    let both = format!("{JSON}{TOKEN}");
    let mut operator = operator(&proxy);
    for (method, lines, body, status) in [
        ("POST", JSON, &everything[..], 401),
        ("POST", TOKEN, everything, 415),
        ("GET", &both, b"", 405),
        ("POST", &both, b"{", 400),
        ("POST", &both, b"{}", 400),
        ("POST", &both, br#"{"all":true,"hard":true}"#, 400),
        ("POST", &both, br#"{"urls":"http://a/"}"#, 400),
    ] {
        let reply = operator.ask(method, PURGE, lines, body).await;
        assert_eq!(reply.status, status, "{}", problem(&reply));
    }
    let many = json!({"tags": vec!["t"; 1001]});
    let reply = operator
        .ask("POST", PURGE, &both, many.to_string().as_bytes())
        .await;
    assert!(problem(&reply).contains("at most 1000"));
    let large = format!("{{\"tags\":[\"{}\"]}}", "x".repeat(1 << 20));
    let reply = operator.ask("POST", PURGE, &both, large.as_bytes()).await;
    assert_eq!(reply.status, 413);
    let allowed = operator.get(PURGE).await;
    assert_eq!((allowed.status, &*allowed.header("allow")), (405, "POST"));
    assert!(is_hit(&client.get("/a").await), "nothing was purged");
    let page = operator.get("/api/v1/config").await;
    assert!(!page.text().contains("2bb80d53"), "hashes are not shown");
}

#[tokio::test]
async fn without_a_token_nothing_is_changed() {
    let origin = origin().await;
    let proxy = with_store(proxy::to(&origin)).run().await;
    let reply = operator(&proxy)
        .ask("POST", PURGE, JSON, br#"{"all":true}"#)
        .await;
    assert_eq!(reply.status, 403);
    assert!(problem(&reply).contains("[admin] tokens"));
    let open = "[admin]\naddress = \"127.0.0.1:0\"\nopen = true\n[[site]]\nhosts = [\"*\"]\nroute = [{ respond = {} }]\n";
    let open = with_store(proxy::new(open)).run().await;
    let reply = operator(&open)
        .ask("POST", PURGE, JSON, br#"{"all":true}"#)
        .await;
    assert_eq!(reply.status, 200);
}

/// The origin made the answer before the purge, and it arrives after it.
#[tokio::test]
async fn a_purge_is_not_undone_by_a_fill_that_began_before_it() {
    let go = Arc::new(Notify::new());
    let waits = Arc::clone(&go);
    let origin = Origin::new().later("/", move |asked| {
        let waits = Arc::clone(&waits);
        async move {
            if asked.before % 2 == 0 {
                waits.notified().await;
            }
            reply(asked.before.to_string())
                .with("cache-control", "max-age=60")
                .with("cache-tag", "t")
        }
    });
    let origin = origin.run().await;
    let proxy = edge(&origin, "").await;
    for (round, what) in [
        json!({"urls": ["http://shop.example/"]}),
        json!({"prefixes": ["shop.example/"]}),
        json!({"tags": ["t"]}),
        json!({"hosts": ["shop.example"]}),
        json!({"all": true}),
    ]
    .iter()
    .enumerate()
    {
        let mut early = Client::to(proxy.address());
        early
            .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
            .await;
        until(async || origin.count() == 2 * round + 1).await;
        assert_eq!(purge(&proxy, what).await.0, 200);
        go.notify_one();
        let old = early.reply_to("GET").await;
        assert_eq!(old.text(), (2 * round).to_string());
        let mut client = Client::to(proxy.address());
        assert_eq!(
            client.get("/").await.text(),
            (2 * round + 1).to_string(),
            "{what}"
        );
        assert!(is_hit(&client.get("/").await));
        purge(&proxy, &json!({"all": true})).await;
    }
}

#[tokio::test]
async fn purge_by_method_where_a_route_allows_it() {
    let origin = origin().await;
    let keys = format!(", purge = {{ keys = {{ deploy = \"{HASH}\" }} }}");
    let proxy = edge(&origin, &keys).await;
    let mut client = Client::to(proxy.address());
    let key = "x-purge-key: secret\r\n";
    hits(&mut client, &["/a"]).await;
    assert_eq!(client.ask("PURGE", "/a", "", b"").await.status, 401);
    assert_eq!(hits(&mut client, &["/a"]).await, [true, true]);
    let done = client.ask("PURGE", "/a", key, b"").await;
    let told: Value = serde_json::from_slice(&done.body).unwrap();
    assert_eq!((done.status, &told["objects"]), (200, &2.into()));
    assert_eq!(hits(&mut client, &["/a"]).await, [false, false]);
    let wrong = format!("{key}cirrus-purge: maybe\r\n");
    assert_eq!(client.ask("PURGE", "/a", &wrong, b"").await.status, 400);
    let soft = format!("{key}cirrus-purge: soft\r\n");
    let before = origin.count();
    assert_eq!(client.ask("PURGE", "/a", &soft, b"").await.status, 200);
    // Still there to be served, and revalidated behind that.
    assert_eq!(
        client
            .get_with("/a", "accept-language: en\r\n")
            .await
            .status,
        200
    );
    until(async || origin.count() > before).await;
    assert!(origin.asked().iter().all(|asked| asked.method == "GET"));
    assert_eq!(
        client.ask("purge", "/a", key, b"").await.status,
        200,
        "another method, for the origin"
    );
    assert_eq!(origin.asked().last().unwrap().method, "purge");
}

#[tokio::test]
async fn purge_by_method_goes_by_address() {
    let origin = origin().await;
    for (allowed, status) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 403)] {
        let proxy = edge(&origin, &format!(", purge = {{ allow = [\"{allowed}\"] }}")).await;
        let mut client = Client::to(proxy.address());
        client.get("/a").await;
        assert_eq!(client.ask("PURGE", "/a", "", b"").await.status, status);
        assert_eq!(is_hit(&client.get("/a").await), status == 403, "{allowed}");
    }
}

#[tokio::test]
async fn purge_by_method_is_not_allowed_elsewhere_and_has_done_nothing() {
    let origin = origin().await;
    let proxy = edge(&origin, "").await;
    let mut client = Client::to(proxy.address());
    client.get("/a").await;
    let refused = client
        .ask("PURGE", "/a", "x-purge-key: secret\r\n", b"")
        .await;
    assert_eq!(refused.status, 405);
    assert!(is_hit(&client.get("/a").await));
    assert_eq!(origin.count(), 1, "the origin has not seen it");
}

#[tokio::test]
async fn tells_what_is_stored() {
    let origin = origin().await;
    let proxy = edge(&origin, "").await;
    let mut client = Client::to(proxy.address());
    hits(&mut client, &["/a?x=1"]).await;
    proxy.clock().advance(std::time::Duration::from_secs(7));
    let lookup = "/api/v1/cache/lookup?url=http%3A%2F%2Fshop.example%2Fa%3Fx%3D1";
    let mut operator = operator(&proxy);
    let told: Value = serde_json::from_slice(&operator.get(lookup).await.body).unwrap();
    assert_eq!(told["url"], "http://shop.example/a?x=1");
    let newest = &told["variants"][0];
    assert_eq!(told["variants"].as_array().unwrap().len(), 2);
    let expected = [
        ("status", 200),
        ("age", 7),
        ("ttl", 53),
        ("lifetime", 60),
        ("bytes", 1),
    ];
    for (name, value) in expected {
        assert_eq!(newest[name], value, "{name} in {newest}");
    }
    assert_eq!(
        newest["vary"],
        json!([{"name": "accept-language", "value": "de"}])
    );
    assert_eq!(newest["tags"], json!(["a?x=1", "all-pages"]));
    let usage: Value = serde_json::from_slice(&operator.get("/api/v1/cache").await.body).unwrap();
    assert_eq!(usage["usage"]["objects"], 2);
    let nothing = operator
        .get("/api/v1/cache/lookup?url=http://shop.example/none")
        .await;
    let nothing: Value = serde_json::from_slice(&nothing.body).unwrap();
    assert_eq!(nothing["stored"], false);
    assert_eq!(
        operator.get("/api/v1/cache/lookup?url=none").await.status,
        400
    );
}

#[tokio::test]
async fn a_url_is_looked_up_and_counted_under_the_keys_that_its_site_makes() {
    let origin = origin().await;
    let sorted = edge(&origin, ", key = { sort_query = true }").await;
    let labelled = edge(
        &origin,
        ", key = { sort_query = true, cookies = [\"lang\"] }",
    )
    .await;
    for (proxy, variants, objects) in [(&sorted, 2, json!(2)), (&labelled, 0, Value::Null)] {
        hits(&mut Client::to(proxy.address()), &["/a?y=1&x=1"]).await;
        let lookup = "/api/v1/cache/lookup?url=http://shop.example/a?y=1%26x=1";
        let told = operator(proxy).get(lookup).await;
        let told: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(told["variants"].as_array().unwrap().len(), variants);
        let (_, done) = purge(proxy, &json!({"urls": ["http://shop.example/a?y=1&x=1"]})).await;
        assert_eq!(done["results"][0]["objects"], objects);
        let left = hits(&mut Client::to(proxy.address()), &["/a?y=1&x=1"]).await;
        assert_eq!(left, [false, false]);
    }
}
