//! What is stored, and what must not be.

use std::sync::Arc;

use cirrus_core::testing::{Client, Describe, Origin, reply};
use tokio::sync::Notify;

use crate::{cached, counted, did, is_hit, metric, until};

/// A response for the one who asked.
fn personal(asked: &cirrus_core::testing::Asked) -> cirrus_core::Response {
    reply(format!(
        "for {}{}",
        asked.header("cookie"),
        asked.header("authorization")
    ))
}

#[tokio::test]
async fn what_is_for_one_user_is_never_stored() {
    let origin = Origin::new()
        .get("/private", |asked| {
            personal(&asked).with("cache-control", "private, max-age=60")
        })
        .get("/private-quoted", |asked| {
            personal(&asked).with("cache-control", "max-age=60, private=\"\"")
        })
        .get("/no-store", |asked| {
            personal(&asked).with("cache-control", "no-store, max-age=60")
        })
        .get("/two-lines", |asked| {
            personal(&asked)
                .with("cache-control", "max-age=60")
                .with("cache-control", "no-store")
        })
        .get("/set-cookie", |asked| {
            personal(&asked)
                .with("cache-control", "max-age=60")
                .with("set-cookie", "session=1")
        })
        .get("/vary-all", |asked| {
            personal(&asked)
                .with("cache-control", "max-age=60")
                .with("vary", "*")
        })
        .get("/silent", |asked| personal(&asked))
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    let paths = [
        "/private",
        "/private-quoted",
        "/no-store",
        "/two-lines",
        "/set-cookie",
        "/vary-all",
        "/silent",
    ];
    for path in paths {
        for user in ["alice", "bob", "alice"] {
            let response = client.get_with(path, &format!("cookie: {user}\r\n")).await;
            assert_eq!(response.text(), format!("for {user}"), "{path}");
            assert!(
                !did(&response).contains("stored"),
                "{path}: {}",
                did(&response)
            );
        }
    }
    assert_eq!(origin.count(), 3 * paths.len());
    assert_eq!(metric(&proxy, "cirrus_cache_objects").await, 0);
}

#[tokio::test]
async fn answers_to_authorization_are_stored_only_if_the_origin_says_so() {
    let origin = Origin::new()
        .get("/mine", |asked| {
            personal(&asked).with("cache-control", "max-age=60")
        })
        .get("/all", |_| {
            reply("for all").with("cache-control", "public, max-age=60")
        })
        .run()
        .await;
    let (_proxy, mut client) = cached(&origin).await;
    for user in ["alice", "bob"] {
        let line = format!("authorization: {user}\r\n");
        let mine = client.get_with("/mine", &line).await;
        assert_eq!(
            (mine.text(), &*did(&mine)),
            (
                &*format!("for {user}"),
                "fwd=uri-miss; detail=authorization"
            )
        );
        client.get_with("/all", &line).await;
    }
    assert!(is_hit(&client.get("/all").await));
    assert_eq!(client.get("/mine").await.text(), "for ");
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn a_client_may_forbid_storing() {
    let origin = Origin::new()
        .get("/", |_| reply("").with("cache-control", "max-age=60"))
        .run()
        .await;
    let (_proxy, mut client) = cached(&origin).await;
    for _ in 0..2 {
        let response = client.get_with("/", "cache-control: no-store\r\n").await;
        assert_eq!(did(&response), "fwd=request; detail=no-store");
    }
    assert_eq!(did(&client.get("/").await), "fwd=uri-miss; stored");
    let insists = client.get_with("/", "cache-control: no-cache\r\n").await;
    assert_eq!(did(&insists), "fwd=request; stored");
    let reloads = client.get_with("/", "pragma: no-cache\r\n").await;
    assert_eq!(did(&reloads), "fwd=request; stored");
    assert!(is_hit(
        &client
            .get_with("/", "cache-control: only-if-cached\r\n")
            .await
    ));
    let nothing = client
        .get_with("/other", "cache-control: only-if-cached\r\n")
        .await;
    assert_eq!(nothing.status, 504);
    assert_eq!(origin.count(), 5);
}

#[tokio::test]
async fn errors_are_stored_only_if_the_origin_says_so() {
    let origin = Origin::new()
        .get("/500", |_| reply("").with_status(500))
        .get("/404", |_| {
            reply("")
                .with_status(404)
                .with("cache-control", "max-age=60")
        })
        .get("/503", |_| {
            reply("")
                .with_status(503)
                .with("cache-control", "max-age=60")
        })
        .run()
        .await;
    let (_proxy, mut client) = cached(&origin).await;
    for (path, status, hit) in [
        ("/500", 500, false),
        ("/404", 404, true),
        ("/503", 503, true),
    ] {
        client.get(path).await;
        let second = client.get(path).await;
        assert_eq!((second.status, is_hit(&second)), (status, hit), "{path}");
    }
}

#[tokio::test]
async fn a_change_makes_what_is_stored_void() {
    let origin = Origin::new()
        .get("*", |asked| {
            let response =
                reply(format!("version {}", asked.before)).with("cache-control", "max-age=60");
            match &*asked.target {
                "/fails" if asked.method != "GET" => response.with_status(500),
                "/elsewhere" => response.with("location", "/page"),
                _ => response,
            }
        })
        .run()
        .await;
    let (_proxy, mut client) = cached(&origin).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "UNHEARD-OF"] {
        client.get("/page").await;
        assert!(is_hit(&client.get("/page").await), "{method}");
        assert_eq!(
            did(&client.ask(method, "/page", "", b"x").await),
            "fwd=method"
        );
        assert!(!is_hit(&client.get("/page").await), "{method}");
    }
    client.get("/fails").await;
    client.ask("POST", "/fails", "", b"x").await;
    assert!(is_hit(&client.get("/fails").await), "nothing has changed");
    assert!(is_hit(&client.get("/page").await));
    client.ask("POST", "/elsewhere", "", b"x").await;
    assert!(!is_hit(&client.get("/page").await), "named by Location");
}

