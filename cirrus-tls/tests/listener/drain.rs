//! The end of a listener with TLS.

use std::sync::Arc;

use cirrus_core::testing::{Origin, certs, reply};
use cirrus_tls::Fixed;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::client::{get, h1, h2, whole};
use crate::{listener, soon};

#[tokio::test]
async fn a_stream_in_flight_is_finished_and_no_other_is_begun() {
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
        .get("/", |_| reply("hello"))
        .run()
        .await;
    let pair = certs::for_names(&["shop.example"]);
    let proxy = listener(&origin, Fixed::new(pair.certificate())).await;
    let address = proxy.address();
    let mut client = h2(address, &pair.der, "shop.example").await;
    let mut idle = h2(address, &pair.der, "shop.example").await;
    let mut old = h1(address, &pair.der, "shop.example").await;
    assert_eq!(old.get("/").await.text(), "hello");
    assert_eq!(idle.get("https://shop.example/").await.text(), "hello");
    let slow = client.ask(get("https://shop.example/slow")).await.unwrap();
    soon(async {
        while origin.count() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let finish = async {
        while TcpStream::connect(address).await.is_ok() {}
        // GOAWAY: a new stream is refused, here by the client itself as soon as it has heard.
        while client.ask(get("https://shop.example/")).await.is_ok() {
            tokio::task::yield_now().await;
        }
        is_over(idle.end().await);
        assert!(old.is_closed().await);
        go.notify_one();
        let answer = whole(slow).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "done"));
        is_over(client.end().await);
    };
    soon(async { tokio::join!(proxy.shutdown(), finish) }).await;
}

/// The client's own farewell may find the connection closed already.
fn is_over(end: Result<(), h2::Error>) {
    assert!(end.as_ref().err().is_none_or(h2::Error::is_io), "{end:?}");
}
