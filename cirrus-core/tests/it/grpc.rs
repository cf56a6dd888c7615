//! gRPC through the proxy: a server and a client of tonic, which speak to each other as if nobody were between them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use cirrus_core::testing::proxy;
use futures_util::{Stream, StreamExt, stream};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

use crate::http2::{dial, secure};
use crate::nowhere;
use crate::upstream::metric;

/// Messages are bytes.
#[derive(Clone, Copy, Default)]
struct Plain;

/// A server of calls of every kind; it says when a call of `Wait` has come, and when it was given up.
#[derive(Clone)]
struct Echo {
    news: UnboundedSender<&'static str>,
}

/// Tells when it is dropped.
struct Leaves(UnboundedSender<&'static str>);

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

// === impl Plain ===

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

// === impl Leaves ===

impl Drop for Leaves {
    fn drop(&mut self) {
        let _ = self.0.send("given up");
    }
}

// === impl Echo ===

impl Echo {
    /// One message for one; `missing` is not found.
    async fn unary(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        if request.get_ref() == "missing" {
            return Err(Status::not_found("nothing of that name, 100 %"));
        }
        let mut response = Response::new(request.get_ref().clone());
        if let Some(value) = request.metadata().get("x-asked") {
            response.metadata_mut().insert("x-answered", value.clone());
        }
        Ok(response)
    }

    /// Each byte in a message of its own; what is not a digit is an error.
    async fn split(request: Request<Bytes>) -> Result<Response<Messages>, Status> {
        let bytes = request.into_inner();
        let messages = bytes.into_iter().map(|byte| {
            if byte.is_ascii_digit() {
                Ok(Bytes::from(vec![byte]))
            } else {
                Err(Status::data_loss("not a digit"))
            }
        });
        Ok(Response::new(
            stream::iter(messages.collect::<Vec<_>>()).boxed(),
        ))
    }

    /// All messages in one.
    async fn join(request: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
        let mut messages = request.into_inner();
        let mut all = Vec::new();
        while let Some(message) = messages.message().await? {
            all.extend_from_slice(&message);
        }
        Ok(Response::new(all.into()))
    }

    /// Each message comes back at once.
    async fn chat(request: Request<Streaming<Bytes>>) -> Result<Response<Messages>, Status> {
        Ok(Response::new(request.into_inner().boxed()))
    }

    /// Never answers.
    async fn wait(news: UnboundedSender<&'static str>) -> Result<Response<Bytes>, Status> {
        let _ = news.send("come");
        let _leaves = Leaves(news);
        std::future::pending().await
    }
}

impl tonic::server::NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl tower::Service<http::Request<tonic::body::Body>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let news = self.news.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Plain);
            Ok(match request.uri().path() {
                "/test.Echo/Unary" => grpc.unary(service_fn(Self::unary), request).await,
                "/test.Echo/Split" => {
                    grpc.server_streaming(service_fn(Self::split), request)
                        .await
                }
                "/test.Echo/Join" => grpc.client_streaming(service_fn(Self::join), request).await,
                "/test.Echo/Chat" => grpc.streaming(service_fn(Self::chat), request).await,
                _ => {
                    let wait = move |_: Request<Bytes>| Self::wait(news.clone());
                    grpc.unary(service_fn(wait), request).await
                }
            })
        })
    }
}

/// A server, a proxy before it, and a client of that.
struct World {
    proxy: proxy::Running,
    client: tonic::client::Grpc<Channel>,
    news: UnboundedReceiver<&'static str>,
    _serving: JoinSet<()>,
}

// === impl World ===

impl World {
    async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, news) = unbounded_channel();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let server = Server::builder().add_service(Echo { news: sender });
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            server.serve_with_incoming(incoming).await.unwrap();
        });
        let (proxy, client) = before(&url, "").await;
        Self {
            proxy,
            client,
            news,
            _serving: serving,
        }
    }

    async fn heard(&mut self) -> &'static str {
        soon(self.news.recv()).await.unwrap()
    }

    async fn unary(&mut self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        call(&mut self.client, "/test.Echo/Unary", request).await
    }
}

/// A proxy before `url`, and a client of it.
async fn before(url: &str, more: &str) -> (proxy::Running, tonic::client::Grpc<Channel>) {
    let (proxy, root) = secure(&format!(
        "[[site]]\nhosts = [\"*\"]\nprotocol = \"http2\"\n{more}\n[[site.route]]\npath = \"/test.Echo/*\"\norigin = [{{ url = \"{url}\" }}]\n"
    ))
    .await;
    let address = proxy.address();
    let connector = service_fn(move |_: http::Uri| {
        let root = root.clone();
        async move { Ok::<_, Infallible>(TokioIo::new(dial(address, root).await)) }
    });
    let channel = Endpoint::from_static("http://shop.example")
        .origin("https://shop.example".parse().unwrap())
        .connect_with_connector(connector)
        .await
        .unwrap();
    (proxy, tonic::client::Grpc::new(channel))
}

