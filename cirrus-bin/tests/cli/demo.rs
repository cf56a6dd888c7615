//! `cirrus demo`.

use std::net::{SocketAddr, TcpListener};

use cirrus_core::testing::{Client, Reply};

use crate::support::{Cirrus, refused};

struct Demo {
    cirrus: Cirrus,
    edge: SocketAddr,
}

async fn demo() -> Demo {
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut cirrus = Cirrus::start(".".as_ref(), &arguments);
    let edge = cirrus.printed("edge    http://").await.parse().unwrap();
    Demo { cirrus, edge }
}

impl Demo {
    async fn get(&self, path: &str, lines: &str) -> Reply {
        Client::to(self.edge).get_with(path, lines).await
    }
}

#[tokio::test]
async fn the_second_request_is_a_hit() {
    let demo = demo().await;
    let first = demo.get("/fresh", "").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("cache-status"), "cirrus; fwd=uri-miss; stored");
    let second = demo.get("/fresh", "").await;
    assert_eq!(second.text(), first.text());
    assert!(
        second
            .header("cache-status")
            .starts_with("cirrus; hit; ttl="),
        "{second:?}"
    );
    assert!(second.header("age").parse::<u64>().is_ok(), "{second:?}");
}

#[tokio::test]
async fn languages_have_variants_and_private_pages_are_not_kept() {
    let demo = demo().await;
    for (language, greeting) in [
        ("de", "Guten Tag!"),
        ("fr", "Bonjour !"),
        ("de", "Guten Tag!"),
    ] {
        let reply = demo
            .get("/vary", &format!("Accept-Language: {language}\r\n"))
            .await;
        assert!(reply.text().starts_with(greeting), "{reply:?}");
    }
    let (first, second) = (
        demo.get("/private", "").await,
        demo.get("/private", "").await,
    );
    assert_ne!(first.text(), second.text());
    assert_eq!(demo.get("/error", "").await.status, 500);
}

#[tokio::test]
async fn the_large_page_comes_from_memory_after_the_first_time() {
    let demo = demo().await;
    let first = demo.get("/large", "").await;
    assert_eq!(first.body.len(), 64 << 20);
    // Also once it is whole and has been given its place among the others.
    for _ in 0..2 {
        let again = demo.get("/large", "").await;
        assert!(
            again.header("cache-status").starts_with("cirrus; hit"),
            "{:?}",
            again.headers
        );
        assert!(again.body == first.body, "the same bytes");
    }
}

#[tokio::test]
async fn readers_of_the_slow_page_wait_together() {
    let demo = demo().await;
    let (one, other) = tokio::join!(demo.get("/slow", ""), demo.get("/slow", ""));
    assert_eq!(one.text(), other.text());
}

#[tokio::test]
async fn a_signal_ends_it_cleanly() {
    for signal in ["INT", "TERM"] {
        let mut demo = demo().await;
        demo.cirrus.signal(signal);
        assert!(demo.cirrus.ended().await.success(), "{signal}");
        refused(demo.edge).await;
    }
}

#[tokio::test]
async fn a_taken_port_is_replaced_by_a_free_one() {
    // Whoever has it, the demo does not get it.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let mut cirrus = Cirrus::start(".".as_ref(), &["demo", "--admin", "127.0.0.1:0"]);
    let line = cirrus.printed_line("edge    http://").await;
    assert!(
        line.ends_with("(port 8080 is taken)") && !line.contains(":8080"),
        "{line}"
    );
}
