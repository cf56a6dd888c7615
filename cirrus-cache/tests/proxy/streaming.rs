//! Bodies on their way: slow readers, readers who leave, origins that break off, objects that are too large.

use bytes::Bytes;
use cirrus_core::Body;
use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, proxy, reply};
use http_body_util::channel::{Channel, Sender};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::{MIB, cached, did, is_hit, metric, pattern, store, until};

type Tap = Sender<Bytes, std::io::Error>;

/// An origin whose first answer is written by the test, of a declared length if there is one; later ones are short.
async fn tapped(length: Option<u64>) -> (RunningOrigin, Tap) {
    let (sender, body) = Channel::new(1);
    let once = Mutex::new(Some(body));
    let origin = Origin::new().get("/", move |_| {
        let Some(body) = once.lock().take() else {
            return reply("another").with("cache-control", "max-age=60");
        };
        let response = reply(Body::stream(body)).with("cache-control", "max-age=60");
        match length {
            Some(length) => response.with("content-length", &length.to_string()),
            None => response,
        }
    });
    (origin.run().await, sender)
}

/// Starts clients who want it whole; `None` for those who got less.
fn readers(proxy: &proxy::Running, number: usize) -> JoinSet<Option<Vec<u8>>> {
    let address = proxy.address();
    let mut readers = JoinSet::new();
    for _ in 0..number {
        readers.spawn(async move {
            let mut client = Client::to(address);
            client
                .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
                .await;
            Some(client.reply_or_end("GET").await?.body)
        });
    }
    readers
}

