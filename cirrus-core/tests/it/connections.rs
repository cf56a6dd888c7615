//! How origins are connected to: whom TLS believes, who the client is, by which way, and how many at a time.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cirrus_core::config::{Config, Format};
use cirrus_core::testing::certs::{self, Authority, Pair};
use cirrus_core::testing::{Client, Origin, proxy, reply};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use crate::{nowhere, site};

/// Answers every request on a connection, as long as the client keeps it open.
async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        heard.extend_from_slice(&buffer[..length]);
        if heard.ends_with(b"\r\n\r\n") {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if stream.write_all(answer).await.is_err() {
                break;
            }
        }
    }
    heard
}

/// Runs an origin on a thread of its own, until the test ends.
fn apart(origin: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(origin);
    });
}

fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An origin with TLS for `localhost`. It asks for a certificate of `clients`, if given. Tells how each handshake went.
fn tls_origin(
    server: &Pair,
    clients: Option<&Authority>,
) -> (String, mpsc::UnboundedReceiver<Option<HandshakeKind>>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.unwrap())
        }
        None => config.with_no_client_auth(),
    };
    let chain = CertificateDer::pem_slice_iter(server.chain_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes()).unwrap();
    let config = config.with_single_cert(chain.map(Result::unwrap).collect(), key);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
    let (listener, address) = listen();
    let (tell, told) = mpsc::unbounded_channel();
    apart(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let mut all = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, tell) = (acceptor.clone(), tell.clone());
            all.spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let _ = tell.send(stream.get_ref().1.handshake_kind());
                answer(&mut stream).await;
            });
        }
    });
    (format!("https://localhost:{}", address.port()), told)
}

/// Writes what a configuration refers to.
fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn an_origin_is_believed_by_its_own_authority() {
    let (files, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (url, _) = tls_origin(&authority.issue(&["localhost"]), None);
    let ca = write(files.path(), "ca.pem", authority.pem());
    let known = proxy::new(&format!(
        "{}[site.upstream_tls]\nca = \"{ca}\"\n",
        site(&url)
    ));
    let known = known.run().await;
    assert_eq!(Client::to(known.address()).get("/").await.text(), "ok");

    let unknown = proxy::new(&site(&url)).run().await;
    let refused = Client::to(unknown.address()).get("/").await;
    assert_eq!(
        (refused.status, refused.header("proxy-status")),
        (502, "cirrus; error=tls_certificate_error".to_owned())
    );
    let anyone = proxy::new(&format!(
        "{}[site.upstream_tls]\nverify = false\n",
        site(&url)
    ));
    let anyone = anyone.run().await;
    assert_eq!(Client::to(anyone.address()).get("/").await.text(), "ok");
}

#[tokio::test]
async fn an_origin_that_asks_who_we_are_is_told() {
    let (files, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (url, _) = tls_origin(&authority.issue(&["localhost"]), Some(&authority));
    let ours = authority.issue(&["proxy.test"]);
    let ca = write(files.path(), "ca.pem", authority.pem());
    let certificate = write(files.path(), "our.pem", &ours.chain_pem);
    let key = write(files.path(), "our.key", &ours.key_pem);
    let cluster = |tls: &str| {
        format!(
            "[[site]]\nhosts = [\"*\"]\ncluster = \"c\"\n[[cluster]]\nname = \"c\"\n\
             [[cluster.origin]]\nurl = \"{url}\"\n[cluster.tls]\nca = \"{ca}\"\n{tls}"
        )
    };
    let known = cluster(&format!(
        "certificate = \"{certificate}\"\nkey = \"{key}\"\n"
    ));
    let known = proxy::new(&known).run().await;
    assert_eq!(Client::to(known.address()).get("/").await.text(), "ok");
    let nobody = proxy::new(&cluster("min_version = \"1.3\"\n")).run().await;
    let refused = Client::to(nobody.address()).get("/").await;
    assert_eq!(
        (refused.status, refused.header("proxy-status")),
        (502, "cirrus; error=tls_alert_received".to_owned())
    );
}

#[tokio::test]
async fn tls_sessions_are_resumed() {
    let (files, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (url, mut told) = tls_origin(&authority.issue(&["localhost"]), None);
    let ca = write(files.path(), "ca.pem", authority.pem());
    let toml = format!(
        "{}[site.upstream_tls]\nca = \"{ca}\"\n[site.pool]\nmax_requests = 1\n",
        site(&url)
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    for resumed in [false, true, true] {
        assert_eq!(client.get("/").await.text(), "ok");
        let kind = told.recv().await.unwrap();
        assert_eq!(kind == Some(HandshakeKind::Resumed), resumed, "{kind:?}");
    }
}

#[tokio::test]
async fn ipv6_and_unix_sockets_lead_to_origins() {
    let six = std::net::TcpListener::bind(("::1", 0)).unwrap();
    six.set_nonblocking(true).unwrap();
    let url = format!("http://{}", six.local_addr().unwrap());
    apart(async move {
        let listener = TcpListener::from_std(six).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream).await;
    });
    let proxy = proxy::new(&site(&url)).run().await;
    assert_eq!(Client::to(proxy.address()).get("/").await.text(), "ok");

    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("origin.sock");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    apart(async move {
        let listener = UnixListener::from_std(socket).unwrap();
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            answer(&mut stream).await;
        }
    });
    let proxy = proxy::new(&site(&format!("unix:{}", path.display())))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "ok");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1, "it is kept like others");
}

