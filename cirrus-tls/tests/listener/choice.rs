//! Which certificate is shown, and which protocol is spoken.

use std::sync::Arc;

use cirrus_core::downstream::{CertProvider, ServerName};
use cirrus_core::testing::{Describe, Origin, certs, reply};
use cirrus_tls::{Chain, Fixed, Folder, SelfSigned};

use crate::client::{get, h1, h2, shake, shown};
use crate::listener;

/// A folder of these pairs.
fn folder(pairs: &[(&str, &certs::Pair)]) -> (tempfile::TempDir, Folder) {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: String, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("a file");
    };
    for (name, pair) in pairs {
        write(format!("{name}.key"), &pair.key_pem);
        write(format!("{name}.pem"), &pair.chain_pem);
    }
    let folder = Folder::open(directory.path()).expect("the directory");
    assert_eq!(folder.report(), []);
    (directory, folder)
}

#[tokio::test]
async fn the_client_chooses_the_protocol() {
    let origin = Origin::new()
        .get("/", |asked| reply(asked.header("via")))
        .run()
        .await;
    let pair = certs::for_names(&["shop.example"]);
    let proxy = listener(&origin, Fixed::new(pair.certificate())).await;
    let old = h1(proxy.address(), &pair.der, "shop.example")
        .await
        .get("/")
        .await;
    assert_eq!((old.status, old.text()), (200, "1.1 cirrus"));
    let new = h2(proxy.address(), &pair.der, "shop.example")
        .await
        .get("https://shop.example/")
        .await;
    assert_eq!((new.status(), new.text()), (200, "2.0 cirrus"));
    for alpn in [&[][..], &[&b"http/1.1"[..], b"h2"]] {
        let stream = shake(proxy.address(), &pair.der, "shop.example", alpn)
            .await
            .unwrap();
        let spoken = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(
            spoken,
            (!alpn.is_empty()).then(|| b"h2".to_vec()),
            "the server's first choice"
        );
    }
    let unheard = shake(proxy.address(), &pair.der, "shop.example", &[b"spdy"]).await;
    assert!(
        unheard
            .unwrap_err()
            .to_string()
            .contains("NoApplicationProtocol")
    );
}

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let origin = Origin::new()
        .get("/", |asked| reply(asked.header("host")))
        .run()
        .await;
    let authority = certs::Authority::new();
    let shop = authority.issue(&["shop.example"]);
    let wild = authority.issue(&["*.shop.example", "shop.test"]);
    let (_directory, folder) = folder(&[("one", &shop), ("two", &wild)]);
    let proxy = listener(&origin, folder).await;
    for (name, pair) in [
        ("shop.example", &shop),
        ("a.shop.example", &wild),
        ("SHOP.test", &wild),
    ] {
        let stream = shake(proxy.address(), &authority.der(), name, &[b"http/1.1"])
            .await
            .unwrap();
        assert_eq!(shown(&stream), pair.der, "{name}");
        let response = h1(proxy.address(), &authority.der(), name)
            .await
            .get("/")
            .await;
        assert_eq!(
            (response.status, response.text()),
            (200, &*name.to_lowercase())
        );
    }
    for name in ["other.example", "a.b.shop.example", "example"] {
        let refused = shake(proxy.address(), &authority.der(), name, &[])
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("UnrecognisedName"),
            "{name}: {refused}"
        );
    }
    let nameless = shake(proxy.address(), &authority.der(), "127.0.0.1", &[])
        .await
        .unwrap_err();
    assert!(
        nameless.to_string().contains("UnrecognisedName"),
        "{nameless}"
    );
    assert!(
        shake(proxy.address(), &authority.der(), "shop.example", &[])
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_fixed_certificate_is_for_its_names_and_for_clients_that_name_none() {
    let origin = Origin::new().get("/", |_| reply("hello")).run().await;
    let pair = certs::for_names(&["shop.example", "127.0.0.1"]);
    let proxy = listener(&origin, Fixed::new(pair.certificate())).await;
    assert!(
        shake(proxy.address(), &pair.der, "127.0.0.1", &[])
            .await
            .is_ok()
    );
    let refused = shake(proxy.address(), &pair.der, "other.example", &[])
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("UnrecognisedName"),
        "{refused}"
    );
}

