//! The end: what is in flight is finished, nothing new is taken.

use std::sync::Arc;
use std::time::Duration;

use cirrus_core::testing::{Client, Origin, proxy, reply};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::before;

#[tokio::test]
async fn a_request_in_flight_is_finished_and_new_connections_are_refused() {
    let go = Arc::new(Notify::new());
    let waits = Arc::clone(&go);
    let origin = Origin::new()
        .later("/slow", move |_| {
            let waits = Arc::clone(&waits);
            async move {
                waits.notified().await;
                reply("done")
            }
        })
        .run()
        .await;
    let (proxy, mut client) = before(&origin).await;
    let address = proxy.address();
    client.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    let draining = tokio::task::LocalSet::new();
    draining
        .run_until(async {
            let ended = tokio::task::spawn_local(proxy.shutdown());
            let refused = async { while TcpStream::connect(address).await.is_ok() {} };
            tokio::time::timeout(Duration::from_secs(20), refused)
                .await
                .unwrap();
            go.notify_one();
            let response = client.reply_to("GET").await;
            assert_eq!((response.text(), response.closes), ("done", true));
            tokio::time::timeout(Duration::from_secs(20), ended)
                .await
                .unwrap()
                .unwrap();
        })
        .await;
}

#[tokio::test]
async fn what_takes_longer_than_the_limit_is_cut_off() {
    let origin = Origin::new()
        .later("/", |_| std::future::pending())
        .run()
        .await;
    let toml = format!(
        "[server]\nworkers = 1\ndrain = \"100ms\"\n{}",
        crate::site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(20), proxy.shutdown())
        .await
        .unwrap();
    assert!(client.reply_or_end("GET").await.is_none());
}

#[tokio::test]
async fn idle_connections_are_closed_at_once() {
    let origin = Origin::new().get("/", |_| reply("")).run().await;
    let (proxy, mut client) = before(&origin).await;
    client.get("/").await;
    tokio::time::timeout(Duration::from_secs(10), proxy.shutdown())
        .await
        .unwrap();
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_file_system_that_hangs_does_not_keep_it_from_ending() {
    let directory = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(directory.path().join("pipe"))
        .status();
    assert!(made.unwrap().success());
    let toml = format!(
        "[server]\nworkers = 1\ndrain = \"50ms\"\n[[site]]\nhosts = [\"*\"]\n[[site.route]]\nfiles = {{ directory = \"{}\" }}\n",
        directory.path().display()
    );
    let proxy = proxy::new(&toml).run().await;
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let mut client = Client::to(proxy.address());
    client.send(b"GET /pipe HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // Opening a pipe that nobody writes to takes for ever; the request has begun when it is counted.
    while !admin
        .get("/metrics")
        .await
        .text()
        .contains("cirrus_requests_in_flight 1")
    {}
    tokio::time::timeout(Duration::from_secs(20), proxy.shutdown())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_connection_is_closed_behind_the_response_that_draining_found_under_way() {
    let (sender, body) =
        http_body_util::channel::Channel::<bytes::Bytes, std::convert::Infallible>::new(1);
    let body = std::sync::Mutex::new(Some(body));
    let origin = Origin::new().get("/", move |_| {
        let body = body.lock().unwrap().take().unwrap();
        reply(cirrus_core::Body::stream(body))
    });
    let origin = origin.run().await;
    let (proxy, mut client) = before(&origin).await;
    let mut sender = sender;
    sender.send_data("begin".into()).await.unwrap();
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    while origin.count() == 0 {
        tokio::task::yield_now().await;
    }
    let address = proxy.address();
    let draining = tokio::task::LocalSet::new();
    draining
        .run_until(async {
            let ended = tokio::task::spawn_local(proxy.shutdown());
            let refused = async { while TcpStream::connect(address).await.is_ok() {} };
            tokio::time::timeout(Duration::from_secs(20), refused)
                .await
                .unwrap();
            let last = tokio::time::Instant::now();
            drop(sender);
            assert_eq!(client.reply_to("GET").await.text(), "begin");
            tokio::time::timeout(Duration::from_secs(20), ended)
                .await
                .unwrap()
                .unwrap();
            // Not only once it would have been parked.
            assert!(last.elapsed() < Duration::from_millis(1500));
        })
        .await;
}
