//! HTTP/2 frame by frame: what no client of ours would send.

use std::net::SocketAddr;
use std::time::Duration;

use cirrus_core::testing::{Client, Origin, RunningOrigin, proxy, reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::site;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// `:status: 200` in HPACK's static table.
const OK: u8 = 0x88;

/// A client that sends whatever it likes.
struct Raw(TcpStream);

/// A frame that came.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literals.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "shop.example"),
    (":path", "/"),
];

const POST: [(&str, &str); 4] = [(":method", "POST"), GET[1], GET[2], GET[3]];

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&GET))
}

/// POST with these fields more; its body is still to come.
fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [&POST[..], more].concat();
    frame(HEADERS, END_HEADERS, stream, &block(&fields))
}

// === impl Raw ===

impl Raw {
    async fn to(address: SocketAddr) -> Self {
        Self::with_settings(address, &[]).await
    }

    async fn with_settings(address: SocketAddr, settings: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(PREFACE).await.unwrap();
        let mut raw = Self(stream);
        raw.send(&frame(SETTINGS, 0, 0, settings)).await;
        raw
    }

    /// The server may have closed already: what it said before tells more.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = tokio::time::timeout(Duration::from_secs(20), self.0.write_all(bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// The next frame; `None` once the server has closed.
    async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes(stream);
            Some(Frame {
                kind,
                flags,
                stream,
                payload,
            })
        };
        tokio::time::timeout(Duration::from_secs(20), read)
            .await
            .unwrap()
    }

    /// The next frame of a kind; fails if the server closes before.
    async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("a frame before the end");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The code with which the server ended a stream, or the connection.
    async fn refusal(&mut self) -> (u8, u32) {
        loop {
            let frame = self.next().await.expect("a refusal before the end");
            let at = match frame.kind {
                RST_STREAM => 0,
                GOAWAY => 4,
                _ => continue,
            };
            let code = frame.payload[at..at + 4].try_into().unwrap();
            return (frame.kind, u32::from_be_bytes(code));
        }
    }

    /// Whether a ping is answered: the connection is well.
    async fn is_well(&mut self) -> bool {
        self.send(&frame(PING, 0, 0, b"are you?")).await;
        self.until(PING).await.payload == b"are you?"
    }
}

async fn before(limits: &str) -> (RunningOrigin, proxy::Running) {
    let origin = Origin::new()
        .get("*", |_| reply("ok"))
        .get("/large", |_| reply(vec![b'x'; 4 << 20]))
        .run()
        .await;
    let toml = format!("[limits]\n{limits}\n{}", site(&origin.url()));
    let proxy = proxy::new(&toml).run().await;
    (origin, proxy)
}

async fn metric(proxy: &proxy::Running, name: &str) -> u64 {
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let page = admin.get("/metrics").await;
    let values = page.text().lines().filter_map(|line| line.split_once(' '));
    let mut values = values.filter(|(metric, _)| *metric == name);
    values.next().unwrap().1.parse::<f64>().unwrap() as u64
}

#[tokio::test]
async fn prior_knowledge_chooses_http2() {
    let (origin, proxy) = before("").await;
    let mut raw = Raw::to(proxy.address()).await;
    raw.send(&get(1)).await;
    let answer = raw.until(HEADERS).await;
    assert_eq!((answer.stream, answer.payload[0]), (1, OK));
    let data = raw.until(DATA).await;
    assert_eq!(
        (&data.payload[..], data.flags & END_STREAM),
        (&b"ok"[..], END_STREAM)
    );
    assert_eq!(origin.asked()[0].header("via"), "2.0 cirrus");
}

#[tokio::test]
async fn a_preface_in_pieces_is_one_and_http1_is_not_kept_waiting() {
    let (_origin, proxy) = before("").await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in [&PREFACE[..1], &PREFACE[1..20], &PREFACE[20..]] {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut raw = Raw(stream);
    raw.send(&[frame(SETTINGS, 0, 0, &[]), get(1)].concat())
        .await;
    assert_eq!(raw.until(HEADERS).await.payload[0], OK);
    // `P` may still become either.
    let mut client = Client::to(proxy.address());
    client.send(b"P").await;
    client
        .send(b"OST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
        .await;
    assert_eq!(client.reply_to("POST").await.text(), "ok");
}

#[tokio::test]
async fn a_client_that_does_not_say_what_it_speaks_is_shown_out() {
    let (_origin, proxy) = before("header_time = \"100ms\"").await;
    let mut client = Client::to(proxy.address());
    client.send(&PREFACE[..10]).await;
    assert!(client.is_closed().await);
    assert_eq!(
        metric(&proxy, "cirrus_connections_timed_out_total").await,
        1
    );
}

#[tokio::test]
async fn http2_can_be_switched_off() {
    let toml = "[[listen]]\naddress = \"127.0.0.1:0\"\nhttp2 = false\n";
    let proxy = proxy::new(toml).run().await;
    let mut client = Client::to(proxy.address());
    client.send(PREFACE).await;
    let reply = client.reply_or_end("GET").await;
    assert!(reply.is_none_or(|reply| reply.status >= 400));
}

#[tokio::test]
async fn prior_knowledge_works_behind_proxy_protocol() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.0/8\"]\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut raw = Raw(TcpStream::connect(proxy.address()).await.unwrap());
    let introduction = b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n";
    let first = [introduction, PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1)].concat();
    raw.send(&first).await;
    assert_eq!(raw.until(HEADERS).await.payload[0], OK);
    assert_eq!(origin.asked()[0].header("x-forwarded-for"), "192.0.2.7");
}