#[tokio::test]
async fn origins_are_told_whose_connection_it_is() {
    for (version, begins) in [
        ("v1", "PROXY TCP4 127.0.0.1 127.0.0.1 "),
        (
            "v2",
            "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01",
        ),
    ] {
        let (listener, address) = listen();
        let (tell, mut told) = mpsc::unbounded_channel();
        apart(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = tell.send(answer(&mut stream).await);
            }
        });
        let toml = site(&format!("http://{address}"));
        let toml = toml.replace(
            "[[site.origin]]",
            &format!("upstream_proxy_protocol = \"{version}\"\n[[site.origin]]"),
        );
        let proxy = proxy::new(&toml).run().await;
        let mut client = Client::to(proxy.address());
        for _ in 0..2 {
            assert_eq!(client.get("/").await.text(), "ok");
            let heard = told.recv().await.unwrap();
            assert!(
                heard.starts_with(begins.as_bytes()),
                "{}",
                heard.escape_ascii()
            );
            let request = heard.windows(6).filter(|six| *six == b"GET / ");
            assert_eq!(request.count(), 1, "a connection for each request");
        }
    }
}

#[tokio::test]
async fn connections_are_limited_and_the_wait_for_them_too() {
    let origin = Origin::new()
        .later("/slow", |_| std::future::pending())
        .get("/", |_| reply("ok"))
        .run()
        .await;
    let toml = format!(
        "{}[site.pool]\nmax_connections = 1\nwait = \"20ms\"\n",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "ok", "one after the other");
    }
    let mut slow = Client::to(proxy.address());
    slow.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    while origin.count() < 4 {
        tokio::task::yield_now().await;
    }
    let refused = client.get("/").await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, "1".to_owned())
    );
    slow.leave();
    let mut last = client.get("/").await;
    while last.status == 503 {
        last = client.get("/").await;
    }
    assert_eq!(last.text(), "ok", "the place of who left is free");
    let text = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    let text = text.text();
    assert!(
        !text.contains("cirrus_upstream_pool_rejections_total 0"),
        "{text}"
    );
    assert!(text.contains("cirrus_upstream_connects_total 2"), "{text}");
}

