//! Connections that wait for their client cost little more than their sockets.

use std::sync::Arc;
use std::time::Duration;

use cirrus_core::testing::certs;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use crate::edge::{Edge, is_full};
use crate::wire::connect;

/// A connection is parked two seconds after its last response, and what it needed before is given back soon after.
const PARKED: Duration = Duration::from_secs(4);
const AT_LAST: Duration = Duration::from_secs(10);

/// What a debug build and a busy machine's allocator may add to the figure, which `benches/peers` measures (S11). Without
/// parking a connection would cost 17 KiB, with TLS 20.
fn tolerated(bytes: u64) -> u64 {
    if is_full() {
        bytes
    } else {
        bytes + bytes / 3 + 1024
    }
}

const LIMITS: &str = r#"connections_per_client = 65536
    idle_time = "300s""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_two_kibibytes() {
    let edge = Edge::with("http", LIMITS).await;
    let count = if is_full() { 10_000 } else { 4_000 };
    let most = tolerated(2 * 1024);
    let each = cost(&edge, count, most, async |number| {
        asked(connect(number, edge.address).await).await
    })
    .await;
    assert!(each <= most, "an idle connection costs {each} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_twelve_kibibytes() {
    let edge = Edge::with("https", LIMITS).await;
    let config = certs::client_trusting_anyone(&[b"http/1.1"], rustls::ALL_VERSIONS);
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("shop.example").unwrap();
    let count = if is_full() { 10_000 } else { 2_000 };
    let most = tolerated(12 * 1024);
    let each = cost(&edge, count, most, async |number| {
        let stream = connect(number, edge.address).await;
        asked(connector.connect(name.clone(), stream).await.unwrap()).await
    })
    .await;
    assert!(each <= most, "an idle connection costs {each} bytes");
}

/// Bytes of memory for each of `count` connections that are open and parked; `wanted` at the most, unless that takes
/// too long.
async fn cost<S>(edge: &Edge, count: usize, wanted: u64, open: impl AsyncFn(usize) -> S) -> u64 {
    // What as many have once needed stays in part, for whoever comes next.
    let mut first = Vec::with_capacity(count / 4);
    for number in 0..count / 4 {
        first.push(open(number).await);
    }
    drop(first);
    sleep(PARKED).await;
    let before = edge.memory();
    let mut connections = Vec::with_capacity(count);
    for number in 0..count {
        connections.push(open(number).await);
    }
    sleep(PARKED).await;
    let each = || edge.memory().saturating_sub(before) / count as u64;
    let until = Instant::now() + AT_LAST;
    while each() > wanted && Instant::now() < until {
        sleep(Duration::from_millis(200)).await;
    }
    let each = each();
    println!("{count} idle connections: {each} bytes each");
    each
}

/// The connection, after a request and its response.
async fn asked<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> S {
    let request = b"GET /cached HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"hello") {
        assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0);
    }
    stream
}
