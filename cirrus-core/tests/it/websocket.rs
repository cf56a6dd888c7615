//! WebSocket with a real client and a real server, over HTTP/1.1 and over HTTP/2 (RFC 8441).

#![expect(clippy::disallowed_methods, reason = "a test's own runtime ends them")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::testing::{Client, Describe, Origin, proxy, reply, scripted};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::site;

/// A server that gives every message back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    std::mem::drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            std::mem::drop(tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if !message.is_close() {
                        socket.send(message).await.unwrap();
                    }
                }
            }));
        }
    }));
    address
}

/// An HTTP/2 client of a proxy without TLS.
async fn client(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) =
        http2::handshake(hyper_util::rt::TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    std::mem::drop(tokio::spawn(connection));
    client
}

async fn connect(
    client: &mut SendRequest<Empty<Bytes>>,
    protocol: Option<&'static str>,
) -> http::Response<Incoming> {
    let request = http::Request::connect("http://shop.example/chat")
        .header("sec-websocket-version", "13")
        .header("x-other", "1");
    let mut request = request.body(Empty::new()).unwrap();
    if let Some(protocol) = protocol {
        request
            .extensions_mut()
            .insert(Protocol::from_static(protocol));
    } else {
        *request.uri_mut() = "shop.example:80".parse().unwrap();
    }
    let sent = client.send_request(request);
    tokio::time::timeout(Duration::from_secs(20), sent)
        .await
        .unwrap()
        .unwrap()
}

/// Talks for a while, and says goodbye.
async fn talk(mut socket: WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>) {
    let talk = async {
        for length in [0, 1, 125, 70_000, 300_000] {
            let message = Message::binary(vec![7; length]);
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
        while let Some(message) = socket.next().await {
            message.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), talk)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_websocket_over_http1() {
    let origin = echo().await;
    let proxy = proxy::new(&site(&format!("http://{origin}"))).run().await;
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async("ws://shop.example/chat", stream)
        .await
        .unwrap();
    talk(socket).await;
}

#[tokio::test]
async fn a_websocket_over_http2() {
    let origin = echo().await;
    let proxy = proxy::new(&site(&format!("http://{origin}"))).run().await;
    let mut client = client(proxy.address()).await;
    for _ in 0..2 {
        let response = connect(&mut client, Some("websocket")).await;
        assert_eq!(response.status(), 200);
        for field in ["upgrade", "connection", "sec-websocket-accept"] {
            assert!(!response.headers().contains_key(field), "{response:?}");
        }
        let stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        talk(WebSocketStream::from_raw_socket(stream, Role::Client, None).await).await;
    }
}

#[tokio::test]
async fn a_tunnel_is_no_idle_connection() {
    let origin = echo().await;
    let toml = format!(
        "[limits]\nidle_time = \"100ms\"\nheader_time = \"100ms\"\n{}",
        site(&format!("http://{origin}"))
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = client(proxy.address()).await;
    let response = connect(&mut client, Some("websocket")).await;
    let stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    // Others come and are shown out meanwhile: their time is over, and the second of farewell that
    // a connection gets is over too.
    for _ in 0..13 {
        let mut idle = Client::to(proxy.address());
        idle.send(b"").await;
        assert!(idle.is_closed().await);
    }
    talk(socket).await;
}

#[tokio::test]
async fn a_refusal_is_passed_on() {
    let answer = |_| reply("not here").with_status(404);
    let origin = Origin::new().get("*", answer).run().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let mut client = client(proxy.address()).await;
    let response = connect(&mut client, Some("websocket")).await;
    assert_eq!(response.status(), 404);
    let page = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(page, "not here");
    let asked = &origin.asked()[0];
    assert_eq!((&*asked.method, &*asked.target), ("GET", "/chat"));
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("x-other", "1"),
        ("host", "shop.example"),
    ] {
        assert_eq!(asked.header(name), value);
    }
    assert_eq!(asked.header("sec-websocket-key").len(), 24);
}

/// To the client any 2xx would say that the tunnel is there.
#[tokio::test]
async fn an_origin_that_stays_with_http_is_502() {
    let origin = Origin::new().get("*", |_| reply("hello")).run().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let mut client = client(proxy.address()).await;
    assert_eq!(connect(&mut client, Some("websocket")).await.status(), 502);
}

#[tokio::test]
async fn an_answer_to_another_key_is_502() {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let origin = scripted(switch).await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let mut client = client(proxy.address()).await;
    assert_eq!(connect(&mut client, Some("websocket")).await.status(), 502);
}

#[tokio::test]
async fn other_tunnels_are_refused() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let mut client = client(proxy.address()).await;
    let other = connect(&mut client, Some("connect-udp")).await;
    assert_eq!(other.status(), 501);
    let page = other.into_body().collect().await.unwrap().to_bytes();
    assert!(page.starts_with(b"501 "), "{page:?}");
    assert_eq!(connect(&mut client, None).await.status(), 405);
    assert_eq!(origin.count(), 0);
}
