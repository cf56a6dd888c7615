//! What is stored is served to those only who may have it, and what is for one user to that user only.

use std::sync::Arc;

use cirrus_core::testing::{Asked, Client, Describe, Origin, RunningOrigin, proxy, reply};
use tokio::sync::Barrier;

use crate::{secs, with_store};

/// The hash of `key`.
const KEY: &str = "sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";

/// The hash of `secret`.
const SECRET: &str = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

async fn guarded(origin: &RunningOrigin, tables: &str) -> (proxy::Running, Client) {
    let site = "[[site]]\nhosts = [\"*\"]\ncache = { enable = true }\n";
    let toml = format!(
        "{site}{tables}\n[[site.origin]]\nurl = \"{}\"\n",
        origin.url()
    );
    let proxy = with_store(proxy::new(&toml)).run().await;
    let client = Client::to(proxy.address());
    (proxy, client)
}

/// Says whom it is for, as an origin does that knows its users from a field.
async fn greeting(control: &'static str) -> RunningOrigin {
    let greet = move |asked: Asked| {
        reply(format!("hello {}", asked.header("x-user"))).with("cache-control", control)
    };
    Origin::new().get("*", greet).run().await
}

#[tokio::test]
async fn a_hit_is_only_for_those_with_a_key() {
    let origin = greeting("max-age=60").await;
    let keys = format!("api_keys = {{ keys = {{ robot = \"{KEY}\" }} }}");
    let (_proxy, mut client) = guarded(&origin, &keys).await;
    for _ in 0..2 {
        assert_eq!(client.get_with("/", "x-api-key: key\r\n").await.status, 200);
    }
    assert_eq!(origin.count(), 1, "the second one is a hit");
    for lines in [
        "",
        "x-api-key: other\r\n",
        "cache-control: only-if-cached\r\n",
        "range: bytes=0-1\r\n",
    ] {
        let refused = client.get_with("/", lines).await;
        assert_eq!(refused.status, 401, "{lines}");
        assert!(!refused.text().contains("hello"));
        assert_eq!(refused.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn a_hit_is_only_for_those_from_the_right_network() {
    let origin = greeting("max-age=60").await;
    let site = "[[site]]\nhosts = [\"*\"]\ncache = { enable = true }\naccess = { allow = [\"10.0.0.0/8\"] }\n";
    let toml = format!(
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1/32\"]\n{site}[[site.origin]]\nurl = \"{}\"\n",
        origin.url()
    );
    let proxy = with_store(proxy::new(&toml)).run().await;
    let mut client = Client::to(proxy.address());
    for (address, status) in [("10.0.0.1", 200), ("10.0.0.2", 200), ("192.0.2.1", 403)] {
        let lines = format!("x-forwarded-for: {address}\r\n");
        assert_eq!(
            client.get_with("/", &lines).await.status,
            status,
            "{address}"
        );
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_an_origin_says_to_one_user_is_for_nobody_else() {
    let keys = format!(
        "api_keys = {{ keys = {{ alice = \"{KEY}\", bob = \"{SECRET}\" }}, user_header = \"x-user\" }}"
    );
    let both = ["x-api-key: key\r\n", "x-api-key: secret\r\n"];
    for (control, second, asked) in [
        ("max-age=60", "hello bob", 2),
        // Frameworks say this without thinking of shared caches.
        ("max-age=60, must-revalidate", "hello bob", 2),
        ("public, max-age=60", "hello alice", 1),
        ("s-maxage=60", "hello alice", 1),
    ] {
        let origin = greeting(control).await;
        let (_proxy, mut client) = guarded(&origin, &keys).await;
        assert_eq!(client.get_with("/", both[0]).await.text(), "hello alice");
        assert_eq!(
            client.get_with("/", both[1]).await.text(),
            second,
            "{control}"
        );
        assert_eq!(origin.count(), asked, "{control}");
    }
}

#[tokio::test]
async fn a_session_that_has_ended_gets_no_hit() {
    let judge = Origin::new().get("/check", |asked: Asked| match &*asked.header("cookie") {
        "s=alice" if asked.before < 2 => reply("").with("x-user", "alice"),
        "s=bob" => reply("").with("x-user", "bob"),
        _ => reply("").with_status(401),
    });
    let (origin, judge) = (greeting("public, max-age=60").await, judge.run().await);
    let tables = format!(
        "forward_auth = {{ url = \"{}/check\", response_headers = [\"x-user\"] }}",
        judge.url()
    );
    let (_proxy, mut client) = guarded(&origin, &tables).await;
    let mut get = async |cookie: &str| client.get_with("/", &format!("cookie: {cookie}\r\n")).await;
    assert_eq!(get("s=alice").await.status, 200);
    assert_eq!(get("s=alice").await.text(), "hello alice");
    assert_eq!(get("s=alice").await.status, 401);
    assert_eq!(get("s=bob").await.text(), "hello alice", "public is public");
    assert_eq!((origin.count(), judge.count()), (1, 4));
}

/// Those who ask at the same time wait for one answer only if it may be for all of them.
#[tokio::test]
async fn two_users_at_the_same_time_get_their_own() {
    // Answers nobody before both have asked.
    let both = Arc::new(Barrier::new(2));
    let slow = move |asked: Asked| {
        let both = Arc::clone(&both);
        async move {
            both.wait().await;
            reply(format!("hello {}", asked.header("x-user"))).with("cache-control", "max-age=60")
        }
    };
    let origin = Origin::new().later("*", slow).run().await;
    let keys = format!(
        "api_keys = {{ keys = {{ alice = \"{KEY}\", bob = \"{SECRET}\" }}, user_header = \"x-user\" }}"
    );
    let (proxy, _) = guarded(&origin, &keys).await;
    let ask = async |key: &str| {
        let mut client = Client::to(proxy.address());
        let lines = format!("x-api-key: {key}\r\n");
        client.get_with("/", &lines).await.text().to_owned()
    };
    let answers = async { tokio::join!(ask("key"), ask("secret")) };
    let answers = tokio::time::timeout(secs(3), answers).await.unwrap();
    assert_eq!(answers, ("hello alice".to_owned(), "hello bob".to_owned()));
}