#[tokio::test]
async fn what_breaks_the_rules_never_reaches_the_origin() {
    let (origin, proxy) = before("").await;
    let with = |field| [&GET[..], &[field]].concat();
    let malformed = [
        with(("connection", "close")),
        with(("keep-alive", "5")),
        with(("proxy-connection", "close")),
        with(("transfer-encoding", "chunked")),
        with(("upgrade", "websocket")),
        with(("te", "gzip")),
        with(("X-Upper", "a")),
        with(("x", "a\nb")),
        with((":path", "/again")),
        with((":unknown", "a")),
        with((":status", "200")),
        [&[("early", "a")], &GET[..]].concat(),
        GET[..3].to_vec(),
        GET[1..].to_vec(),
    ];
    for fields in malformed {
        let mut raw = Raw::to(proxy.address()).await;
        raw.send(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block(&fields),
        ))
        .await;
        assert_eq!(raw.refusal().await.1, PROTOCOL_ERROR, "{fields:?}");
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn content_that_is_not_as_long_as_said_is_refused() {
    let (origin, proxy) = before("").await;
    for (said, data) in [("5", &b"1234"[..]), ("5", b"123456"), ("0", b"1")] {
        let mut raw = Raw::to(proxy.address()).await;
        let post = post(1, &[("content-length", said)]);
        raw.send(&[post, frame(DATA, END_STREAM, 1, data)].concat())
            .await;
        assert_eq!(raw.refusal().await.1, PROTOCOL_ERROR, "{said} {data:?}");
    }
    for said in ["x", "-1", "18446744073709551616"] {
        let mut raw = Raw::to(proxy.address()).await;
        let post = post(1, &[("content-length", said)]);
        raw.send(&[post, frame(DATA, END_STREAM, 1, b"1")].concat())
            .await;
        assert_eq!(raw.refusal().await.1, PROTOCOL_ERROR, "{said}");
    }
    assert!(origin.asked().iter().all(|asked| asked.body.is_none()));
}

/// Sends a flood, and sees that it is stopped while another client is served as ever.
async fn is_stopped(setup: Vec<u8>, pieces: impl Iterator<Item = Vec<u8>>) {
    let (_origin, proxy) = before("").await;
    let mut raw = Raw::to(proxy.address()).await;
    raw.send(&setup).await;
    let address = proxy.address();
    let aside = async {
        let mut client = Client::to(address);
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(client.get("/").await.text(), "ok");
            assert!(begun.elapsed() < Duration::from_secs(2), "kept waiting");
        }
    };
    let (mut reading, mut writing) = raw.0.into_split();
    let flood = async {
        for piece in pieces {
            if writing.write_all(&piece).await.is_err() {
                break;
            }
        }
    };
    // Answers are read, so that it is not the full socket that stops the flood.
    let answers = async {
        let mut answers = Vec::new();
        let _ = reading.read_to_end(&mut answers).await;
        answers
    };
    let all = async { tokio::join!(flood, answers, aside) };
    let ((), answers, ()) = tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .unwrap();
    let calm = ENHANCE_YOUR_CALM.to_be_bytes();
    let told = answers.windows(9).any(|nine| nine[3] == GOAWAY) && find(&answers, &calm);
    assert!(told, "no farewell in {} bytes", answers.len());
    assert_eq!(metric(&proxy, "cirrus_http2_floods_total").await, 1);
}

fn find(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|some| some == what)
}

#[tokio::test]
async fn rapid_resets_are_stopped() {
    let cancel = CANCEL.to_be_bytes();
    let pieces = (0..10_000u32).map(|n| {
        let stream = 2 * n + 1;
        [get(stream), frame(RST_STREAM, 0, stream, &cancel)].concat()
    });
    is_stopped(Vec::new(), pieces).await;
}

/// As before, but each request is on its way to the origin by the time it is given up.
#[tokio::test]
async fn resets_of_what_is_served_are_stopped() {
    let (_origin, proxy) = before("").await;
    let mut raw = Raw::to(proxy.address()).await;
    for n in 0..1000 {
        let stream = 2 * n + 1;
        raw.send(&post(stream, &[])).await;
        raw.send(&frame(PING, 0, 0, &[1; 8])).await;
        loop {
            let frame = raw.next().await.expect("an answer or a farewell");
            match frame.kind {
                PING => break,
                GOAWAY => {
                    assert_eq!(frame.payload[4..8], ENHANCE_YOUR_CALM.to_be_bytes());
                    assert!(n >= 200, "{n} are not too many");
                    return;
                }
                _ => {}
            }
        }
        let cancel = CANCEL.to_be_bytes();
        raw.send(&frame(RST_STREAM, 0, stream, &cancel)).await;
    }
    panic!("1000 were taken");
}