#[tokio::test]
async fn self_signed_certificates_are_made_when_they_are_asked_for() {
    let origin = Origin::new()
        .get("/", |asked| reply(asked.header("host")))
        .run()
        .await;
    let made = Arc::new(SelfSigned::new());
    let pair = certs::for_names(&["shop.example"]);
    let (_directory, folder) = folder(&[("shop", &pair)]);
    let chain = Chain::default().then(folder).then(Arc::clone(&made));
    let proxy = listener(&origin, chain).await;
    for name in ["a.example", "b.example", "localhost"] {
        let certificate = made.load(&ServerName::new(name).unwrap()).await.unwrap();
        let root = certificate.key.cert[0].clone();
        let response = h2(proxy.address(), &root, name)
            .await
            .get(&format!("https://{name}/"))
            .await;
        assert_eq!((response.status(), response.text()), (200, name));
    }
    let stream = shake(proxy.address(), &pair.der, "shop.example", &[])
        .await
        .unwrap();
    assert_eq!(shown(&stream), pair.der, "the folder comes first");
}

#[tokio::test]
async fn a_crowd_of_cold_names_is_served() {
    let origin = Origin::new().get("/", |_| reply("hello")).run().await;
    let proxy = listener(&origin, SelfSigned::new()).await;
    let address = proxy.address();
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..60 {
        crowd.spawn(async move {
            let versions = &[&tokio_rustls::rustls::version::TLS13];
            let config = certs::client_trusting_anyone(&[b"http/1.1"], versions);
            let name = format!("n{}.example", number % 6);
            let name = tokio_rustls::rustls::pki_types::ServerName::try_from(name).unwrap();
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
                .unwrap();
            let shown = shown(&stream);
            let mut client = cirrus_core::testing::Client::to(address).over(stream);
            assert_eq!(client.get("/").await.text(), "hello");
            (number % 6, shown.to_vec())
        });
    }
    let mut shown: Vec<_> = crate::soon(crowd.join_all()).await;
    shown.sort();
    shown.dedup();
    assert_eq!(shown.len(), 6, "one certificate for each name");
}

#[tokio::test]
async fn a_connection_is_only_for_what_its_certificate_covers() {
    let origin = Origin::new()
        .get("/", |asked| reply(asked.header("host")))
        .run()
        .await;
    let pair = certs::for_names(&["shop.example", "*.shop.example"]);
    let proxy = listener(&origin, Fixed::new(pair.certificate())).await;
    let mut client = h2(proxy.address(), &pair.der, "shop.example").await;
    for (host, status) in [
        ("shop.example", 200),
        ("img.shop.example", 200),
        ("img.shop.example:8443", 200),
        ("other.example", 421),
        ("a.b.shop.example", 421),
        ("shop.example.", 200),
    ] {
        let response = client.get(&format!("https://{host}/")).await;
        assert_eq!(response.status(), status, "{host}: {}", response.text());
    }
    let mut forged = get("https://shop.example/");
    forged
        .headers_mut()
        .insert("host", "other.example".parse().unwrap());
    let response = client.ask(forged).await.unwrap();
    let answer = crate::client::whole(response).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 400));
    assert_eq!(client.get("https://shop.example/").await.status(), 200);
}

#[tokio::test]
async fn the_origin_is_told_the_scheme() {
    let origin = Origin::new()
        .get("/", |asked| {
            reply(asked.header("x-forwarded-proto")).with("x-by", &asked.header("forwarded"))
        })
        .run()
        .await;
    let pair = certs::for_names(&["shop.example"]);
    let proxy = listener(&origin, Fixed::new(pair.certificate())).await;
    let response = h1(proxy.address(), &pair.der, "shop.example")
        .await
        .get("/")
        .await;
    assert_eq!(response.text(), "https");
    assert_eq!(
        response.header("x-by"),
        "for=127.0.0.1;host=\"shop.example\";proto=https"
    );
    let mut client = h2(proxy.address(), &pair.der, "shop.example").await;
    assert_eq!(client.get("https://shop.example/").await.text(), "https");
    // Behind a terminator of their own some clients say `http`; what protects this connection is known here.
    assert_eq!(client.get("http://shop.example/").await.text(), "https");
}