/// A response that the origin made before a change must not be found after it.
#[tokio::test]
async fn a_change_while_the_origin_answers_keeps_the_answer_out_of_the_store() {
    let go = Arc::new(Notify::new());
    let waits = Arc::clone(&go);
    let origin = Origin::new()
        .later("/", move |asked| {
            let waits = Arc::clone(&waits);
            async move {
                if asked.before == 0 {
                    waits.notified().await;
                }
                reply(asked.before.to_string()).with("cache-control", "max-age=60")
            }
        })
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    let mut early = Client::to(proxy.address());
    early
        .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    until(async || origin.count() == 1).await;
    client.ask("POST", "/", "", b"x").await;
    go.notify_one();
    let reply = early.reply_to("GET").await;
    assert_eq!(
        (reply.text(), &*did(&reply)),
        ("0", "fwd=uri-miss; detail=purged")
    );
    assert_eq!(client.get("/").await.text(), "2");
    assert!(is_hit(&client.get("/").await));
}

#[tokio::test]
async fn metrics_and_cache_status_agree() {
    let origin = Origin::new()
        .get("/a", |_| reply("12345").with("cache-control", "max-age=60"))
        .get("/b", |_| reply("12345").with("cache-control", "private"))
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    let mut words = std::collections::BTreeMap::<_, u64>::new();
    for path in ["/a", "/a", "/b", "/a", "/b", "/a"] {
        let word = if is_hit(&client.get(path).await) {
            "hit"
        } else {
            "miss"
        };
        *words.entry(word).or_default() += 1;
    }
    client.ask("POST", "/a", "", b"x").await;
    assert_eq!(words, [("hit", 3), ("miss", 3)].into());
    for (word, count) in [("hit", 3), ("miss", 3), ("pass", 1)] {
        let name = format!("cirrus_requests_total{{site=\"*\",status=\"2xx\",cache=\"{word}\"}}");
        assert_eq!(metric(&proxy, &name).await, count, "{word}");
        assert_eq!(counted(&proxy, word).await, count, "{word}");
    }
    assert_eq!(
        metric(&proxy, "cirrus_response_body_bytes_total{site=\"*\"}").await,
        35
    );
    // The POST has made the only object void.
    assert_eq!(metric(&proxy, "cirrus_cache_objects").await, 0);
    client.get("/a").await;
    until(async || metric(&proxy, "cirrus_cache_objects").await == 1).await;
    assert!(metric(&proxy, "cirrus_cache_bytes").await > 5);
    assert_eq!(
        metric(&proxy, "cirrus_cache_capacity_bytes").await,
        256 << 20
    );
}

#[tokio::test]
async fn a_site_without_a_cache_has_none() {
    let origin = Origin::new()
        .get("/", |_| reply("").with("cache-control", "max-age=60"))
        .run()
        .await;
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\norigin = [{{ url = \"{}\" }}]\n",
        origin.url()
    );
    let proxy = crate::with_store(cirrus_core::testing::proxy::new(&toml))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    for _ in 0..2 {
        assert_eq!(did(&client.get("/").await), "");
    }
    assert_eq!(origin.count(), 2);
}
