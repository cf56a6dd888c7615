//! A user's own layers, and the engine as a service in somebody else's program.

use std::sync::Arc;

use cirrus_core::config::{Config, ConfigSource, Format};
use cirrus_core::downstream::Connection;
use cirrus_core::testing::{Client, Describe, Origin, proxy, reply};
use cirrus_core::{Body, Request, Response, Server, Updates};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::{Service, ServiceExt};

use crate::site;

/// Adds its name to the path it saw, on the way back.
fn naming(
    name: &'static str,
) -> impl tower_layer::Layer<
    cirrus_core::server::Plugged,
    Service = impl Service<Request, Response = Response, Error = cirrus_core::BoxError, Future: Send>
              + Clone
              + Send
              + Sync
              + 'static,
> + Send
+ 'static {
    tower_layer::layer_fn(move |inner: cirrus_core::server::Plugged| {
        tower::service_fn(move |request: Request| {
            let mut inner = inner.clone();
            async move {
                let seen = format!(
                    "{name} {} {}",
                    request.uri(),
                    request.extensions().get::<Arc<Connection>>().is_some()
                );
                Ok(inner.call(request).await?.with("x-seen", &seen))
            }
        })
    })
}

#[tokio::test]
async fn a_layer_sees_requests_after_hygiene_and_responses_before_the_client() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let proxy = proxy::new(&site(&origin.url()))
        .with(|builder| builder.layer(naming("outer")).layer(naming("inner")))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    let response = client.get("/a/%2e%2e/b").await;
    assert_eq!(
        (response.text(), response.header("x-seen")),
        ("ok", "inner /b true, outer /b true".into())
    );
    origin.stop();
    let failed = client.get("/").await;
    assert_eq!(
        (failed.status, failed.header("x-seen")),
        (502, "inner / true, outer / true".into())
    );
    let metrics = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    assert!(
        metrics
            .text()
            .contains(r#"cirrus_requests_total{site="*",status="2xx",cache="none"} 1"#),
        "{}",
        metrics.text()
    );
}

#[tokio::test]
async fn a_layers_own_answer_and_its_errors_reach_the_client() {
    let refusing = tower_layer::layer_fn(|inner: cirrus_core::server::Plugged| {
        tower::service_fn(move |request: Request| {
            let mut inner = inner.clone();
            async move {
                match request.uri().path() {
                    "/mine" => Ok(http::Response::new(http_body_util::Full::new(
                        bytes::Bytes::from("mine"),
                    ))),
                    "/fail" => Err("broken".into()),
                    _ => {
                        let (parts, body) = inner.call(request).await?.into_parts();
                        let body = body.collect().await?.to_bytes();
                        Ok::<_, cirrus_core::BoxError>(http::Response::from_parts(
                            parts,
                            body.into(),
                        ))
                    }
                }
            }
        })
    });
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let proxy = proxy::new(&site(&origin.url()))
        .with(|builder| builder.layer(refusing))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/mine").await.text(), "mine");
    assert_eq!(client.get("/").await.text(), "ok");
    assert_eq!(client.get("/fail").await.status, 500);
}

struct One(String);

impl ConfigSource for One {
    fn watch(&self) -> Updates<Config> {
        let config = Config::parse(&self.0, Format::Toml).unwrap().0;
        Box::pin(futures_util::stream::iter([Ok(config)]).chain(futures_util::stream::pending()))
    }
}

#[tokio::test]
async fn serves_as_a_service_of_another_program() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let proxy = Server::builder()
        .config(One(site(&origin.url())))
        .build()
        .await
        .unwrap();
    let request = || {
        http::Request::get("http://shop.example/x")
            .body(Body::empty())
            .unwrap()
    };
    let response = proxy.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "ok"
    );
    let connection = Connection::plain(
        "192.0.2.9:1".parse().unwrap(),
        "192.0.2.1:80".parse().unwrap(),
    )
    .secured(None);
    let response = proxy.on(connection).answer(request()).await;
    assert_eq!(response.status(), 200);
    let asked = origin.asked();
    assert_eq!(
        (
            asked[1].header("x-forwarded-for"),
            asked[1].header("x-forwarded-proto")
        ),
        ("192.0.2.9".into(), "https".into())
    );
}

#[tokio::test]
async fn nothing_is_said_in_the_middle_of_a_response_that_reads_its_request() {
    let echo = tower_layer::layer_fn(|_: cirrus_core::server::Plugged| {
        tower::service_fn(move |request: Request| async move {
            Ok::<_, cirrus_core::BoxError>(Response::new(request.into_body()))
        })
    });
    let proxy = proxy::new(&site("http://127.0.0.1:1"))
        .with(|builder| builder.layer(echo))
        .run()
        .await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut heard = [0; 4096];
    let length = stream.read(&mut heard).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut rest = heard[..length].to_vec();
    stream.read_to_end(&mut rest).await.unwrap();
    let text = String::from_utf8(rest).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    // Whoever sees a response instead of `100 Continue` may keep its body to itself: nothing can follow it.
    assert!(text.contains("connection: close\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nhello"), "{text}");
}

#[tokio::test]
async fn a_body_that_is_kept_does_not_get_the_next_ones_content() {
    let kept = Arc::new(tokio::sync::Mutex::new(None::<Body>));
    let keeping = tower_layer::layer_fn(move |_: cirrus_core::server::Plugged| {
        let kept = Arc::clone(&kept);
        tower::service_fn(move |request: Request| {
            let kept = Arc::clone(&kept);
            async move {
                let (mut kept, mut body) = (kept.lock().await, request.into_body());
                let seen = match kept.as_mut() {
                    Some(old) => old.frame().await.transpose()?,
                    None => body.frame().await.transpose()?,
                };
                let seen = seen.map(|frame| frame.into_data().unwrap_or_default());
                *kept = Some(body);
                Ok::<_, cirrus_core::BoxError>(Response::new(seen.unwrap_or_default().into()))
            }
        })
    });
    let proxy = proxy::new(&site("http://127.0.0.1:1"))
        .with(|builder| builder.layer(keeping))
        .run()
        .await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let mut heard = [0; 4096];
    for (content, expected) in [("first", "first"), ("other", "")] {
        let head =
            b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
        stream.write_all(head).await.unwrap();
        if !expected.is_empty() {
            let length = stream.read(&mut heard).await.unwrap();
            assert!(heard[..length].starts_with(b"HTTP/1.1 100 "));
        }
        stream.write_all(content.as_bytes()).await.unwrap();
        let length = stream.read(&mut heard).await.unwrap();
        let text = String::from_utf8_lossy(&heard[..length]);
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{expected}")), "{text}");
    }
}