#[tokio::test]
async fn where_one_endpoint_is_full_another_is_asked() {
    let held = Origin::new()
        .later("*", |_| std::future::pending())
        .run()
        .await;
    let free = Origin::new().get("*", |_| reply("free")).run().await;
    let toml = format!(
        "{}[[site.origin]]\nurl = \"{}\"\n[site.pool]\nmax_connections = 1\nmax_pending = 0\n",
        site(&held.url()),
        free.url()
    );
    let proxy = proxy::new(&toml).run().await;
    let mut stuck = Client::to(proxy.address());
    stuck.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    while held.count() == 0 {
        tokio::task::yield_now().await;
    }
    let mut client = Client::to(proxy.address());
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "free");
    }
}

#[test]
fn faults_name_the_file_and_what_is_wrong_with_it() {
    let files = tempfile::tempdir().unwrap();
    let (one, other) = (certs::for_names(&["a"]), certs::for_names(&["b"]));
    let certificate = write(files.path(), "a.pem", &one.chain_pem);
    let key = write(files.path(), "b.key", &other.key_pem);
    let empty = write(files.path(), "empty.pem", "");
    for (tls, field, says) in [
        (
            "ca = \"/no/such.pem\"".to_owned(),
            "site[0].upstream_tls.ca",
            "cannot be read",
        ),
        (
            format!("ca = \"{empty}\""),
            "site[0].upstream_tls.ca",
            "has no certificate",
        ),
        (
            format!("certificate = \"{certificate}\""),
            "site[0].upstream_tls.key",
            "of no use without it",
        ),
        (
            format!("certificate = \"{certificate}\"\nkey = \"{key}\""),
            "site[0].upstream_tls.key",
            "is not the key of the certificate",
        ),
    ] {
        let toml = format!("{}[site.upstream_tls]\n{tls}\n", site(&nowhere()));
        let (config, _) = Config::parse(&toml, Format::Toml).unwrap();
        let faults = cirrus_core::config::check(&config, Default::default()).to_string();
        assert!(faults.contains(field) && faults.contains(says), "{faults}");
    }
    let toml = format!("{}[site.upstream_tls]\nverify = false\n", site(&nowhere()));
    let (config, _) = Config::parse(&toml, Format::Toml).unwrap();
    let faults = cirrus_core::config::check(&config, Default::default());
    assert!(
        !faults.is_fatal() && faults.to_string().contains("is not verified"),
        "{faults}"
    );
}

#[test]
fn files_start_at_the_configuration() {
    let toml = format!(
        "{}[site.upstream_tls]\nca = \"a.pem\"\n[[cluster]]\nname = \"c\"\n\
         [cluster.tls]\ncertificate = \"b.pem\"\nkey = \"/abs/b.key\"\n",
        site(&nowhere())
    );
    let (mut config, _) = Config::parse(&toml, Format::Toml).unwrap();
    config.resolve_paths(Path::new("/etc/cirrus"));
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().unwrap().display().to_string();
    let (site, cluster) = (&config.site[0].upstream_tls, &config.cluster[0].tls);
    assert_eq!(path(&site.ca), "/etc/cirrus/a.pem");
    assert_eq!(path(&cluster.certificate), "/etc/cirrus/b.pem");
    assert_eq!(path(&cluster.key), "/abs/b.key");
}

#[tokio::test]
async fn a_pool_with_rules_of_its_own_is_not_shared() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let one = |host: &str, pool: &str| {
        let url = origin.url();
        format!("[[site]]\nhosts = [\"{host}\"]\n{pool}\n[[site.origin]]\nurl = \"{url}\"\n")
    };
    let toml = one("a.example", "") + &one("b.example", "pool = { max_idle = 0 }");
    let proxy = proxy::new(&toml).run().await;
    for host in ["a.example", "b.example", "b.example", "a.example"] {
        let mut client = Client::to(proxy.address()).host(host);
        assert_eq!(client.get("/").await.status, 200);
    }
    let page = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    let text = page.text();
    // One for a, kept for its second request; one for each of b's, which keeps none.
    assert!(
        text.contains("\ncirrus_upstream_connects_total 3.0\n"),
        "{text}"
    );
    assert!(
        text.contains("\ncirrus_upstream_pool_hits_total 1.0\n"),
        "{text}"
    );
}
