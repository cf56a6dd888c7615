//! What is spoken to origins with TLS. They are verified against the system's roots, which the environment names: so
//! each test runs in a process of its own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use cirrus_core::testing::{Client, certs, proxy};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Says that this process has been started for one test.
const IS_CHILD: &str = "CIRRUS_TEST_CHILD";

/// An origin with TLS that answers in the protocol that was agreed on, which is what it says.
struct Origin {
    url: String,
    _serving: JoinSet<()>,
}

// === impl Origin ===

impl Origin {
    async fn run(alpn: &[&[u8]]) -> Self {
        let acceptor = acceptor(alpn);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream).await;
                    }
                });
            }
        });
        Self {
            url,
            _serving: serving,
        }
    }
}

/// With a certificate that this process trusts.
fn acceptor(alpn: &[&[u8]]) -> TlsAcceptor {
    let authority = certs::Authority::new();
    std::fs::write(std::env::var("SSL_CERT_FILE").unwrap(), authority.pem()).unwrap();
    let pair = authority.issue(&["shop.example"]);
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.der.clone(), authority.der()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn answer(mut stream: TlsStream<TcpStream>) {
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.uri().scheme_str(), Some("https"));
            let mut send = respond
                .send_response(http::Response::new(()), false)
                .unwrap();
            send.send_data(Bytes::from_static(b"h2"), true).unwrap();
        }
        return;
    }
    let mut read = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut read).await {
        if read.ends_with(b"\r\n\r\n") {
            let asked = String::from_utf8(std::mem::take(&mut read)).unwrap();
            let answer: &[u8] = match asked.contains("upgrade: echo") {
                true => b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n",
                false => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh1",
            };
            stream.write_all(answer).await.unwrap();
        }
    }
}

async fn before(origin: &Origin, protocol: &str) -> (proxy::Running, Client) {
    let proxy = proxy::new(&format!(
        "[[site]]\nhosts = [\"*\"]\nprotocol = \"{protocol}\"\norigin = [{{ url = \"{}\", sni = \"shop.example\" }}]\n",
        origin.url
    ))
    .run()
    .await;
    let client = Client::to(proxy.address());
    (proxy, client)
}

/// What each way to ask leads to.
async fn answers(alpn: &[&[u8]]) -> Vec<(u16, String)> {
    let origin = Origin::run(alpn).await;
    let mut answers = Vec::new();
    for protocol in ["http1", "auto", "http2"] {
        let (_proxy, mut client) = before(&origin, protocol).await;
        // The second one knows what the first has found out.
        let mut reply = client.get("/").await;
        if reply.status == 200 {
            reply = client.get("/").await;
        }
        let text = if reply.status == 200 {
            reply.text()
        } else {
            ""
        };
        answers.push((reply.status, text.to_owned()));
    }
    answers
}

fn says(protocol: &str) -> (u16, String) {
    (200, protocol.to_owned())
}

async fn asks_the_new() {
    assert_eq!(
        answers(&[b"h2", b"http/1.1"]).await,
        [says("h1"), says("h2"), says("h2")]
    );
}

async fn asks_the_old() {
    let bad = (502, String::new());
    assert_eq!(answers(&[b"http/1.1"]).await, [says("h1"), says("h1"), bad]);
}

async fn asks_the_silent() {
    let bad = (502, String::new());
    assert_eq!(answers(&[]).await, [says("h1"), says("h1"), bad]);
}

async fn switches() {
    let origin = Origin::run(&[b"h2", b"http/1.1"]).await;
    let (proxy, mut client) = before(&origin, "auto").await;
    assert_eq!(client.get("/").await.text(), "h2");
    let lines =
        "GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(lines.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    assert!(read.starts_with(b"HTTP/1.1 101 "), "{read:?}");
}

/// In a process of its own, which runs `test` alone and finds its roots where the environment says.
async fn with_roots(test: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(IS_CHILD).is_some() {
        return body.await;
    }
    let folder = tempfile::tempdir().unwrap();
    let roots: PathBuf = folder.path().join("roots.pem");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("origin_tls::{test}")])
        .env(IS_CHILD, "1")
        .env("SSL_CERT_FILE", &roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let has_run = output.status.success() && said.contains("1 passed");
    assert!(has_run && roots.exists(), "{said}");
}

#[tokio::test]
async fn an_origin_with_both_is_asked_as_configured() {
    with_roots("an_origin_with_both_is_asked_as_configured", asks_the_new()).await;
}

#[tokio::test]
async fn an_origin_without_http2_is_asked_by_http1() {
    with_roots("an_origin_without_http2_is_asked_by_http1", asks_the_old()).await;
}

#[tokio::test]
async fn an_origin_that_says_nothing_is_asked_by_http1() {
    with_roots(
        "an_origin_that_says_nothing_is_asked_by_http1",
        asks_the_silent(),
    )
    .await;
}

#[tokio::test]
async fn a_protocol_is_switched_by_http1_only() {
    with_roots("a_protocol_is_switched_by_http1_only", switches()).await;
}
