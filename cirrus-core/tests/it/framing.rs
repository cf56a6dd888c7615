//! Requests that can be read in two ways are refused; those that are only odd are served.

use std::time::Duration;

use cirrus_core::testing::{Client, Origin, RunningOrigin, proxy, reply};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{before, site};

async fn origin() -> RunningOrigin {
    Origin::new().get("*", |_| reply("ok")).run().await
}

/// Everything the proxy sends until it closes.
async fn all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(read.is_ok_and(|read| read.is_ok()), "closed in order");
    String::from_utf8(bytes).unwrap().to_lowercase()
}

async fn exchange(proxy: &proxy::Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    all(&mut stream).await
}

const HEADS: [&str; 46] = [
    // Two lengths.
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5,\r\n\r\nhello",
    // Lengths that are none.
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\nhello",
    // Codings other than the one.
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunkedx\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    // Lines.
    "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n\tb\r\n\r\n",
    "GET / HTTP/1.1\r\n host: a\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\n: x\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx(y): z\r\n\r\n",
    "GET / HTTP/1.1\nhost: a\n\n",
    "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\n\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx: y\rz: w\r\n\r\n",
    "GET / HTTP/1.1\rhost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx: a\x01b\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nx: a\x7fb\r\n\r\n",
    // The request line.
    "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET /  HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET / HTTP/1.1 \r\nhost: a\r\n\r\n",
    " GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET / http/1.1\r\nhost: a\r\n\r\n",
    "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
    "GET /\r\n\r\n",
    "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
];

#[tokio::test]
async fn headers_with_two_readings_are_refused() {
    let origin = origin().await;
    let (proxy, _) = before(&origin).await;
    for request in HEADS {
        let answer = exchange(&proxy, request.as_bytes()).await;
        assert!(answer.starts_with("http/1.1 400 "), "{request:?}: {answer}");
        assert!(
            answer.contains("connection: close\r\n"),
            "{request:?}: {answer}"
        );
        assert!(
            answer.contains("\r\n\r\n400 bad request: "),
            "{request:?}: {answer}"
        );
        assert_eq!(
            answer.matches("http/1.1").count(),
            1,
            "{request:?}: {answer}"
        );
    }
    assert_eq!(origin.count(), 0, "nothing of it reached the origin");
    // A connection is counted at its end, which comes behind the answer.
    let counted = format!("cirrus_connections_malformed_total {}", HEADS.len());
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let seen = async { while !admin.get("/metrics").await.text().contains(&counted) {} };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(20), seen).await;
    assert!(in_time.is_ok(), "not all of them are counted");
}

#[tokio::test]
async fn bodies_with_two_readings_break_off() {
    let origin = origin().await;
    let (proxy, _) = before(&origin).await;
    for body in [
        "x\r\n",
        "\r\nhello",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello, world\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nx\r\n\r\n",
        "5\r\nhello\r\n0\r\n x: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nx: y\n\r\n",
        "5\r\nhello\r\n0\r\ncontent-length: 5\r\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let next = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n";
        let answer = exchange(&proxy, format!("{head}{body}{next}").as_bytes()).await;
        assert!(answer.starts_with("http/1.1 400 "), "{body:?}: {answer}");
        assert_eq!(answer.matches("http/1.1").count(), 1, "{body:?}: {answer}");
    }
    assert!(
        origin.asked().iter().all(|asked| asked.body.is_none()),
        "no whole request reached the origin"
    );
}

