//! Streams of HTTP/2: bodies both ways, many at once, clients who leave.

use std::sync::Arc;

use bytes::Bytes;
use cirrus_core::testing::{Describe, Origin, certs, reply, scripted};
use cirrus_tls::Fixed;
use http::{HeaderMap, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::client::{H2, get, h2, upload, whole};
use crate::{described, listener};

/// A listener for `shop.example`, and a client of it.
async fn before(
    origin: &cirrus_core::testing::RunningOrigin,
) -> (cirrus_core::testing::proxy::Running, H2) {
    let pair = certs::for_names(&["shop.example"]);
    let proxy = listener(origin, Fixed::new(pair.certificate())).await;
    let client = h2(proxy.address(), &pair.der, "shop.example").await;
    (proxy, client)
}

fn pattern(length: usize) -> Bytes {
    (0..length)
        .map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8)
        .collect()
}

fn trailers(name: &'static str, value: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value.parse().expect("a value"));
    trailers
}

#[tokio::test]
async fn bodies_go_both_ways() {
    let origin = Origin::new()
        .get("*", |asked| reply(asked.body.unwrap()))
        .run()
        .await;
    let (_proxy, mut client) = before(&origin).await;
    let body = pattern(3_000_000);
    for length in [Some("3000000"), None] {
        let mut request = Request::post("https://shop.example/").body(()).unwrap();
        if let Some(length) = length {
            request
                .headers_mut()
                .insert("content-length", length.parse().unwrap());
        }
        let (response, mut send) = client.open(request, false).await.unwrap();
        let upload = upload(&mut send, body.clone(), trailers("x-sum", "7"));
        let (answer, ()) = tokio::join!(whole(response), upload);
        let answer = answer.unwrap();
        assert!(answer.body == body, "{} bytes", answer.body.len());
    }
    let asked = origin.asked();
    assert_eq!(asked[0].header("content-length"), "3000000");
    assert_eq!(asked[1].header("transfer-encoding"), "chunked");
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pair = certs::for_names(&["shop.example"]);
    let proxy = described(&url, Fixed::new(pair.certificate())).run().await;
    let mut client = h2(proxy.address(), &pair.der, "shop.example").await;
    let request = Request::post("https://shop.example/").body(()).unwrap();
    let (response, mut send) = client.open(request, false).await.unwrap();
    let ask = upload(
        &mut send,
        Bytes::from_static(b"hello"),
        trailers("x-sent", "1"),
    );
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") || !read.windows(5).any(|five| five == b"\r\n0\r\n") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        String::from_utf8(read).unwrap()
    };
    let (answer, (), asked) =
        crate::soon(async { tokio::join!(whole(response), ask, serve) }).await;
    assert!(
        asked.ends_with("5\r\nhello\r\n0\r\nx-sent: 1\r\n\r\n"),
        "{asked}"
    );
    let answer = answer.unwrap();
    assert_eq!((answer.text(), answer.trailer("x-sum")), ("hi", Some("7")));
}

#[tokio::test]
async fn a_hundred_streams_are_answered_at_once() {
    let all = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&all);
    let origin = Origin::new()
        .later("*", move |asked| {
            let waits = Arc::clone(&waits);
            async move {
                drop(waits.acquire().await);
                reply(format!("{} ", asked.target).repeat(2000))
            }
        })
        .run()
        .await;
    let (_proxy, mut client) = before(&origin).await;
    let mut responses = tokio::task::JoinSet::new();
    for number in 0..100 {
        let path = format!("/{number}");
        let response = client
            .ask(get(&format!("https://shop.example{path}")))
            .await
            .unwrap();
        responses.spawn(async move { (path, whole(response).await.unwrap()) });
    }
    crate::soon(async {
        while origin.count() < 100 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    all.add_permits(100);
    for (path, answer) in responses.join_all().await {
        assert_eq!(answer.text(), format!("{path} ").repeat(2000));
    }
}

#[tokio::test]
async fn a_slow_stream_does_not_hold_up_the_others() {
    let large = pattern(8_000_000);
    let sent = large.clone();
    let origin = Origin::new()
        .get("/large", move |_| reply(sent.clone()))
        .get("/small", |_| reply("small"))
        .run()
        .await;
    let (_proxy, mut client) = before(&origin).await;
    // Its flow-control window is used up, and nobody reads.
    let slow = client.ask(get("https://shop.example/large")).await.unwrap();
    for _ in 0..20 {
        assert_eq!(
            client.get("https://shop.example/small").await.text(),
            "small"
        );
    }
    assert!(whole(slow).await.unwrap().body == large);
}

#[tokio::test]
async fn a_stream_that_is_reset_takes_only_itself_along() {
    let origin = Origin::new()
        .later("/never", |_| std::future::pending())
        .get("/", |_| reply("hello"))
        .run()
        .await;
    let (_proxy, mut client) = before(&origin).await;
    for _ in 0..20 {
        let (response, mut send) = client
            .open(get("https://shop.example/never"), true)
            .await
            .unwrap();
        send.send_reset(h2::Reason::CANCEL);
        drop(response);
    }
    assert_eq!(client.get("https://shop.example/").await.text(), "hello");
}

#[tokio::test]
async fn what_breaks_off_is_reset() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let origin = scripted(answer).await;
        let (_proxy, mut client) = before(&origin).await;
        for _ in 0..2 {
            let response = client.ask(get("https://shop.example/")).await.unwrap();
            let error = whole(response)
                .await
                .expect_err("a broken response looks whole");
            assert!(
                error.is_reset() && error.is_remote(),
                "the connection goes on: {error}"
            );
        }
    }
}

#[tokio::test]
async fn fields_of_the_connection_have_no_place_here() {
    let origin = Origin::new()
        .get("/", |asked| {
            let names: Vec<_> = asked.headers.keys().map(http::HeaderName::as_str).collect();
            reply(names.join(" "))
                .with("connection", "keep-alive, x-hop")
                .with("keep-alive", "timeout=5")
                .with("x-hop", "1")
        })
        .run()
        .await;
    let (_proxy, mut client) = before(&origin).await;
    let answer = client.get("https://shop.example/").await;
    assert_eq!(answer.status(), 200);
    for name in ["connection", "keep-alive", "x-hop", "transfer-encoding"] {
        assert!(!answer.head.headers().contains_key(name), "{name}");
    }
    assert!(answer.text().contains("host"), "{}", answer.text());
}
