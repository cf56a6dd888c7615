//! HTTP/2 to origins, bytes and frames as an origin sees them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::testing::{Client, Describe, Origin, proxy, reply, scripted};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::http2::{before as secured, local};
use crate::nowhere;
use crate::upstream::metric;

/// A request as it arrived, and the way to answer it.
type Call = (Request<RecvStream>, SendResponse<Bytes>);

/// An origin that hands out its requests. It ends when it is dropped.
struct Raw {
    address: std::net::SocketAddr,
    /// Its connections, in order, each still to be served.
    connections: mpsc::UnboundedReceiver<Connection<TcpStream, Bytes>>,
    _accepting: JoinSet<()>,
}

/// The requests of a connection that serves itself.
struct Served {
    calls: mpsc::UnboundedReceiver<Call>,
    tasks: JoinSet<()>,
}

// === impl Raw ===

impl Raw {
    async fn run(streams: u32) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::unbounded_channel();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut settings = Builder::new();
                settings.max_concurrent_streams(streams);
                let connection = settings.handshake(stream).await.unwrap();
                if sender.send(connection).is_err() {
                    return;
                }
            }
        });
        Self {
            address,
            connections,
            _accepting: accepting,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next connection, served by itself from now on.
    async fn serve(&mut self) -> Served {
        let mut connection = soon(self.connections.recv()).await.unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(Ok(call)) = connection.accept().await {
                let _ = sender.send(call);
            }
        });
        Served { calls, tasks }
    }
}

// === impl Served ===

impl Served {
    async fn call(&mut self) -> Call {
        soon(self.calls.recv()).await.expect("a request")
    }

    /// Answers the next request in one go.
    async fn answer(&mut self, body: &'static str) -> Request<RecvStream> {
        let (request, mut respond) = self.call().await;
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from_static(body.as_bytes()), true)
            .unwrap();
        request
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("an end in time")
}

fn site(url: &str) -> String {
    site_with(url, "")
}

fn site_with(url: &str, lines: &str) -> String {
    format!(
        "[[site]]\nhosts = [\"*\"]\nprotocol = \"http2\"\n{lines}\n[[site.origin]]\nurl = \"{url}\"\n"
    )
}

async fn before(url: &str) -> (proxy::Running, Client) {
    let proxy = proxy::new(&site(url)).run().await;
    let client = Client::to(proxy.address());
    (proxy, client)
}

/// Sends a GET from each of so many clients; the texts of their answers.
fn many(proxy: &proxy::Running, count: usize) -> JoinSet<(u16, String)> {
    let mut answers = JoinSet::new();
    for _ in 0..count {
        let mut client = Client::to(proxy.address());
        answers.spawn(async move {
            let reply = client.get("/").await;
            (reply.status, reply.text().to_owned())
        });
    }
    answers
}

/// Takes what comes, as fast as it comes.
async fn drained(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut whole = Vec::new();
    while let Some(data) = soon(body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        whole.extend_from_slice(&data);
    }
    (whole, soon(body.trailers()).await.unwrap())
}

/// Sends `data` as the other side makes room for it, counting what has gone.
async fn pour(send: &mut SendStream<Bytes>, mut data: Bytes, gone: &AtomicUsize) {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else {
            return;
        };
        let piece = data.split_to(room.min(data.len()));
        gone.fetch_add(piece.len(), Ordering::Relaxed);
        send.send_data(piece, false).unwrap();
    }
}

#[tokio::test]
async fn a_request_is_written_as_http_2_has_it() {
    let mut origin = Raw::run(100).await;
    let (_proxy, mut client) = before(&origin.url()).await;
    let serve = async {
        let mut served = origin.serve().await;
        (served.answer("hi").await, served)
    };
    let lines = "connection: te, x-hop\r\nte: trailers\r\nx-hop: 1\r\nx-end: 2\r\n";
    let ask = client.get_with("/a/b?c=d", lines);
    let ((request, _served), reply) = tokio::join!(serve, ask);
    assert_eq!((reply.status, reply.text()), (200, "hi"));
    assert_eq!(reply.header("via"), "2.0 cirrus");
    assert_eq!(request.uri(), "http://shop.example/a/b?c=d");
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    assert_eq!(
        (header("te"), header("x-end")),
        (Some("trailers"), Some("2"))
    );
    assert_eq!(header("x-forwarded-for"), Some("127.0.0.1"));
    for name in ["host", "connection", "x-hop", "content-length"] {
        assert_eq!(header(name), None, "{name}");
    }
}