#[tokio::test]
async fn responses_before_a_refused_request_are_whole() {
    let origin = origin().await;
    let (proxy, _) = before(&origin).await;
    for wrong in ["GET / HTTP/1.1\r\nhost : a\r\n\r\n", "\0", "\n", "\r\nG\0"] {
        let answer = exchange(
            &proxy,
            format!("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n{wrong}")
                .as_bytes(),
        )
        .await;
        let at = |text| answer.find(text).unwrap_or(0);
        assert_eq!(
            answer.matches("http/1.1 200 ").count(),
            2,
            "{wrong:?}: {answer}"
        );
        assert!(
            at("http/1.1 400 ") > at("http/1.1 200 "),
            "{wrong:?}: {answer}"
        );
        assert!(
            answer.contains("ok400") || answer.contains("okhttp/1.1 400"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_refused_request_behind_one_in_flight_waits_for_its_response() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let origin = Origin::new().later("*", move |_| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            reply("late")
        }
    });
    let origin = origin.run().await;
    let (proxy, _) = before(&origin).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    // Read while the first is in flight, since hyper looks whether the client is still there.
    stream.write_all(b"\0").await.unwrap();
    let opened = async {
        tokio::task::yield_now().await;
        open.send(true).unwrap();
    };
    let (answer, ()) = tokio::join!(all(&mut stream), opened);
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    assert!(answer.contains("latehttp/1.1 400 "), "{answer}");
}

/// Requests that are odd, and what the origin sees of them.
const ODD: [(&str, &str, &str); 10] = [
    (
        "\r\n\r\nGET /lines HTTP/1.1\r\nhost: a\r\n\r\n",
        "/lines",
        "",
    ),
    ("get /lower HTTP/1.1\r\nHOST:a\r\n\r\n", "/lower", ""),
    (
        "POST /sized HTTP/1.1\r\nhost: a\r\nContent-LENGTH:\t5 \r\n\r\nhello",
        "/sized",
        "hello",
    ),
    (
        "POST /zero HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        "/zero",
        "",
    ),
    (
        "POST /ext HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=\"b;c\"\r\nhello\r\n0;x\r\n\r\n",
        "/ext",
        "hello",
    ),
    (
        "POST /trailer HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n00a\r\n0123456789\r\n1\r\n\n\r\n0\r\nx: y\r\n\r\n",
        "/trailer",
        "0123456789\n",
    ),
    (
        "GET /tab HTTP/1.1\r\nhost: a\r\nx: a\tb\r\nempty:\r\n\r\n",
        "/tab",
        "",
    ),
    (
        "GET /near HTTP/1.1\r\nhost: a\r\ncontent-lengths: x\r\ntransfer: y\r\n\r\n",
        "/near",
        "",
    ),
    (
        "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "/upgrade",
        "",
    ),
    (
        "POST /line HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n\r\n",
        "/line",
        "\r\n",
    ),
];

async fn served(proxy: &proxy::Running, pieces: &[&[u8]], count: usize) {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut client = Client::to(proxy.address()).over(stream);
    for _ in 0..count {
        assert_eq!(client.reply_to("GET").await.status, 200);
    }
}

fn seen(origin: &RunningOrigin) -> Vec<(String, String)> {
    let asked = origin.asked().into_iter();
    let text = |asked: cirrus_core::testing::Asked| {
        let body = String::from_utf8(asked.body.unwrap().to_vec()).unwrap();
        (asked.target, body)
    };
    asked.map(text).collect()
}

fn expected() -> Vec<(String, String)> {
    let own = |(_, path, body): (&str, &str, &str)| (path.to_owned(), body.to_owned());
    ODD.map(own).into()
}

fn stream() -> String {
    ODD.map(|(request, ..)| request).concat()
}

#[tokio::test]
async fn odd_requests_are_served_also_one_byte_at_a_time() {
    let origin = origin().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let stream = stream();
    let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    served(&proxy, &bytes, ODD.len()).await;
    assert_eq!(seen(&origin), expected());
}

#[tokio::test]
async fn what_follows_an_upgrade_that_was_not_granted_is_guarded_too() {
    let origin = origin().await;
    let (proxy, _) = before(&origin).await;
    let ask = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    for wrong in ["\0", "GET / HTTP/1.1\r\nhost : a\r\n\r\n"] {
        let answer = exchange(&proxy, format!("{ask}{wrong}").as_bytes()).await;
        assert!(answer.starts_with("http/1.1 200 "), "{answer}");
        assert!(answer.contains("okhttp/1.1 400 "), "{answer}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_splitting_gives_the_same_requests(mut cuts in proptest::collection::vec(0..stream().len(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            cuts.sort_unstable();
            let (origin, stream) = (origin().await, stream());
            let proxy = proxy::new(&site(&origin.url())).run().await;
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts.into_iter().chain([stream.len()]) {
                pieces.push(&stream.as_bytes()[from..cut]);
                from = cut;
            }
            served(&proxy, &pieces, ODD.len()).await;
            assert_eq!(seen(&origin), expected());
        });
    }
}

#[tokio::test]
async fn an_absolute_target_without_a_path_has_one_for_the_origin() {
    let origin = origin().await;
    let (proxy, _) = before(&origin).await;
    for (target, path) in [
        ("http://a", "/"),
        ("http://a?x=/y", "/?x=/y"),
        ("http://a/?x", "/?x"),
        ("http://a//b", "//b"),
    ] {
        let lines = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let response = exchange(&proxy, lines.as_bytes()).await;
        assert!(response.starts_with("http/1.1 200 "), "{response}");
        assert_eq!(origin.asked().last().unwrap().target, path);
    }
}
