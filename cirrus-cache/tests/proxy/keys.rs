//! What makes two requests the same, and what keeps them apart.

use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, proxy, reply};

use crate::tls::{Known, secure_client};
use crate::{MIB, did, is_hit, with_store};

/// Says what it was asked, for a minute.
async fn echo() -> RunningOrigin {
    let answer = |asked: cirrus_core::testing::Asked| {
        let body = format!(
            "{} {} {} {}",
            asked.header("x-forwarded-proto"),
            asked.header("host"),
            asked.target,
            asked.header("accept-language")
        );
        reply(body).with("cache-control", "max-age=60")
    };
    Origin::new()
        .get("*", answer)
        .get("/vary", move |asked| {
            answer(asked).with("vary", "Accept-Language")
        })
        .run()
        .await
}

#[tokio::test]
async fn hosts_never_mix() {
    let (one, two) = (echo().await, echo().await);
    let toml = format!(
        "[[site]]\nhosts = [\"one.example\", \"*.one.example\"]\ncache = {{ enable = true }}\n\
         origin = [{{ url = \"{}\" }}]\n\
         [[site]]\nhosts = [\"two.example\"]\ncache = {{ enable = true }}\n\
         origin = [{{ url = \"{}\" }}]\n",
        one.url(),
        two.url()
    );
    let proxy = with_store(proxy::new(&toml)).run().await;
    let hosts = [
        "one.example",
        "a.one.example",
        "b.one.example",
        "two.example",
        "two.example:8080",
        "two.example:8081",
    ];
    for round in 0..2 {
        for host in hosts {
            let response = Client::to(proxy.address()).host(host).get("/same").await;
            assert_eq!(response.text(), format!("http {host} /same "));
            assert_eq!(is_hit(&response), round == 1, "{host}");
        }
    }
    assert_eq!((one.count(), two.count()), (3, 3));
}

#[tokio::test]
async fn one_host_is_one_however_it_is_written() {
    let origin = echo().await;
    let (proxy, mut client) = crate::cached(&origin).await;
    client.get("/a%7eb").await;
    for host in ["SHOP.Example", "shop.example:80"] {
        let response = Client::to(proxy.address())
            .host(host)
            .get("/x/../a~b")
            .await;
        assert!(is_hit(&response), "{host}: {}", did(&response));
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn targets_never_mix() {
    let origin = echo().await;
    let (_proxy, mut client) = crate::cached(&origin).await;
    let targets = [
        "/", "/a", "/A", "/a/", "//a", "/a?", "/a?b", "/a?b=", "/a?b&c", "/a?c&b", "/a%3Fb",
        "/a%2F",
    ];
    for round in 0..2 {
        for target in targets {
            let response = client.get(target).await;
            assert_eq!(response.text(), format!("http shop.example {target} "));
            assert_eq!(is_hit(&response), round == 1, "{target}");
        }
    }
}

#[tokio::test]
async fn schemes_never_mix() {
    let origin = echo().await;
    let known = Known::for_names(&["shop.example"]);
    let (plain, certs) = (proxy::to(&origin), known.clone());
    let clock = plain.clock();
    let store = crate::store(&clock, 8 * MIB, MIB);
    let shared = store.clone();
    let plain = plain.with(|builder| builder.cache(store)).run().await;
    let secure = proxy::new(&format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
         [[site]]\nhosts = [\"*\"]\ncache = {{ enable = true }}\norigin = [{{ url = \"{}\" }}]\n",
        origin.url()
    ));
    // One store for both: only the key keeps them apart.
    let secure = secure.with(|builder| builder.cache(shared).certs(certs).clock(clock));
    let secure = secure.run().await;
    let mut plain_client = Client::to(plain.address());
    let mut secure_client = secure_client(secure.address(), &known, "shop.example").await;
    for round in 0..2 {
        for (client, scheme) in [(&mut plain_client, "http"), (&mut secure_client, "https")] {
            let response = client.get("/").await;
            assert_eq!(response.text(), format!("{scheme} shop.example / "));
            assert_eq!(is_hit(&response), round == 1, "{scheme}");
        }
    }
    // A change under one scheme is none under the other.
    secure_client.ask("POST", "/", "", b"x").await;
    assert!(is_hit(&plain_client.get("/").await));
    assert!(!is_hit(&secure_client.get("/").await));
}

#[tokio::test]
async fn variants_never_mix() {
    let origin = echo().await;
    let (_proxy, mut client) = crate::cached(&origin).await;
    let languages = [
        "",
        "accept-language: de\r\n",
        "accept-language: en\r\n",
        "accept-language: de,en\r\n",
    ];
    for round in 0..2 {
        for line in languages {
            let response = client.get_with("/vary", line).await;
            let language = line
                .trim()
                .strip_prefix("accept-language: ")
                .unwrap_or_default();
            assert_eq!(
                response.text(),
                format!("http shop.example /vary {language}")
            );
            assert_eq!(is_hit(&response), round == 1, "{line}");
        }
    }
    assert_eq!(
        did(&client.get_with("/vary", "accept-language: fr\r\n").await),
        "fwd=vary-miss; stored"
    );
    client.ask("POST", "/vary", "", b"x").await;
    for line in languages {
        assert!(
            !is_hit(&client.get_with("/vary", line).await),
            "all variants are void: {line}"
        );
    }
}

/// A site whose requests with `x-beta: 1` go to another origin, if there is one.
fn routed(stable: &RunningOrigin, beta: Option<&RunningOrigin>) -> String {
    let route = beta.map_or_else(String::new, |beta| {
        format!(
            "[[site.route]]\nheaders = {{ x-beta = \"1\" }}\n[[site.route.origin]]\nurl = \"{}\"\n",
            beta.url()
        )
    });
    format!(
        "[[site]]\nhosts = [\"*\"]\ncache = {{ enable = true }}\norigin = [{{ url = \"{}\" }}]\n{route}",
        stable.url()
    )
}

async fn named(name: &'static str) -> RunningOrigin {
    let answer = move |_| reply(name).with("cache-control", "max-age=60");
    Origin::new().get("*", answer).run().await
}

#[tokio::test]
async fn responses_of_routes_chosen_by_a_field_never_mix() {
    let (stable, beta) = (named("stable").await, named("beta").await);
    let proxy = with_store(proxy::new(&routed(&stable, Some(&beta))))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    for _ in 0..2 {
        assert_eq!(client.get_with("/", "x-beta: 1\r\n").await.text(), "beta");
        assert_eq!(client.get("/").await.text(), "stable");
    }
    assert_eq!((stable.count(), beta.count()), (1, 1));
}

#[tokio::test]
async fn a_route_that_comes_later_is_not_answered_with_what_was_stored_before() {
    let (stable, beta) = (named("stable").await, named("beta").await);
    let proxy = with_store(proxy::new(&routed(&stable, None))).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get_with("/", "x-beta: 1\r\n").await.text(), "stable");
    proxy.reconfigure(&routed(&stable, Some(&beta)));
    let taken = async { while client.get_with("/", "x-beta: 1\r\n").await.text() != "beta" {} };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(20), taken).await;
    assert!(in_time.is_ok(), "the old response is still served");
}
