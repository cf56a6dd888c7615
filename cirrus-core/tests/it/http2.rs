//! HTTP/2 to clients, HTTP/1.1 to origins.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cirrus_core::downstream::{CertError, CertProvider, Certificate, Hello, Lookup, ServerName};
use cirrus_core::testing::{Origin, certs, proxy, reply};
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::site;

struct One(Arc<Certificate>);

#[async_trait]
impl CertProvider for One {
    fn lookup(&self, _: &Hello<'_>) -> Lookup {
        Lookup::Found(Arc::clone(&self.0))
    }

    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        Err(CertError::NotFound(name.clone()))
    }
}

/// A proxy with TLS, and the certificate it shows.
pub(crate) async fn secure(toml: &str) -> (proxy::Running, CertificateDer<'static>) {
    let pair = certs::for_names(&["shop.example"]);
    let certificate = Arc::new(pair.certificate());
    let toml = format!("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n{toml}");
    let proxy = proxy::new(&toml)
        .with(|builder| builder.certs(One(certificate)))
        .run()
        .await;
    (proxy, pair.der)
}

/// A connection to it that speaks HTTP/2.
pub(crate) async fn dial(
    address: std::net::SocketAddr,
    root: CertificateDer<'static>,
) -> TlsStream<TcpStream> {
    let trusting = certs::client_trusting(&[root], &[b"h2"]);
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "shop.example".try_into().unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(trusting))
        .connect(name, stream)
        .await
        .unwrap()
}

/// A proxy with TLS, and a client of it.
pub(crate) async fn before(toml: &str) -> (proxy::Running, SendRequest<Bytes>) {
    let (proxy, root) = secure(toml).await;
    let tls = dial(proxy.address(), root).await;
    let (client, connection) = h2::client::handshake(tls).await.unwrap();
    std::mem::drop(tokio::task::spawn_local(connection));
    (proxy, client)
}

/// Runs a test whose client has a connection to drive.
pub(crate) async fn local(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn what_answers_head_has_no_content_but_its_length() {
    local(async {
        let fixed = "[[site]]\nhosts = [\"*\"]\n[[site.route]]\nrespond = { body = \"hello\" }\n";
        let (_proxy, mut client) = before(fixed).await;
        let request = http::Request::head("https://shop.example/")
            .body(())
            .unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-length"], "5");
        assert!(response.into_body().data().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_cookie_in_crumbs_reaches_the_origin_whole() {
    local(async {
        let origin = Origin::new().get("/", |_| reply("ok")).run().await;
        let (_proxy, mut client) = before(&site(&origin.url())).await;
        let request = http::Request::get("https://shop.example/")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let (response, _) = client
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        let asked = &origin.asked()[0];
        assert_eq!(
            (asked.header("cookie"), asked.header("host")),
            ("a=1; b=2".into(), "shop.example".into())
        );
        assert_eq!(
            (asked.header("via"), asked.header("x-forwarded-proto")),
            ("2.0 cirrus".into(), "https".into())
        );
    })
    .await;
}

#[tokio::test]
async fn a_host_that_the_certificate_does_not_cover_is_421() {
    local(async {
        let origin = Origin::new().get("/", |_| reply("ok")).run().await;
        let (_proxy, mut client) = before(&site(&origin.url())).await;
        let request = http::Request::get("https://other.example/")
            .body(())
            .unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        assert_eq!(response.await.unwrap().status(), 421);
        assert_eq!(origin.count(), 0);
    })
    .await;
}