#[tokio::test]
async fn many_requests_at_once_share_one_connection() {
    let all = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&all);
    let origin = Origin::new()
        .later("/", move |_| {
            let waits = Arc::clone(&waits);
            async move {
                drop(waits.acquire().await);
                reply("x".repeat(100_000))
            }
        })
        .over_http2()
        .run()
        .await;
    let (proxy, _) = before(&origin.url()).await;
    let answers = many(&proxy, 50);
    soon(async {
        while origin.count() < 50 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    all.add_permits(50);
    for (status, text) in answers.join_all().await {
        assert_eq!((status, text.len()), (200, 100_000));
    }
    assert_eq!(metric(&proxy, "cirrus_upstream_connects_total").await, 1.0);
    assert_eq!(
        metric(&proxy, "cirrus_upstream_pool_hits_total").await,
        49.0
    );
    let streams = metric(&proxy, "cirrus_upstream_http2_streams_total").await;
    assert_eq!(streams, 50.0);
}

#[tokio::test]
async fn an_origin_that_takes_few_at_once_gets_more_connections() {
    let mut origin = Raw::run(10).await;
    let (proxy, _) = before(&origin.url()).await;
    let answers = many(&proxy, 25);
    let mut served = Vec::new();
    // Nobody is answered before everybody has come.
    for count in [10, 10, 5] {
        let mut one = origin.serve().await;
        let mut calls = VecDeque::new();
        for _ in 0..count {
            calls.push_back(one.call().await);
        }
        served.push((one, calls));
    }
    assert!(origin.connections.try_recv().is_err());
    for (_, calls) in &mut served {
        for (_, mut respond) in calls.drain(..) {
            respond.send_response(Response::new(()), true).unwrap();
        }
    }
    assert!(
        answers
            .join_all()
            .await
            .iter()
            .all(|(status, _)| *status == 200)
    );
}

#[tokio::test]
async fn a_request_that_is_refused_goes_on_a_fresh_connection() {
    let mut origin = Raw::run(100).await;
    let (proxy, mut client) = before(&origin.url()).await;
    // Not idempotent: only that nothing was done about it allows another try.
    let serve = async {
        let mut first = origin.serve().await;
        let (_, mut respond) = first.call().await;
        respond.send_reset(Reason::REFUSED_STREAM);
        let mut second = origin.serve().await;
        (second.answer("second").await, first, second)
    };
    let ((request, ..), reply) = tokio::join!(serve, client.ask("POST", "/", "", b""));
    assert_eq!((reply.status, reply.text()), (200, "second"));
    assert_eq!(request.method(), "POST");
    assert_eq!(
        metric(&proxy, "cirrus_upstream_http2_resets_total").await,
        1.0
    );
}

#[tokio::test]
async fn a_body_that_nothing_was_taken_from_is_sent_on_the_second_try() {
    let mut origin = Raw::run(100).await;
    let (_proxy, mut client) = before(&origin.url()).await;
    let head = "POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5\r\n\r\n";
    client.send(head.as_bytes()).await;
    let mut first = origin.serve().await;
    let (_, mut respond) = first.call().await;
    respond.send_reset(Reason::REFUSED_STREAM);
    let mut second = origin.serve().await;
    let (request, mut respond) = second.call().await;
    client.send(b"hello").await;
    assert_eq!(drained(request.into_body()).await.0, b"hello");
    respond.send_response(Response::new(()), true).unwrap();
    assert_eq!(client.reply_to("POST").await.status, 200);
}

#[tokio::test]
async fn a_body_that_was_begun_is_not_sent_twice() {
    let mut origin = Raw::run(100).await;
    let (_proxy, mut client) = before(&origin.url()).await;
    let serve = async {
        let mut first = origin.serve().await;
        let (request, mut respond) = first.call().await;
        assert_eq!(drained(request.into_body()).await.0, b"hello");
        respond.send_reset(Reason::REFUSED_STREAM);
        first
    };
    let (_first, reply) = tokio::join!(serve, client.ask("POST", "/", "", b"hello"));
    assert_eq!(reply.status, 502);
    assert!(origin.connections.try_recv().is_err());
}

#[tokio::test]
async fn a_connection_that_says_goodbye_loses_nothing() {
    let mut origin = Raw::run(100).await;
    let (proxy, _) = before(&origin.url()).await;
    let mut first = soon({
        let answers = many(&proxy, 1);
        async {
            let mut connection = origin.connections.recv().await.unwrap();
            let call = connection.accept().await.unwrap().unwrap();
            (connection, call, answers)
        }
    })
    .await;
    // It goes on with what it has, and takes nothing new.
    first.0.graceful_shutdown();
    let mut driven = JoinSet::new();
    let (mut connection, (_, mut respond), early) = first;
    let (sender, mut late) = mpsc::unbounded_channel();
    driven.spawn(async move {
        while let Some(Ok(call)) = connection.accept().await {
            let _ = sender.send(call);
        }
    });
    let answers = many(&proxy, 10);
    let mut second = None;
    for _ in 0..10 {
        // Those that were on their way before the goodbye was heard are still taken.
        tokio::select! {
            Some((_, mut respond)) = late.recv() => { respond.send_response(Response::new(()), true).unwrap(); }
            () = async {
                if second.is_none() {
                    second = Some(origin.serve().await);
                }
                second.as_mut().unwrap().answer("second").await;
            } => {}
        }
    }
    assert!(
        answers
            .join_all()
            .await
            .iter()
            .all(|(status, _)| *status == 200)
    );
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    send.send_data(Bytes::from_static(b"first"), true).unwrap();
    assert_eq!(early.join_all().await, [(200, "first".to_owned())]);
    soon(driven.join_next()).await;
}

/// A frame of HTTP/2, written by hand.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn requests_above_the_last_that_was_taken_are_sent_again() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (proxy, _) = before(&url).await;
    let mut clients = JoinSet::new();
    for _ in 0..5 {
        let mut client = Client::to(proxy.address());
        clients.spawn(async move { client.ask("POST", "/", "", b"").await.status });
    }
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 24]).await.unwrap();
        stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
        let mut asked = 0;
        while asked < 5 {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            match (head[3], head[4]) {
                (1, _) => asked += 1,
                (4, 0) => stream.write_all(&frame(4, 1, 0, &[])).await.unwrap(),
                (6, 0) => stream.write_all(&frame(6, 1, 0, &payload)).await.unwrap(),
                _ => {}
            }
        }
        // GOAWAY: not one of the five was taken.
        stream.write_all(&frame(7, 0, 0, &[0; 8])).await.unwrap();
        let (fresh, _) = listener.accept().await.unwrap();
        let mut fresh = h2::server::handshake(fresh).await.unwrap();
        for _ in 0..5 {
            let (_, mut respond) = fresh.accept().await.unwrap().unwrap();
            respond.send_response(Response::new(()), true).unwrap();
        }
        let _ = fresh.accept().await;
    };
    tokio::select! {
        () = serve => panic!("the connection ended"),
        all = soon(clients.join_all()) => assert_eq!(all, [200; 5]),
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_not_noticed_by_anybody() {
    let mut origin = Raw::run(100).await;
    let (_proxy, mut client) = before(&origin.url()).await;
    for _ in 0..3 {
        let serve = async {
            let mut served = origin.serve().await;
            served.answer("hi").await;
            served
        };
        let (mut served, reply) = tokio::join!(serve, client.get("/"));
        assert_eq!((reply.status, reply.text()), (200, "hi"));
        served.tasks.shutdown().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let mut origin = Raw::run(100).await;
    let (_proxy, mut client) = before(&origin.url()).await;
    client
        .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    let mut served = origin.serve().await;
    let (_, mut respond) = served.call().await;
    client.leave();
    let reason = soon(std::future::poll_fn(|cx| respond.poll_reset(cx))).await;
    assert_eq!(reason.unwrap(), Reason::CANCEL);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_the_answer_ends_it() {
    let mut origin = Raw::run(100).await;
    let (proxy, mut client) = before(&origin.url()).await;
    client
        .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    let mut served = origin.serve().await;
    let (_, mut respond) = served.call().await;
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    send.send_data(Bytes::from_static(b"first"), false).unwrap();
    client.leave();
    let reason = soon(std::future::poll_fn(|cx| send.poll_reset(cx))).await;
    assert_eq!(reason.unwrap(), Reason::CANCEL);
    // The others on the connection have not heard of it.
    let mut other = Client::to(proxy.address());
    let (_, reply) = tokio::join!(served.answer("still here"), other.get("/"));
    assert_eq!(reply.text(), "still here");
}

#[tokio::test]
async fn bodies_and_trailers_go_both_ways() {
    local(async {
        let mut origin = Raw::run(100).await;
        let (_proxy, client) = secured(&site(&origin.url())).await;
        let body = Bytes::from(vec![7; 3_000_000]);
        let request = Request::post("https://shop.example/")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let mut client = client.ready().await.unwrap();
        let (response, mut send) = client.send_request(request, false).unwrap();
        let trailers = |name: &'static str| {
            HeaderMap::from_iter([
                (http::HeaderName::from_static(name), "1".parse().unwrap()),
                (
                    http::HeaderName::from_static("x-forwarded-for"),
                    "1".parse().unwrap(),
                ),
            ])
        };
        let (gone, back) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let ask = async {
            pour(&mut send, body.clone(), &gone).await;
            send.send_trailers(trailers("x-sent")).unwrap();
            drained(response.await.unwrap().into_body()).await
        };
        let serve = async {
            let mut served = origin.serve().await;
            let (request, mut respond) = served.call().await;
            assert_eq!(request.headers()["te"], "trailers");
            let asked = drained(request.into_body()).await;
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            pour(&mut send, body.clone(), &back).await;
            send.send_trailers(trailers("x-sum")).unwrap();
            (asked, served)
        };
        let (answer, (asked, _served)) = soon(async { tokio::join!(ask, serve) }).await;
        assert!(asked.0 == body && answer.0 == body);
        let asked = asked.1.unwrap();
        assert_eq!(asked["x-sent"], "1");
        assert!(
            !asked.contains_key("x-forwarded-for"),
            "our word, not theirs"
        );
        assert_eq!(answer.1.unwrap()["x-sum"], "1");
    })
    .await;
}

#[tokio::test]
async fn each_side_may_speak_before_the_other_has_ended() {
    local(async {
        let mut origin = Raw::run(100).await;
        let (_proxy, client) = secured(&site(&origin.url())).await;
        let request = Request::post("https://shop.example/").body(()).unwrap();
        let mut client = client.ready().await.unwrap();
        let (response, mut send) = client.send_request(request, false).unwrap();
        let mut served = origin.serve().await;
        let (request, mut respond) = served.call().await;
        let mut asked = request.into_body();
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        let mut heard = soon(response).await.unwrap().into_body();
        for word in ["one", "two", "three"] {
            send.send_data(Bytes::from_static(word.as_bytes()), false)
                .unwrap();
            assert_eq!(soon(asked.data()).await.unwrap().unwrap(), word);
            answer
                .send_data(Bytes::from_static(word.as_bytes()), false)
                .unwrap();
            assert_eq!(soon(heard.data()).await.unwrap().unwrap(), word);
        }
        // The origin has the last word; the rest of the request is not wanted.
        answer.send_data(Bytes::new(), true).unwrap();
        assert_eq!(drained(heard).await.0, b"");
    })
    .await;
}

#[tokio::test]
async fn a_reader_who_does_not_read_holds_up_the_origin_and_nobody_else() {
    const SIZE: usize = 64 << 20;
    let mut origin = Raw::run(100).await;
    let (proxy, mut slow) = before(&origin.url()).await;
    slow.send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    let mut served = origin.serve().await;
    let (_, mut respond) = served.call().await;
    let gone = Arc::new(AtomicUsize::new(0));
    let mut pouring = JoinSet::new();
    pouring.spawn({
        let gone = Arc::clone(&gone);
        async move {
            let head = Response::builder()
                .header("content-length", SIZE)
                .body(())
                .unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            pour(&mut send, Bytes::from(vec![1; SIZE]), &gone).await;
            send.send_data(Bytes::new(), true).unwrap();
        }
    });
    let mut other = Client::to(proxy.address());
    let mut seen = usize::MAX;
    // Until it stands still.
    while seen != gone.load(Ordering::Relaxed) {
        seen = gone.load(Ordering::Relaxed);
        for _ in 0..50 {
            let (_, reply) = tokio::join!(served.answer("hi"), other.get("/"));
            assert_eq!(reply.text(), "hi");
        }
    }
    // The windows, and what the kernel keeps for a client on the loopback interface.
    assert!(seen < SIZE / 4, "{seen} bytes");
    let reply = slow.reply_to("GET").await;
    assert_eq!(reply.body.len(), SIZE);
    assert_eq!(metric(&proxy, "cirrus_upstream_connects_total").await, 1.0);
}

#[tokio::test]
async fn what_breaks_off_is_not_taken_for_whole() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for length in [Some("8"), None] {
        let mut origin = Raw::run(100).await;
        let (proxy, _) = before(&origin.url()).await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let get = b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";
        client.write_all(get).await.unwrap();
        let mut served = origin.serve().await;
        let (_, mut respond) = served.call().await;
        let mut head = Response::builder();
        if let Some(length) = length {
            head = head.header("content-length", length);
        }
        let head = head.body(()).unwrap();
        let mut send = respond.send_response(head, false).unwrap();
        send.send_data(Bytes::from_static(b"half"), false).unwrap();
        let mut read = Vec::new();
        while !read.windows(4).any(|four| four == b"half") {
            assert_ne!(soon(client.read_buf(&mut read)).await.unwrap(), 0);
        }
        if length.is_some() {
            send.send_reset(Reason::INTERNAL_ERROR);
        } else {
            served.tasks.shutdown().await;
        }
        // An error does as well.
        let _ = soon(client.read_to_end(&mut read)).await;
        assert!(!read.ends_with(b"0\r\n\r\n"), "a body that looks whole");
    }
}

#[tokio::test]
async fn an_origin_that_is_silent_is_given_up_in_time() {
    let mut origin = Raw::run(100).await;
    let timeouts = "timeouts = { first_byte = \"100ms\", idle = \"100ms\" }";
    let proxy = proxy::new(&site_with(&origin.url(), timeouts)).run().await;
    let mut client = Client::to(proxy.address());
    let (mut served, reply) = tokio::join!(origin.serve(), client.get("/"));
    assert_eq!(reply.status, 504);
    let (_, mut respond) = served.call().await;
    let reason = soon(std::future::poll_fn(|cx| respond.poll_reset(cx))).await;
    assert_eq!(reason.unwrap(), Reason::CANCEL);
    client
        .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    let (_, mut respond) = served.call().await;
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    send.send_data(Bytes::from_static(b"half"), false).unwrap();
    assert!(soon(client.reply_or_end("GET")).await.is_none());
}

#[tokio::test]
async fn an_origin_that_does_not_speak_it_is_a_502() {
    let origin = scripted(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    // Whether it hangs up first or is found out first is a matter of luck.
    let found = ["connection_terminated", "http_protocol_error"];
    for (url, words) in [
        (origin.url(), &found[..]),
        (nowhere(), &["connection_refused"]),
    ] {
        let (_proxy, mut client) = before(&url).await;
        let reply = client.get("/").await;
        assert_eq!(reply.status, 502);
        let status = reply.header("proxy-status");
        let is_said = |word: &&str| status == format!("cirrus; error={word}");
        assert!(words.iter().any(is_said), "{status}");
    }
}

#[tokio::test]
async fn a_switch_to_another_protocol_is_a_502() {
    let origin = Origin::new().over_http2().run().await;
    let (_proxy, mut client) = before(&origin.url()).await;
    let reply = client
        .get_with("/", "connection: upgrade\r\nupgrade: websocket\r\n")
        .await;
    assert_eq!(reply.status, 502);
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn without_tls_auto_is_http_1() {
    let origin = Origin::new().get("/", |_| reply("hi")).run().await;
    let toml = site(&origin.url()).replace("http2", "auto");
    let proxy = proxy::new(&toml).run().await;
    let reply = Client::to(proxy.address()).get("/").await;
    assert_eq!(
        (reply.text(), reply.header("via")),
        ("hi", "1.1 cirrus".into())
    );
}

#[tokio::test]
async fn head_no_content_and_statuses_arrive_as_they_are() {
    let origin = Origin::new()
        .get("/", |_| reply("hello").with("x-a", "1"))
        .get("/none", |_| reply("").with_status(204))
        .get("/gone", |_| reply("gone").with_status(410))
        .over_http2()
        .run()
        .await;
    let (_proxy, mut client) = before(&origin.url()).await;
    let head = client.ask("HEAD", "/", "", b"").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, "5".into())
    );
    assert_eq!(client.get("/none").await.status, 204);
    let gone = client.get("/gone").await;
    assert_eq!((gone.status, gone.text()), (410, "gone"));
    let posted = client.ask("POST", "/", "", b"body").await;
    assert_eq!((posted.text(), posted.header("x-a")), ("hello", "1".into()));
    let asked = origin.asked();
    assert_eq!(asked[3].header("content-length"), "4");
    assert_eq!(asked[3].body.as_deref(), Some(&b"body"[..]));
}

#[tokio::test]
async fn a_cluster_that_changes_its_protocol_speaks_it_from_then_on() {
    let origin = Origin::new().get("/", |_| reply("h1")).run().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/").await.status, 502);
    proxy.reconfigure(&site(&origin.url()).replace("http2", "http1"));
    soon(async {
        while proxy.revision() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.get("/").await.text(), "h1");
}
