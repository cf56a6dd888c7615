//! Sessions that stay with their endpoints, and a cache above them: a session is one client's and nobody else's.

use std::sync::Arc;

use cirrus_core::testing::{Client, Describe, Origin, Reply, RunningOrigin, proxy, reply};
use tokio::sync::Notify;

use crate::{did, is_hit, until, with_store};

/// Three of them, each of which answers with its number.
async fn origins() -> Vec<RunningOrigin> {
    let mut all = Vec::new();
    for number in 0..3 {
        let answer = move |control: &'static str| {
            move |_| reply(number.to_string()).with("cache-control", control)
        };
        let origin = Origin::new()
            .get("/page", answer("max-age=60"))
            .get("/mine", answer("no-store"))
            .get("/login", move |_| {
                reply(number.to_string())
                    .with("cache-control", "max-age=60")
                    .with("set-cookie", "user=alice")
            });
        all.push(origin.run().await);
    }
    all
}

async fn sticky(cache: &str, origins: &[RunningOrigin]) -> proxy::Running {
    let one = |origin: &RunningOrigin| format!("[[site.origin]]\nurl = \"{}\"\n", origin.url());
    let list: String = origins.iter().map(one).collect();
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\ncache = {{ enable = true{cache} }}\n\
         balance = {{ sticky = {{ cookie = \"sid\", secret = \"0123456789abcdef\" }} }}\n{list}"
    );
    with_store(proxy::new(&toml)).run().await
}

/// What a response says about the session.
fn told(reply: &Reply) -> Option<String> {
    let cookie = reply.header("set-cookie");
    let session = cookie.split(';').next()?.to_owned();
    session.starts_with("sid=").then_some(session)
}

#[tokio::test]
async fn a_session_is_neither_stored_nor_served_to_anybody_else() {
    let origins = origins().await;
    let proxy = sticky("", &origins).await;
    let mut alice = Client::to(proxy.address());
    let first = alice.get("/page").await;
    assert!(
        told(&first).is_some(),
        "the origin was asked for her: {}",
        did(&first)
    );
    for _ in 0..6 {
        let hit = Client::to(proxy.address()).get("/page").await;
        assert!(is_hit(&hit), "{}", did(&hit));
        assert_eq!(hit.header("set-cookie"), "");
        assert_eq!(hit.text(), first.text());
    }
    // What is not stored goes to the client's own endpoint, whoever filled the cache.
    let session = told(&first).unwrap();
    let cookie = format!("cookie: {session}\r\n");
    for _ in 0..6 {
        assert!(is_hit(&alice.ask("GET", "/page", &cookie, b"").await));
        let mine = alice.ask("GET", "/mine", &cookie, b"").await;
        assert_eq!(mine.text(), first.text());
        assert_eq!(mine.header("set-cookie"), "", "she knows it");
    }
    let mut bobs = std::collections::BTreeSet::new();
    for _ in 0..6 {
        bobs.extend(told(&Client::to(proxy.address()).get("/mine").await));
    }
    assert_eq!(bobs.len(), 3, "each a session of their own: {bobs:?}");
}

#[tokio::test]
async fn who_waits_for_anothers_fetch_does_not_get_its_session() {
    let (go, come) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (gate, here) = (Arc::clone(&go), Arc::clone(&come));
    let slow = Origin::new().later("/slow", move |_| {
        let (gate, here) = (Arc::clone(&gate), Arc::clone(&here));
        async move {
            here.notify_one();
            gate.notified().await;
            reply("slow").with("cache-control", "max-age=60")
        }
    });
    let origins = [slow.run().await];
    let proxy = sticky("", &origins).await;
    let mut clients: Vec<_> = (0..3).map(|_| Client::to(proxy.address())).collect();
    let asking = clients.iter_mut().map(|client| client.get("/slow"));
    let letting = async {
        come.notified().await;
        let waits = async || crate::metric(&proxy, "cirrus_requests_in_flight ").await >= 3;
        until(waits).await;
        go.notify_waiters();
        go.notify_one();
    };
    let (replies, ()) = tokio::join!(futures_util::future::join_all(asking), letting);
    assert_eq!(origins[0].count(), 1, "one fetch for all");
    let sessions: Vec<_> = replies.iter().filter_map(told).collect();
    assert_eq!(
        sessions.len(),
        1,
        "only whose request was forwarded: {sessions:?}"
    );
}

#[tokio::test]
async fn the_origins_cookies_are_dealt_with_as_ever() {
    let origins = origins().await;
    for (set_cookie, stored) in [("refuse", false), ("strip", true), ("keep", true)] {
        let proxy = sticky(&format!(", set_cookie = \"{set_cookie}\""), &origins).await;
        let first = Client::to(proxy.address()).get("/login").await;
        assert!(
            first.header("set-cookie").contains("user=alice"),
            "{set_cookie}"
        );
        let second = Client::to(proxy.address()).get("/login").await;
        assert_eq!(is_hit(&second), stored, "{set_cookie}: {}", did(&second));
        if stored {
            assert!(
                !second.header("set-cookie").contains("sid="),
                "{set_cookie}"
            );
        }
    }
}
