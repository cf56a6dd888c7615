//! Connections to origins: reused, retried only where nothing can happen twice, spread by weight.

use cirrus_core::testing::{Client, Describe, Origin, proxy, reply, scripted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{before, nowhere};

pub(crate) async fn metric(proxy: &proxy::Running, name: &str) -> f64 {
    let text = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await
        .text()
        .to_owned();
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    line.and_then(|line| line.split(' ').nth(1))
        .unwrap_or_else(|| panic!("{name} in {text}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let origin = Origin::new()
        .get("/", |_| reply("x"))
        .get("/empty", |_| reply("").with_status(204))
        .run()
        .await;
    let (proxy, mut client) = before(&origin).await;
    for path in ["/", "/empty", "/", "/missing", "/"] {
        client.get(path).await;
    }
    assert_eq!(metric(&proxy, "cirrus_upstream_connects_total").await, 1.0);
    assert_eq!(metric(&proxy, "cirrus_upstream_pool_hits_total").await, 4.0);
    assert_eq!(metric(&proxy, "cirrus_upstream_pool_idle").await, 1.0);
}

/// An origin that answers the first request of each connection with keep-alive and then closes after the next head,
/// without an answer, unless that connection has only just been opened.
async fn forgetful() -> (
    std::net::SocketAddr,
    std::sync::Arc<std::sync::atomic::AtomicUsize>,
) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let (address, heads) = (
        listener.local_addr().unwrap(),
        std::sync::Arc::new(AtomicUsize::new(0)),
    );
    let seen = heads.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else {
                    return;
                };
                let mut buffer = [0; 4096];
                for turn in 0..2 {
                    if !matches!(stream.read(&mut buffer).await, Ok(1..)) {
                        break;
                    }
                    seen.fetch_add(1, Ordering::SeqCst);
                    if turn == 0 {
                        stream
                            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                            .await
                            .unwrap();
                    }
                }
            }
        });
    });
    (address, heads)
}

#[tokio::test]
async fn a_request_on_a_stale_connection_is_sent_again_if_nothing_can_happen_twice() {
    let (address, heads) = forgetful().await;
    let proxy = proxy::new(&crate::site(&format!("http://{address}")))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/").await.status, 200);
    let second = client.get("/").await;
    assert_eq!((second.status, second.text()), (200, "ok"));
    assert_eq!(heads.load(std::sync::atomic::Ordering::SeqCst), 3);
    assert_eq!(
        metric(&proxy, "cirrus_upstream_stale_retries_total").await,
        1.0
    );
}

#[tokio::test]
async fn a_post_that_may_have_been_carried_out_is_not_sent_again() {
    let (address, heads) = forgetful().await;
    let proxy = proxy::new(&crate::site(&format!("http://{address}")))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.ask("POST", "/", "", b"").await.status, 502);
    assert_eq!(heads.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn another_endpoint_is_asked_when_one_cannot_be_reached() {
    let origin = Origin::new()
        .get("/", |asked| reply(asked.body.unwrap()))
        .run()
        .await;
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\n[[site.origin]]\nurl = \"{}\"\n[[site.origin]]\nurl = \"{}\"\n",
        nowhere(),
        origin.url()
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..10 {
        assert_eq!(client.ask("POST", "/", "", b"kept").await.text(), "kept");
    }
    assert_eq!(metric(&proxy, "cirrus_upstream_ejections_total").await, 1.0);
    assert_eq!(
        metric(&proxy, "cirrus_upstream_connect_failures_total").await,
        3.0,
        "then it was left out"
    );
}

#[tokio::test]
async fn requests_are_spread_by_weight() {
    let (a, b) = (
        Origin::new().get("*", |_| reply("a")).run().await,
        Origin::new().get("*", |_| reply("b")).run().await,
    );
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\n[[site.origin]]\nurl = \"{}\"\nweight = 3\n[[site.origin]]\nurl = \"{}\"\n",
        a.url(),
        b.url()
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..40 {
        client.get("/").await;
    }
    assert_eq!((a.count(), b.count()), (30, 10));
}

#[tokio::test]
async fn takes_responses_of_every_framing() {
    for (response, body) in [
        (
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end",
            "to the end",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nto the end", "to the end"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nx-sum: 1\r\n\r\n",
            "hello!",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "ok",
        ),
        (
            "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok and more than was said",
            "ok",
        ),
    ] {
        let origin = scripted(response.as_bytes()).await;
        let (_proxy, mut client) = before(&origin).await;
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.text()), (200, body), "{response}");
    }
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let origin =
        scripted(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig")
            .await;
    let (_proxy, mut client) = before(&origin).await;
    client
        .send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\nbegin")
        .await;
    let response = client.reply_to("POST").await;
    assert_eq!((response.status, response.text()), (413, "big"));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_origins_request() {
    let (sender, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    let sender = std::sync::Arc::new(std::sync::Mutex::new(Some(sender)));
    let origin = Origin::new()
        .later("/", move |_| {
            let alive = sender.lock().unwrap().take();
            async move {
                let _alive = alive;
                std::future::pending().await
            }
        })
        .run()
        .await;
    let (_proxy, mut client) = before(&origin).await;
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    client.leave();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), gone.recv()).await;
    assert_eq!(ended, Ok(None), "the origin's connection was closed");
}

/// An origin that answers every head on a connection with these bytes, and keeps it open.
async fn repeating(bytes: &'static [u8]) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 4096];
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    stream.write_all(bytes).await.unwrap();
                }
            }
        });
    });
    address
}

#[tokio::test]
async fn trailers_end_a_body_and_leave_the_connection_usable() {
    let response =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n";
    let address = repeating(response).await;
    let proxy = proxy::new(&crate::site(&format!("http://{address}")))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "ok");
    }
    assert_eq!(metric(&proxy, "cirrus_upstream_connects_total").await, 1.0);
}

#[tokio::test]
async fn a_response_without_content_does_not_say_how_long_it_is() {
    let address = repeating(b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n").await;
    let proxy = proxy::new(&crate::site(&format!("http://{address}")))
        .run()
        .await;
    let response = Client::to(proxy.address()).get("/").await;
    assert_eq!(
        (response.status, response.header("content-length")),
        (204, String::new())
    );
}
