//! Limits that are on by default.

use std::time::Duration;

use cirrus_core::testing::{Client, Origin, proxy, reply};

use crate::site;

#[tokio::test]
async fn a_header_that_is_too_large_is_431() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let toml = format!("[limits]\nheader_bytes = \"8KiB\"\n{}", site(&origin.url()));
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(
        client
            .get_with("/", &format!("x: {}\r\n", "a".repeat(6000)))
            .await
            .status,
        200
    );
    assert_eq!(
        client
            .get_with("/", &format!("x: {}\r\n", "a".repeat(9000)))
            .await
            .status,
        431
    );
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_go_on() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!("[limits]\nconnections = 2\n{}", site(&origin.url()));
    let proxy = proxy::new(&toml).run().await;
    let (mut a, mut b) = (Client::to(proxy.address()), Client::to(proxy.address()));
    assert_eq!(
        (a.get("/").await.status, b.get("/").await.status),
        (200, 200)
    );
    let mut c = Client::to(proxy.address());
    c.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(c.reply_or_end("GET").await.is_none());
    assert_eq!(a.get("/").await.text(), "ok");
    b.leave();
    // Its place is free as soon as the proxy has seen it leave.
    let served = async {
        loop {
            let mut c = Client::to(proxy.address());
            c.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            if c.reply_or_end("GET").await.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), served)
        .await
        .unwrap();
}

#[tokio::test]
async fn silent_clients_are_shown_out() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!(
        "[limits]\nheader_time = \"100ms\"\nidle_time = \"100ms\"\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut slow = Client::to(proxy.address());
    slow.send(b"GET / HTTP/1.1\r\nhost").await;
    assert!(slow.is_closed().await);
    let mut idle = Client::to(proxy.address());
    assert_eq!(idle.get("/").await.text(), "ok");
    assert!(idle.is_closed().await);
    let mut mute = Client::to(proxy.address());
    mute.send(b"").await;
    assert!(mute.is_closed().await);
}
