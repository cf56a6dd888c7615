//! Keys and bypasses that routes ask for, over sockets and with a real store.

use cirrus_core::testing::{Asked, Client, Describe, Origin, RunningOrigin, proxy, reply};

use crate::{did, is_hit, with_store};

/// Says what it was asked, for a minute.
async fn echo() -> RunningOrigin {
    let answer = |asked: Asked| {
        let body = format!(
            "{} {} {} {}",
            asked.header("host"),
            asked.header("x-forwarded-host"),
            asked.target,
            asked.header("cookie")
        );
        reply(body).with("cache-control", "max-age=60")
    };
    Origin::new().get("*", answer).run().await
}

/// A proxy whose site for `shop.example` and `www.shop.example` caches like this.
async fn caching(origin: &RunningOrigin, cache: &str, more: &str) -> proxy::Running {
    let toml = format!(
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         [[site]]\nhosts = [\"shop.example\", \"www.shop.example\"]\norigin = [{{ url = \"{}\" }}]\n\
         [site.cache]\nenable = true\n{cache}\n{more}",
        origin.url()
    );
    with_store(proxy::new(&toml)).run().await
}

#[tokio::test]
async fn hosts_share_what_is_asked_for_under_one_name() {
    let origin = echo().await;
    let proxy = caching(&origin, "key = { host = \"shop.example\" }", "").await;
    let mut www = Client::to(proxy.address()).host("www.shop.example");
    // Even a proxy that is believed cannot have a name stored that is not in the key.
    let first = www
        .get_with("/x", "x-forwarded-host: evil.example\r\n")
        .await;
    assert_eq!(first.text(), "shop.example shop.example /x ");
    let mut shop = Client::to(proxy.address()).host("shop.example");
    let second = shop.get("/x").await;
    assert!(is_hit(&second), "{}", did(&second));
    assert_eq!(second.text(), first.text());
    assert_eq!(www.ask("POST", "/x", "", b"").await.status, 200);
    let posted = origin.asked().pop().unwrap();
    assert_eq!(
        posted.header("host"),
        "www.shop.example",
        "what is not looked up is as it was"
    );
}

#[tokio::test]
async fn an_unsafe_request_to_any_name_voids_what_all_share() {
    let origin = Origin::new()
        .get("*", |asked| {
            reply(asked.header("x-device")).with("cache-control", "max-age=60")
        })
        .run()
        .await;
    let key = "key = { host = \"shop.example\", headers = [\"x-device\"], sort_query = true }";
    let proxy = caching(&origin, key, "").await;
    let mut www = Client::to(proxy.address()).host("www.shop.example");
    let mut shop = Client::to(proxy.address()).host("shop.example");
    for round in 0..2 {
        for device in ["phone", "desk"] {
            let line = format!("x-device: {device}\r\n");
            let one = www.get_with("/x?b&a", &line).await;
            assert_eq!((one.text(), is_hit(&one)), (device, false), "round {round}");
            assert!(is_hit(&shop.get_with("/x?a&b", &line).await));
        }
        assert_eq!(www.ask("DELETE", "/x?b&a", "", b"").await.status, 200);
    }
}

#[tokio::test]
async fn parameters_that_routes_are_chosen_by_are_always_part_of_the_key() {
    let (origin, preview) = (
        echo().await,
        Origin::new()
            .get("*", |_| {
                reply("preview").with("cache-control", "max-age=60")
            })
            .run()
            .await,
    );
    let route = format!(
        "[[site.route]]\nquery = {{ preview = \"*\" }}\norigin = [{{ url = \"{}\" }}]\n",
        preview.url()
    );
    let proxy = caching(&origin, "key = { query = { keep = [\"id\"] } }", &route).await;
    let mut client = Client::to(proxy.address());
    for _ in 0..2 {
        assert_eq!(client.get("/x?preview=1&y=2").await.text(), "preview");
        assert_eq!(
            client.get("/x?y=2").await.text(),
            "shop.example shop.example /x "
        );
    }
    assert_eq!((origin.count(), preview.count()), (1, 1));
}

#[tokio::test]
async fn a_route_has_rules_of_its_own() {
    let origin = echo().await;
    let route = format!(
        "[[site.route]]\npath = \"/shop/*\"\norigin = [{{ url = \"{}\" }}]\n\
         [site.route.cache]\nenable = true\nrequest_cache_control = \"ignore\"\nshow_key = true\n\
         bypass = {{ cookies = [\"session*\"] }}\n",
        origin.url()
    );
    let proxy = caching(&origin, "", &route).await;
    let mut client = Client::to(proxy.address());
    for path in ["/x", "/shop/x"] {
        client.get(path).await;
    }
    let insisting = "cache-control: no-cache\r\n";
    assert!(!is_hit(&client.get_with("/x", insisting).await));
    let hit = client.get_with("/shop/x", insisting).await;
    assert_eq!(did(&hit), "hit; ttl=60; key=\"http://shop.example/shop/x\"");
    let personal = client.get_with("/shop/x", "cookie: session=7\r\n").await;
    assert_eq!(did(&personal), "fwd=bypass; detail=cookie");
    assert!(personal.text().ends_with("session=7"));
}

#[tokio::test]
async fn errors_say_what_the_cache_did() {
    let origin = echo().await;
    let proxy = caching(&origin, "", "").await;
    origin.stop();
    let mut client = Client::to(proxy.address());
    let reply = client.get("/x").await;
    assert_eq!((reply.status, did(&reply)), (502, "fwd=uri-miss".into()));
    assert_eq!(
        reply.header("proxy-status"),
        "cirrus; error=connection_refused"
    );
    let reply = client
        .get_with("/x", "cache-control: only-if-cached\r\n")
        .await;
    assert_eq!(
        (reply.status, did(&reply)),
        (504, "detail=only-if-cached".into())
    );
}