#[tokio::test]
async fn a_first_reader_who_does_not_read_holds_nobody_up() {
    let whole = pattern(20 * MIB);
    let sent = whole.clone();
    let origin = Origin::new()
        .get("/", move |_| {
            reply(sent.clone()).with("cache-control", "max-age=60")
        })
        .run()
        .await;
    let (proxy, mut slow) = cached(&origin).await;
    slow.send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    until(async || origin.count() == 1).await;
    for body in readers(&proxy, 8).join_all().await {
        assert!(body.is_some_and(|body| body == whole));
    }
    let late = slow.reply_to("GET").await;
    assert!(late.body == whole, "{} bytes", late.body.len());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_first_reader_who_leaves_takes_nothing_along() {
    for length in [Some(2 * MIB), None] {
        let (origin, mut tap) = tapped(length).await;
        let (proxy, mut client) = cached(&origin).await;
        let whole = pattern(2 * MIB);
        let half = whole.len() / 2;
        let mut first = TcpStream::connect(proxy.address()).await.unwrap();
        first
            .write_all(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
            .await
            .unwrap();
        tap.send_data(whole.slice(..half)).await.unwrap();
        first.read_exact(&mut [0; 1000]).await.unwrap();
        drop(first);
        until(async || metric(&proxy, "cirrus_connections_open").await == 0).await;
        tap.send_data(whole.slice(half..)).await.unwrap();
        drop(tap);
        let next = client.get("/").await;
        assert!(next.body == whole, "{} bytes", next.body.len());
        assert!(is_hit(&next), "{}", did(&next));
        until(async || metric(&proxy, "cirrus_cache_objects").await == 1).await;
        assert!(is_hit(&client.get("/").await));
        assert_eq!(origin.count(), 1);
    }
}

#[tokio::test]
async fn what_breaks_off_is_broken_for_all_and_not_stored() {
    for length in [Some(2 * MIB), None] {
        let (origin, mut tap) = tapped(length).await;
        let (proxy, mut client) = cached(&origin).await;
        let readers = readers(&proxy, 20);
        until(async || metric(&proxy, "cirrus_requests_in_flight").await == 20).await;
        tap.send_data(pattern(MIB)).await.unwrap();
        tap.abort(std::io::Error::other("the origin breaks off"));
        for body in readers.join_all().await {
            assert!(body.is_none(), "{length:?}: a broken response looks whole");
        }
        let next = client.get("/").await;
        assert_eq!(
            (next.text(), &*did(&next)),
            ("another", "fwd=uri-miss; stored")
        );
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn what_is_too_large_to_store_passes_uncut() {
    let whole = pattern(3 * MIB);
    let (sent, streamed) = (whole.clone(), whole.clone());
    let origin = Origin::new()
        .get("/known", move |_| {
            reply(sent.clone()).with("cache-control", "max-age=60")
        })
        .get("/unknown", move |_| {
            let body = http_body_util::Full::new(streamed.clone());
            reply(Body::stream(Unsized(body))).with("cache-control", "max-age=60")
        })
        .run()
        .await;
    let described = proxy::to(&origin);
    let store = store(&described.clock(), 256 * MIB, MIB);
    let proxy = described.with(|builder| builder.cache(store)).run().await;
    let mut client = Client::to(proxy.address());
    for (path, said) in [
        ("/known", "fwd=uri-miss; detail=store-full"),
        // Its size shows only when it is under way.
        ("/unknown", "fwd=uri-miss; stored"),
    ] {
        for _ in 0..2 {
            let response = client.get(path).await;
            assert!(
                response.body == whole,
                "{path}: {} bytes",
                response.body.len()
            );
            assert_eq!(did(&response), said, "{path}");
        }
    }
    assert_eq!(origin.count(), 4);
    assert_eq!(metric(&proxy, "cirrus_cache_objects").await, 0);
}

#[tokio::test]
async fn a_crowd_gets_what_is_too_large_uncut() {
    let whole = pattern(3 * MIB);
    let sent = whole.clone();
    let origin = Origin::new()
        .get("/", move |_| {
            let body = http_body_util::Full::new(sent.clone());
            reply(Body::stream(Unsized(body))).with("cache-control", "max-age=60")
        })
        .run()
        .await;
    let described = proxy::to(&origin);
    let store = store(&described.clock(), 256 * MIB, MIB);
    let proxy = described.with(|builder| builder.cache(store)).run().await;
    for body in readers(&proxy, 20).join_all().await {
        assert!(body.is_some_and(|body| body == whole));
    }
}

#[tokio::test]
async fn a_change_while_a_response_grows_keeps_it_out_of_the_store() {
    let (origin, mut tap) = tapped(None).await;
    let (proxy, mut client) = cached(&origin).await;
    let mut reader = TcpStream::connect(proxy.address()).await.unwrap();
    reader
        .write_all(b"GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    tap.send_data(Bytes::from_static(b"before")).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"before\r\n") {
        assert_ne!(reader.read_buf(&mut read).await.unwrap(), 0);
    }
    client.ask("POST", "/", "", b"x").await;
    drop(tap);
    reader.read_to_end(&mut read).await.unwrap();
    assert!(
        read.ends_with(b"before\r\n0\r\n\r\n"),
        "it is finished all the same"
    );
    assert_eq!(client.get("/").await.text(), "another");
}

/// Does not tell its length.
struct Unsized(http_body_util::Full<Bytes>);

impl http_body::Body for Unsized {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[tokio::test]
async fn a_deadline_cuts_off_its_client_and_not_what_is_stored() {
    let (origin, mut tap) = tapped(Some(10)).await;
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\ncache = {{ enable = true }}\ndeadline = \"300ms\"\n\
         [[site.origin]]\nurl = \"{}\"\n",
        origin.url()
    );
    let proxy = crate::with_store(proxy::new(&toml)).run().await;
    tap.send_data("hello".into()).await.unwrap();
    let cut_off = readers(&proxy, 1).join_all().await;
    assert_eq!(cut_off, [None]);
    tap.send_data("world".into()).await.unwrap();
    drop(tap);
    until(async || metric(&proxy, "cirrus_deadlines_total").await == 1).await;
    let mut client = Client::to(proxy.address());
    let second = client.get("/").await;
    assert_eq!(second.text(), "helloworld");
    assert!(is_hit(&second), "{}", did(&second));
    assert_eq!(origin.count(), 1);
}
