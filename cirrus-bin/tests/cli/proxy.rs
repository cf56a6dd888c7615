//! `cirrus proxy`.

use std::path::Path;

use cirrus_core::testing::{Client, Describe, Origin, reply};

use crate::support::{Cirrus, cirrus, told};

const HERE: &str = ".";

async fn proxy(arguments: &[&str]) -> (Cirrus, Client) {
    let arguments = [&["proxy", "--listen", "127.0.0.1:0"], arguments].concat();
    let mut cirrus = Cirrus::start(HERE.as_ref(), &arguments);
    let address = cirrus.address().await;
    (cirrus, Client::to(address))
}

fn refused(arguments: &[&str]) -> String {
    told(cirrus(Path::new(HERE)).arg("proxy").args(arguments))
}

#[tokio::test]
async fn caches_without_a_file() {
    let origin = Origin::new()
        .get("/", |_| reply("hello").with("cache-control", "max-age=60"))
        .run()
        .await;
    let (_cirrus, mut client) = proxy(&["--to", &origin.url()]).await;
    let (first, second) = (client.get("/").await, client.get("/").await);
    assert_eq!((first.text(), second.text()), ("hello", "hello"));
    assert!(
        second.header("cache-status").starts_with("cirrus; hit"),
        "{second:?}"
    );
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn takes_turns_over_several_origins() {
    let one = Origin::new().get("/", |_| reply("one")).run().await;
    let two = Origin::new().get("/", |_| reply("two")).run().await;
    let (_cirrus, mut client) = proxy(&["--to", &one.url(), "--to", &two.url()]).await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert!(
        one.count() > 0 && two.count() > 0,
        "{} and {}",
        one.count(),
        two.count()
    );
}

#[tokio::test]
async fn keeps_nothing_with_the_cache_off() {
    let origin = Origin::new()
        .get("/", |_| reply("hello").with("cache-control", "max-age=60"))
        .run()
        .await;
    let (_cirrus, mut client) = proxy(&["--to", &origin.url(), "--cache", "off"]).await;
    client.get("/").await;
    client.get("/").await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn origins_see_the_host_that_was_asked_for_or_given() {
    let origin = Origin::new()
        .get("/", |asked| reply(asked.header("host")))
        .run()
        .await;
    let (_plain, mut client) = proxy(&["--to", &origin.url()]).await;
    assert_eq!(client.get("/").await.text(), "shop.example");
    let (_given, mut client) = proxy(&["--to", &origin.url(), "--host", "origin.example"]).await;
    assert_eq!(client.get("/").await.text(), "origin.example");
}

#[tokio::test]
async fn the_admin_listener_says_that_it_is_ready() {
    let origin = Origin::new().run().await;
    let (mut cirrus, _client) = proxy(&["--to", &origin.url(), "--admin", "127.0.0.1:0"]).await;
    let mut admin = Client::to(cirrus.admin().await).host("localhost");
    assert_eq!(admin.get("/readyz").await.text(), "ready\n");
}

#[test]
fn arguments_that_cannot_be_used_are_told_with_what_can() {
    insta::assert_snapshot!("url_without_scheme", refused(&["--to", "127.0.0.1:3000"]));
    let to = ["--to", "http://127.0.0.1:3000"];
    let with = |more: &[&str]| refused(&[&to, more].concat());
    insta::assert_snapshot!("cache_without_unit", with(&["--cache", "lots"]));
    insta::assert_snapshot!("cache_too_small", with(&["--cache", "64KiB"]));
    insta::assert_snapshot!("listen_without_port", with(&["--listen", "localhost"]));
    insta::assert_snapshot!("admin_for_everybody", with(&["--admin", "0.0.0.0:9145"]));
    insta::assert_snapshot!("no_origin", refused(&[]));
}

#[test]
fn an_origin_that_is_the_proxy_itself_is_refused() {
    let arguments = [
        "--to",
        "http://127.0.0.1:8080",
        "--listen",
        "127.0.0.1:8080",
    ];
    insta::assert_snapshot!(refused(&arguments));
}
