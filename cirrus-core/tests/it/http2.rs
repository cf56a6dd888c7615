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

#[tokio::test]
async fn a_deadline_ends_one_stream_and_not_the_others() {
    local(async {
        let origin = Origin::new().get("/slow", |_| {
            let (mut sender, body) = http_body_util::Channel::<Bytes>::new(1);
            let mut task = tokio::task::JoinSet::new();
            task.spawn(async move {
                let _ = sender.send_data("begun".into()).await;
                // Held open.
                std::future::pending::<()>().await;
            });
            task.detach_all();
            reply(cirrus_core::Body::stream(body))
        });
        let slow = origin.run().await;
        let toml = format!(
            "[[site]]\nhosts = [\"*\"]\n[[site.route]]\npath = \"/ok\"\nrespond = {{ body = \"ok\" }}\n\
             [[site.route]]\npath = \"/slow\"\ndeadline = \"100ms\"\n[[site.route.origin]]\nurl = \"{}\"\n",
            slow.url()
        );
        let (_proxy, mut client) = before(&toml).await;
        let get = |path: &str| http::Request::get(format!("https://shop.example{path}")).body(()).unwrap();
        let (response, _) = client.send_request(get("/slow"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let reset = loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("the body ended as if it were whole"),
            }
        };
        assert!(reset.is_reset(), "{reset}");
        let (response, _) = client.send_request(get("/ok"), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
    })
    .await;
}
/// The status of the answer to this request, and how often the origin was asked.
async fn answer(request: http::request::Builder) -> (u16, usize) {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let (_proxy, mut client) = before(&site(&origin.url())).await;
    let request = request.uri("https://shop.example/").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    (response.await.unwrap().status().as_u16(), origin.count())
}

#[tokio::test]
async fn a_header_that_is_too_large_or_has_too_many_fields_is_431() {
    local(async {
        let fields = |count: usize| {
            let request = http::Request::builder();
            (0..count).fold(request, |request, n| request.header(format!("x-{n}"), "a"))
        };
        // The origin has room for 100 too, and gets a few of ours.
        assert_eq!(answer(fields(90)).await, (200, 1));
        assert_eq!(answer(fields(101)).await, (431, 0));
        let large = |length| http::Request::builder().header("x", "a".repeat(length));
        assert_eq!(answer(large(15_000)).await, (200, 1));
        assert_eq!(answer(large(17_000)).await, (431, 0));
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_not_the_authority_is_refused() {
    local(async {
        let request = |host| http::Request::builder().header("host", host);
        assert_eq!(answer(request("shop.example")).await, (200, 1));
        assert_eq!(answer(request("other.example")).await, (400, 0));
    })
    .await;
}

#[tokio::test]
async fn a_response_of_any_length_comes_whole() {
    local(async {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        let body = bytes.clone();
        let large = move |_| reply(body.clone());
        let origin = Origin::new().get("*", large).run().await;
        let (_proxy, mut client) = before(&site(&origin.url())).await;
        let request = http::Request::get("https://shop.example/");
        let request = request.body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut read = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            read.extend_from_slice(&data);
        }
        assert!(read == bytes);
    })
    .await;
}

#[tokio::test]
async fn a_request_body_of_any_length_comes_whole() {
    local(async {
        let origin = Origin::new().get("*", |_| reply("ok")).run().await;
        let (_proxy, mut client) = before(&site(&origin.url())).await;
        for length in [None, Some("100000")] {
            let mut request = http::Request::post("https://shop.example/");
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let request = request.body(()).unwrap();
            let (response, mut send) = client.send_request(request, false).unwrap();
            send.send_data(vec![7; 100_000].into(), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
        }
        for asked in origin.asked() {
            assert!(asked.body.unwrap() == vec![7; 100_000]);
        }
        assert_eq!(origin.asked()[1].header("content-length"), "100000");
    })
    .await;
}

#[tokio::test]
async fn http2_is_not_offered_where_it_is_switched_off() {
    let pair = certs::for_names(&["shop.example"]);
    let certificate = Arc::new(pair.certificate());
    let toml = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\nhttp2 = false\n";
    let proxy = proxy::new(toml)
        .with(|builder| builder.certs(One(certificate)))
        .run()
        .await;
    let alpn: &[&[u8]] = &[b"h2", b"http/1.1"];
    let trusting = certs::client_trusting(std::slice::from_ref(&pair.der), alpn);
    let stream = tokio::net::TcpStream::connect(proxy.address())
        .await
        .unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(trusting))
        .connect("shop.example".try_into().unwrap(), stream)
        .await
        .unwrap();
    let chosen = tls.get_ref().1.alpn_protocol();
    assert_eq!(chosen, Some(&b"http/1.1"[..]));
}