/// What is wrong with a stream makes the server reset it; that costs the client no frame of its
/// own.
#[tokio::test]
async fn resets_that_are_provoked_are_stopped() {
    let too_large = 0x7fff_ffffu32.to_be_bytes();
    let pieces = (0..10_000u32).map(|n| {
        let stream = 2 * n + 1;
        let get = get(stream);
        [get, frame(WINDOW_UPDATE, 0, stream, &too_large)].concat()
    });
    is_stopped(Vec::new(), pieces).await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_stopped() {
    let pieces = (0..10_000u32).map(|n| post(2 * n + 1, &[]));
    is_stopped(Vec::new(), pieces).await;
}

#[tokio::test]
async fn floods_of_settings_are_stopped() {
    let piece = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
    is_stopped(Vec::new(), (0..20_000).map(|_| piece.clone())).await;
}

#[tokio::test]
async fn floods_of_pings_are_stopped() {
    let piece = frame(PING, 0, 0, &[0; 8]);
    is_stopped(Vec::new(), (0..20_000).map(|_| piece.clone())).await;
}

#[tokio::test]
async fn floods_of_priorities_are_stopped() {
    let piece = frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]);
    is_stopped(Vec::new(), (0..20_000).map(|_| piece.clone())).await;
}

#[tokio::test]
async fn floods_of_window_updates_are_stopped() {
    let piece = frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes());
    is_stopped(Vec::new(), (0..20_000).map(|_| piece.clone())).await;
}

#[tokio::test]
async fn floods_of_empty_data_are_stopped() {
    let piece = frame(DATA, 0, 1, &[]);
    is_stopped(post(1, &[]), (0..20_000).map(|_| piece.clone())).await;
}

#[tokio::test]
async fn floods_of_continuations_are_stopped() {
    let begun = frame(HEADERS, 0, 1, &block(&GET));
    let piece = frame(CONTINUATION, 0, 1, &block(&[("x", &"a".repeat(100))]));
    is_stopped(begun, (0..20_000).map(|_| piece.clone())).await;
}

#[tokio::test]
async fn a_stream_whose_client_does_not_read_is_given_up() {
    let (_origin, proxy) = before("send_time = \"200ms\"").await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    let mut raw = Raw::with_settings(proxy.address(), &[0, 4, 0, 0, 0, 0]).await;
    raw.send(&get(1)).await;
    assert_eq!(raw.until(HEADERS).await.payload[0], OK);
    assert_eq!(raw.refusal().await, (RST_STREAM, CANCEL));
    assert!(raw.is_well().await, "other streams are not to blame");
    assert_eq!(metric(&proxy, "cirrus_responses_stalled_total").await, 1);
}

#[tokio::test]
async fn a_client_that_reads_nothing_at_all_is_left() {
    let (_origin, proxy) = before("send_time = \"200ms\"").await;
    let settings = [0, 4, 0x7f, 0xff, 0xff, 0xff];
    let mut raw = Raw::with_settings(proxy.address(), &settings).await;
    let grow = frame(WINDOW_UPDATE, 0, 0, &0x7000_0000u32.to_be_bytes());
    let mut fields = GET;
    fields[3].1 = "/large";
    let asks = (0..8).map(|n| {
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            2 * n + 1,
            &block(&fields),
        )
    });
    raw.send(&[vec![grow], asks.collect()].concat().concat())
        .await;
    let left = async {
        while metric(&proxy, "cirrus_responses_stalled_total").await == 0
            || metric(&proxy, "cirrus_connections_open").await > 0
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), left)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_go_on_is_408() {
    let (_origin, proxy) = before("body_idle_time = \"100ms\"").await;
    let mut raw = Raw::to(proxy.address()).await;
    raw.send(
        &[
            post(1, &[("content-length", "10")]),
            frame(DATA, 0, 1, b"123"),
        ]
        .concat(),
    )
    .await;
    let answer = raw.until(HEADERS).await;
    // `:status` by its name's index, and `408` in Huffman code.
    let expected = [0x48, 0x83, 0x68, 0x0f, 0x7f];
    assert_eq!(answer.payload[..5], expected, "{answer:?}");
    assert!(raw.is_well().await);
    assert_eq!(metric(&proxy, "cirrus_request_bodies_slow_total").await, 1);
}

#[tokio::test]
async fn a_connection_that_is_worn_is_told_so() {
    let (_origin, proxy) = before("requests_per_connection = 3").await;
    let mut raw = Raw::to(proxy.address()).await;
    raw.send(&[get(1), get(3), get(5)].concat()).await;
    let (mut answers, mut told) = (0, false);
    while let Some(frame) = raw.next().await {
        answers += u32::from(frame.kind == HEADERS);
        told |= frame.kind == GOAWAY;
        if frame.kind == PING && frame.flags == 0 {
            raw.send(&self::frame(PING, 1, 0, &frame.payload)).await;
        }
    }
    assert!(told && answers == 3, "{answers} answers");
    assert_eq!(metric(&proxy, "cirrus_connections_worn_total").await, 1);
}
