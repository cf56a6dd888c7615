//! Clients that do not speak TLS where it is spoken, and the other way round.

use cirrus_core::testing::{Client, Origin, certs, proxy, reply};
use cirrus_tls::Fixed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{h1, shake};
use crate::{listener, soon};

#[tokio::test]
async fn plain_http_is_told_what_is_spoken_here() {
    let origin = Origin::new().get("/", |_| reply("hello")).run().await;
    let pair = certs::for_names(&["shop.example"]);
    let proxy = listener(&origin, Fixed::new(pair.certificate())).await;
    let response = Client::to(proxy.address()).get("/").await;
    assert_eq!((response.status, response.closes), (400, true));
    assert!(
        response.text().to_lowercase().contains("https"),
        "{}",
        response.text()
    );
    assert!(response.header("content-type").starts_with("text/plain"));
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn nonsense_ends_its_own_connection_only() {
    let origin = Origin::new().get("/", |_| reply("hello")).run().await;
    let pair = certs::for_names(&["shop.example"]);
    let proxy = listener(&origin, Fixed::new(pair.certificate())).await;
    for nonsense in [
        &b""[..],
        b"\0\0\0",
        &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &[22; 70_000],
        b"PRI * HTTP/2.0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        // The server may have closed before it has read everything.
        let _ = stream.write_all(nonsense).await;
        let _ = stream.shutdown().await;
        let _ = soon(stream.read_to_end(&mut Vec::new())).await;
    }
    let mut client = h1(proxy.address(), &pair.der, "shop.example").await;
    assert_eq!(client.get("/").await.text(), "hello");
}

#[tokio::test]
async fn tls_is_no_plain_http() {
    let origin = Origin::new().get("/", |_| reply("hello")).run().await;
    let proxy = proxy::to(&origin).run().await;
    let pair = certs::for_names(&["shop.example"]);
    assert!(
        shake(proxy.address(), &pair.der, "shop.example", &[])
            .await
            .is_err()
    );
    assert_eq!(Client::to(proxy.address()).get("/").await.text(), "hello");
}
