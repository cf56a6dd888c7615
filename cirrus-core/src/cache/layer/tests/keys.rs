//! What tells requests apart, and which are left alone.

use http::Method;

use super::world::{World, response, world};
use crate::cache::{Bypass, Keying, Lookups, Parameters, Rules, Scheme};
use crate::routing::Host;

fn ruled(lookups: Lookups) -> World {
    World::ruled(Rules {
        lookups: lookups.into(),
        ..Rules::enabled()
    })
}

fn keyed(keying: Keying) -> World {
    let world = ruled(Lookups {
        site_keyings: [keying.clone()].into(),
        keying: Some(keying),
        ..Lookups::default()
    });
    world.serves(200, "cache-control: max-age=60", "x");
    world
}

fn bypassing(bypass: Bypass) -> World {
    let world = ruled(Lookups {
        bypass: Some(bypass),
        ..Lookups::default()
    });
    world.serves(200, "cache-control: max-age=60", "x");
    world
}

#[tokio::test(start_paused = true)]
async fn the_origin_is_asked_for_what_the_key_says() {
    let world = keyed(Keying {
        parameters: Parameters::AllBut(["utm_*".parse().unwrap()].into()),
        is_sorted: true,
        ..Keying::default()
    });
    world
        .get("/x?utm_source=evil&b=1&a=2")
        .await
        .cached("fwd=uri-miss; stored");
    assert_eq!(world.origin.target(), "/x?a=2&b=1");
    world
        .get("/x?a=2&b=1&utm_medium=z")
        .await
        .cached("hit; ttl=60");
    world.get("/x?a=2&b=2").await.cached("fwd=uri-miss; stored");
    world.ask("POST", "/x?utm_source=a&b=1&a=2", "").await;
    assert_eq!(
        world.origin.target(),
        "/x?utm_source=a&b=1&a=2",
        "not what is never cached"
    );
    world.get("/x?a=2&b=1").await.cached("fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn header_fields_and_cookies_make_keys_and_are_purged_by_url() {
    let world = keyed(Keying {
        headers: [http::HeaderName::from_static("x-device")].into(),
        cookies: ["lang".into()].into(),
        ..Keying::default()
    });
    world.origin.acts(|request| {
        let field = |name| {
            request
                .headers
                .get(name)
                .map_or("-", |value| value.to_str().unwrap())
        };
        let body = format!("{} {}", field("x-device"), field("cookie"));
        super::world::at_once(response(200, "cache-control: max-age=60", body))
    });
    let asks = [
        "",
        "x-device: m",
        "x-device: m | cookie: lang=de",
        "cookie: lang=de",
    ];
    for (header, body) in asks
        .into_iter()
        .zip(["- -", "m -", "m lang=de", "- lang=de"])
    {
        world
            .get_with("/", header)
            .await
            .is(200, body)
            .cached("fwd=uri-miss; stored");
        world
            .get_with("/", header)
            .await
            .is(200, body)
            .cached("hit; ttl=60");
    }
    world
        .get_with("/", "cookie: a=b; lang=de")
        .await
        .is(200, "- lang=de")
        .cached("hit; ttl=60");
    assert_eq!(world.store.len(), 4);
    world.ask("DELETE", "/", "").await;
    assert_eq!(world.store.len(), 0, "all of them are void");
}

#[tokio::test(start_paused = true)]
async fn hosts_with_one_name_share_what_is_stored() {
    let world = keyed(Keying {
        host: Host::parse("www.a.example", Scheme::Http),
        ..Keying::default()
    });
    let reply = world.get_with("/", "x-forwarded-host: evil.example").await;
    reply.cached("fwd=uri-miss; stored");
    assert_eq!(
        world.origin.saw("x-forwarded-host"),
        None,
        "not in the key, so not sent"
    );
    world.get("/").await.cached("hit; ttl=60");
}

#[tokio::test(start_paused = true)]
async fn the_key_is_told_where_that_is_wanted() {
    let world = ruled(Lookups {
        shows_key: true,
        ..Lookups::default()
    });
    world.serves(200, "cache-control: max-age=60", "x");
    let key = "key=\"http://a.example/x?q\"";
    world
        .get("/x?q")
        .await
        .cached(&format!("fwd=uri-miss; stored; {key}"));
    world
        .get("/x?q")
        .await
        .cached(&format!("hit; ttl=60; {key}"));
    let long = format!("/{}", "x".repeat(2000));
    world.get(&long).await.cached("fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn bypassed_requests_neither_get_nor_leave_anything() {
    let world = bypassing(Bypass {
        methods: [Method::HEAD].into(),
        paths: ["/private/*".parse().unwrap()].into(),
        headers: [http::HeaderName::from_static("x-preview")].into(),
        cookies: ["session*".parse().unwrap()].into(),
        query: ["nocache".parse().unwrap()].into(),
    });
    for (method, target, header, why) in [
        ("GET", "/", "x-preview: 0", "header"),
        ("GET", "/", "cookie: a=b; session_id=1", "cookie"),
        ("GET", "/?a&nocache", "", "query"),
        ("GET", "/?no%63ache=1", "", "query"),
        ("HEAD", "/", "", "method"),
        ("GET", "/private/x", "", "path"),
        ("GET", "//private//x", "", "path"),
    ] {
        for _ in 0..2 {
            let reply = world.ask(method, target, header).await;
            reply.cached(&format!("fwd=bypass; detail={why}"));
        }
    }
    assert_eq!(world.store.len(), 0);
    world
        .get_with("/", "cookie: a=session")
        .await
        .cached("fwd=uri-miss; stored");
    let reply = world.get_with("/", "x-preview: 1").await;
    reply.cached("fwd=bypass; detail=header");
    world.get("/").await.cached("hit; ttl=60");
}

#[tokio::test(start_paused = true)]
async fn clients_cannot_reach_past_a_cache_that_ignores_them() {
    let world = ruled(Lookups {
        ignores_control: true,
        ..Lookups::default()
    });
    world.serves(200, "cache-control: max-age=60", "x");
    world
        .get_with("/", "cache-control: no-store")
        .await
        .cached("fwd=uri-miss; stored");
    for header in [
        "cache-control: no-cache",
        "cache-control: max-age=0",
        "pragma: no-cache",
    ] {
        world.get_with("/", header).await.cached("hit; ttl=60");
    }
    let reply = world.get_with("/2", "cache-control: only-if-cached").await;
    assert_eq!(reply.status, 504);
}

#[tokio::test(start_paused = true)]
async fn every_way_out_says_what_the_cache_did() {
    let world = world();
    world.origin.acts(|_| super::world::failure());
    for (method, header, status) in [
        ("GET", "", "fwd=uri-miss"),
        ("POST", "", "fwd=method"),
        (
            "GET",
            "cache-control: no-store",
            "fwd=request; detail=no-store",
        ),
        ("HEAD", "", "fwd=uri-miss; detail=head"),
    ] {
        let error = world.begin(method, "/", header).await.err().unwrap();
        let told: Vec<_> = error.fields().collect();
        let (name, value) = told[0];
        assert_eq!((told.len(), name.as_str()), (1, "cache-status"));
        assert_eq!(value, &format!("cirrus; {status}"));
    }
    let reply = world.get_with("/", "cache-control: only-if-cached").await;
    assert_eq!(reply.status, 504);
    reply.cached("detail=only-if-cached");
}
