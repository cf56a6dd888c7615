//! `cirrus run`: changes while it runs, signals, TLS, the access log.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use cirrus_core::Body;
use cirrus_core::testing::{Client, Origin, reply};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::support::{Cirrus, refused, until};

/// A configuration that can be edited, and the program that follows it.
struct Edge {
    directory: TempDir,
    cirrus: Cirrus,
}

const LISTEN: &str = r#"
    listen = [{ address = "127.0.0.1:0" }]
    admin = { address = "127.0.0.1:0" }
"#;

impl Edge {
    /// Starts with `rest` behind the listeners.
    fn start(rest: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("cirrus.toml"),
            format!("{LISTEN}{rest}"),
        )
        .unwrap();
        // From elsewhere, so that relative paths prove where they start.
        let file = directory.path().join("cirrus.toml");
        let cirrus = Cirrus::start(".".as_ref(), &["run", "--config", file.to_str().unwrap()]);
        Self { directory, cirrus }
    }

    fn edit(&self, rest: &str) {
        std::fs::write(self.path("cirrus.toml"), format!("{LISTEN}{rest}")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn client(&mut self) -> Client {
        Client::to(self.cirrus.address().await)
    }
}

fn says(text: &str) -> String {
    format!("site = [{{ hosts = [\"*\"], route = [{{ respond = {{ body = \"{text}\" }} }}] }}]\n")
}

fn to(origin: &str) -> String {
    format!("site = [{{ hosts = [\"*\"], origin = [{{ url = \"{origin}\" }}] }}]\n")
}

#[tokio::test]
async fn an_edit_takes_effect_and_a_bad_one_changes_nothing() {
    let mut edge = Edge::start(&says("one"));
    let (address, admin) = (edge.cirrus.address().await, edge.cirrus.admin().await);
    let ask = async || Client::to(address).get("/").await.text().to_owned();
    let state = async || -> Value {
        serde_json::from_slice(
            &Client::to(admin)
                .host("localhost")
                .get("/api/v1/config")
                .await
                .body,
        )
        .unwrap()
    };
    assert_eq!(ask().await, "one");

    edge.edit(&says("two"));
    until("the new text", async || {
        (ask().await == "two").then_some(())
    })
    .await;
    let applied = state().await;
    assert_eq!(
        (&applied["revision"], &applied["refused"]),
        (&2.into(), &Value::Null)
    );

    edge.edit("sites = 1\n");
    let refused = until("a refusal", async || {
        Some(state().await).filter(|state| !state["refused"].is_null())
    })
    .await;
    assert_eq!(refused["revision"], 2);
    let error = refused["refused"]["error"].as_str().unwrap();
    assert!(error.contains("did you mean `site`"), "{error}");
    assert_eq!(ask().await, "two");

    edge.edit(&says("three"));
    until("the mended text", async || {
        (ask().await == "three").then_some(())
    })
    .await;
    assert_eq!(state().await["refused"], Value::Null);
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_refuses_what_is_new() {
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, gate) = (Arc::clone(&asked), Arc::clone(&go_on));
    let origin = Origin::new().later("/", move |_| {
        let (told, gate) = (Arc::clone(&told), Arc::clone(&gate));
        async move {
            told.notify_one();
            gate.notified().await;
            reply(Body::from(Bytes::from(vec![b'x'; 1 << 20])))
        }
    });
    let origin = origin.run().await;
    let mut edge = Edge::start(&to(&origin.url()));
    let address = edge.cirrus.address().await;
    let mut client = edge.client().await;
    client
        .send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    asked.notified().await;

    edge.cirrus.signal("TERM");
    refused(address).await;
    go_on.notify_one();
    let reply = client.reply_to("GET").await;
    assert_eq!((reply.status, reply.body.len()), (200, 1 << 20));
    assert!(reply.closes, "{:?}", reply.headers);
    assert!(edge.cirrus.ended().await.success());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let asked = Arc::new(Notify::new());
    let told = Arc::clone(&asked);
    let origin = Origin::new().later("/", move |_| {
        told.notify_one();
        std::future::pending()
    });
    let origin = origin.run().await;
    let mut edge = Edge::start(&to(&origin.url()));
    let address = edge.cirrus.address().await;
    let mut client = edge.client().await;
    client
        .send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    asked.notified().await;

    edge.cirrus.signal("TERM");
    refused(address).await;
    edge.cirrus.signal("INT");
    assert_eq!(edge.cirrus.ended().await.code(), Some(1));
    let line = edge.cirrus.logged("cirrus: a second signal ").await;
    assert_eq!(line, "(SIGINT)");
}

#[tokio::test]
async fn the_access_log_stands_beside_the_configuration() {
    let log = "access_log = { format = \"json\", file = \"access.log\" }\n";
    let mut edge = Edge::start(&format!("{log}{}", says("one")));
    edge.client().await.get("/page").await;
    edge.cirrus.signal("TERM");
    assert!(edge.cirrus.ended().await.success());
    let lines = std::fs::read_to_string(edge.path("access.log")).unwrap();
    let line: Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!(line["status"], 200, "{line}");
}

#[tokio::test]
async fn serves_tls_with_http_2() {
    let rest = says("secret") + "certificates = { self_signed = true }\n";
    let rest = rest + "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n";
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cirrus.toml"), rest).unwrap();
    let mut cirrus = Cirrus::start(directory.path(), &["run", "--config", "cirrus.toml"]);
    let address = cirrus.logged("listening on https://").await;
    let (_, port) = address.split_once(':').unwrap();
    let resolve = format!("shop.example:{port}:127.0.0.1");
    let url = format!("https://shop.example:{port}/");
    let output = Command::new("curl")
        .args([
            "-sk",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--resolve",
            &resolve,
            "-w",
            " over %{http_version}",
            &url,
        ])
        .output()
        .expect("curl");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "secret over 2");
}
