//! HTTP/1.1: clients that are slow, and clients that are not.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

use crate::edge::{Edge, LARGE, scaled};
use crate::wire::{clients, connect, from, rest};

/// Between two bytes of a slow client.
const DRIP: Duration = Duration::from_millis(250);

/// So many of them last far longer than the server should wait.
const DRIPS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers() {
    let edge = Edge::start().await;
    edge.withstands(async |to| {
        clients(scaled(5_000), move |number| async move {
            let mut stream = connect(number, to).await;
            let _ = stream
                .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nslow: ")
                .await;
            // The server's patience is not renewed by bytes.
            for _ in 0..DRIPS {
                let is_taken = stream.write_all(b"y").await.is_ok();
                if !is_taken || timeout(DRIP, rest(&mut stream)).await.is_ok() {
                    return;
                }
            }
            panic!("a header that never ends is waited for");
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies() {
    let edge = Edge::start().await;
    edge.withstands(async |to| {
        clients(scaled(5_000), move |number| async move {
            let mut stream = connect(number, to).await;
            let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
            let _ = stream.write_all(head).await;
            for _ in 0..4 {
                let _ = stream.write_all(b"y").await;
                sleep(DRIP).await;
            }
            let said = rest(&mut stream).await;
            let is_refused = said.starts_with(b"HTTP/1.1 408");
            assert!(is_refused, "{}", said.escape_ascii());
        })
        .await;
    })
    .await;
}

/// Half of them read what is stored, half what comes from the origin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers() {
    let edge = Edge::start().await;
    edge.withstands(async |to| {
        clients(scaled(500), move |number| async move {
            let socket: TcpSocket = from(number);
            socket.set_recv_buffer_size(16 * 1024).unwrap();
            let mut stream = socket.connect(to).await.unwrap();
            let path = if number.is_multiple_of(2) {
                "/large"
            } else {
                "/large/cached"
            };
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut bytes = [0; 1024];
            for _ in 0..4 {
                stream.read_exact(&mut bytes).await.unwrap();
                sleep(DRIP).await;
            }
            // From here on it reads nothing, until the server has lost its patience.
            sleep(Duration::from_secs(2)).await;
            assert!(rest(&mut stream).await.len() < LARGE / 2, "it was given up");
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests() {
    let edge = Edge::start().await;
    let count = scaled(10_000);
    edge.withstands(async |to| {
        clients(4, move |number| async move {
            let (mut read, mut write) = connect(number, to).await.into_split();
            let requests = b"GET /cached HTTP/1.1\r\nhost: x\r\n\r\n".repeat(count - 1);
            let last = b"GET /cached HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let sends = async {
                write.write_all(&requests).await.unwrap();
                write.write_all(last).await.unwrap();
            };
            let mut said = Vec::new();
            let (read, ()) = tokio::join!(read.read_to_end(&mut said), sends);
            read.unwrap();
            let answers = said.windows(15).filter(|at| at == b"HTTP/1.1 200 OK");
            assert_eq!(answers.count(), count);
        })
        .await;
    })
    .await;
}

/// Half of them end the connection, half reset it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_opened_and_dropped() {
    const AT_ONCE: usize = 64;
    let edge = Edge::start().await;
    let each = scaled(100_000) / AT_ONCE;
    edge.withstands(async |to| {
        clients(AT_ONCE, move |number| async move {
            for turn in 0..each {
                let stream = connect(number, to).await;
                if turn.is_multiple_of(2) {
                    stream.set_zero_linger().unwrap();
                }
            }
        })
        .await;
    })
    .await;
}