async fn call(
    client: &mut tonic::client::Grpc<Channel>,
    path: &'static str,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Status> {
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    soon(client.unary(request, path, Plain)).await
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("an end in time")
}

fn message(text: &'static str) -> Request<Bytes> {
    Request::new(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn one_message_for_one() {
    let mut world = World::new().await;
    let mut request = message("hello");
    request
        .metadata_mut()
        .insert("x-asked", "1".parse().unwrap());
    let response = world.unary(request).await.unwrap();
    assert_eq!(response.metadata().get("x-answered").unwrap(), "1");
    assert_eq!(response.into_inner(), "hello");
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let mut world = World::new().await;
    let large: Bytes = (0..3_000_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    let response = world.unary(Request::new(large.clone())).await.unwrap();
    assert!(response.into_inner() == large);
}

#[tokio::test]
async fn an_error_of_the_server_is_the_clients_error() {
    let mut world = World::new().await;
    let status = world.unary(message("missing")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "nothing of that name, 100 %")
    );
}

#[tokio::test]
async fn many_messages_for_one_and_an_error_behind_them() {
    let mut world = World::new().await;
    world.client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/test.Echo/Split");
    let asked = world.client.server_streaming(message("123x"), path, Plain);
    let mut messages = soon(asked).await.unwrap().into_inner();
    for digit in ["1", "2", "3"] {
        assert_eq!(soon(messages.message()).await.unwrap().unwrap(), digit);
    }
    let status = soon(messages.message()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::DataLoss, "not a digit")
    );
}

#[tokio::test]
async fn one_message_for_many() {
    let mut world = World::new().await;
    world.client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/test.Echo/Join");
    let words = stream::iter(["a", "b", "c"].map(|word| Bytes::from_static(word.as_bytes())));
    let asked = world
        .client
        .client_streaming(Request::new(words), path, Plain);
    assert_eq!(soon(asked).await.unwrap().into_inner(), "abc");
}

#[tokio::test]
async fn each_message_is_answered_before_the_next_is_sent() {
    let mut world = World::new().await;
    world.client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/test.Echo/Chat");
    let (sender, mut words) = unbounded_channel::<Bytes>();
    let words = stream::poll_fn(move |cx| words.poll_recv(cx));
    let asked = world.client.streaming(Request::new(words), path, Plain);
    let mut answers = soon(asked).await.unwrap().into_inner();
    for number in 0..100 {
        let word = Bytes::from(format!("word {number}"));
        sender.send(word.clone()).unwrap();
        assert_eq!(soon(answers.message()).await.unwrap().unwrap(), word);
    }
    drop(sender);
    assert!(soon(answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_call_that_is_given_up_is_given_up_at_the_server() {
    let mut world = World::new().await;
    let mut client = world.client.clone();
    let mut calls = JoinSet::new();
    calls.spawn(async move {
        let _ = call(&mut client, "/test.Echo/Wait", message("")).await;
    });
    assert_eq!(world.heard().await, "come");
    calls.shutdown().await;
    assert_eq!(world.heard().await, "given up");
    // The connection goes on.
    assert_eq!(world.unary(message("x")).await.unwrap().into_inner(), "x");
    let connects = metric(&world.proxy, "cirrus_upstream_connects_total").await;
    assert_eq!(connects, 1.0);
}

#[tokio::test]
async fn a_deadline_reaches_the_server() {
    let mut world = World::new().await;
    let mut request = message("");
    request.set_timeout(Duration::from_millis(200));
    let status = call(&mut world.client, "/test.Echo/Wait", request)
        .await
        .unwrap_err();
    assert!(
        matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded),
        "{status}"
    );
    assert_eq!(world.heard().await, "come");
    assert_eq!(world.heard().await, "given up");
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let world = World::new().await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let mut client = world.client.clone();
        calls.spawn(async move {
            let answer = call(&mut client, "/test.Echo/Unary", message("hello")).await;
            answer.unwrap().into_inner()
        });
    }
    assert!(
        soon(calls.join_all())
            .await
            .iter()
            .all(|one| one == "hello")
    );
    let connects = metric(&world.proxy, "cirrus_upstream_connects_total").await;
    assert_eq!(connects, 1.0);
}

#[tokio::test]
async fn what_goes_wrong_here_is_told_as_grpc_tells_it() {
    let (_proxy, mut client) = before(&nowhere(), "").await;
    for (path, code) in [
        ("/test.Echo/Unary", Code::Unavailable),
        ("/test.Other/Unary", Code::Unimplemented),
    ] {
        let status = call(&mut client, path, message("hello")).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(!status.message().is_empty());
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_in_time_is_unavailable() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (_proxy, mut client) = before(&url, "timeouts = { connect = \"100ms\" }").await;
    let status = call(&mut client, "/test.Echo/Unary", message(""))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}
