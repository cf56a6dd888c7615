//! What each site says of versions, protocols and names.

use std::net::SocketAddr;
use std::sync::Arc;

use cirrus_core::testing::{Client, Origin, certs, proxy, reply};
use cirrus_tls::Fixed;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, NamedGroup, ProtocolVersion};

use crate::client::{h1, h2};
use crate::soon;

/// A proxy with two listeners, without and with TLS, and these tables.
async fn serving(tables: &str, names: &[&str]) -> (proxy::Running, certs::Pair) {
    let pair = certs::for_names(names);
    let text = format!(
        "{tables}\n[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n"
    );
    let certificate = pair.certificate();
    let proxy = proxy::new(&text).with(|builder| builder.certs(Fixed::new(certificate)));
    (proxy.run().await, pair)
}

fn site(host: &str, tls: &str) -> String {
    format!(
        "[[site]]\nhosts = [\"{host}\"]\ntls = {{ {tls} }}\n\
         route = [{{ respond = {{ body = \"{host}\" }} }}]\n"
    )
}

async fn connect(
    address: SocketAddr,
    config: ClientConfig,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).await?;
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

#[tokio::test]
async fn each_site_has_its_own_versions() {
    let sites = [
        site("new.example", "min_version = \"1.3\""),
        site("old.example", "max_version = \"1.2\""),
        site("both.example", ""),
    ];
    let names = ["new.example", "old.example", "both.example"];
    let (proxy, _) = serving(&sites.concat(), &names).await;
    for (name, old, new) in [
        (names[0], false, true),
        (names[1], true, false),
        (names[2], true, true),
    ] {
        for (version, spoken) in [(&TLS12, old), (&TLS13, new)] {
            let config = certs::client_trusting_anyone(&[], &[version]);
            let stream = connect(proxy.address(), config, name).await;
            assert_eq!(stream.is_ok(), spoken, "{name} {version:?}");
        }
    }
    // Under an old site's name nobody gets into the new one.
    let config = certs::client_trusting_anyone(&[], &[&TLS12]);
    let stream = connect(proxy.address(), config, "both.example")
        .await
        .unwrap();
    let mut client = Client::to(proxy.address()).host("new.example").over(stream);
    assert_eq!(client.get("/").await.status, 421);
}

#[tokio::test]
async fn a_hybrid_key_exchange_is_preferred() {
    let (proxy, _) = serving(&site("shop.example", ""), &["shop.example"]).await;
    let config = certs::client_trusting_anyone(&[], &[&TLS13]);
    let stream = connect(proxy.address(), config, "shop.example")
        .await
        .unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(
        connection.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    let group = connection.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn a_site_may_do_without_http2() {
    let sites = [
        site("one.example", "http2 = false"),
        site("two.example", ""),
    ];
    let names = ["one.example", "two.example"];
    let (proxy, pair) = serving(&sites.concat(), &names).await;
    for (name, spoken) in [(names[0], &b"http/1.1"[..]), (names[1], b"h2")] {
        let config = certs::client_trusting(std::slice::from_ref(&pair.der), &[b"h2", b"http/1.1"]);
        let stream = connect(proxy.address(), config, name).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(spoken), "{name}");
    }
    let mut client = h2(proxy.address(), &pair.der, "two.example").await;
    assert_eq!(client.get("https://two.example/").await.status(), 200);
    assert_eq!(client.get("https://one.example/").await.status(), 421);
}

#[tokio::test]
async fn who_comes_without_tls_is_sent_to_it() {
    let sites = [
        site(
            "shop.example",
            "redirect = 308, hsts = { max_age = \"365d\", include_subdomains = true, preload = true }",
        ),
        site("port.example", "redirect = 301, redirect_port = 8443"),
        site("plain.example", "hsts = {}"),
    ];
    let (proxy, pair) = serving(&sites.concat(), &["shop.example", "plain.example"]).await;
    let mut plain = Client::to(proxy.addresses()[1]);
    for (host, path, status, location) in [
        ("shop.example", "/a?b=c", 308, "https://shop.example/a?b=c"),
        (
            "shop.example:81",
            "//evil/",
            308,
            "https://shop.example//evil/",
        ),
        ("port.example", "/", 301, "https://port.example:8443/"),
        ("shop.example", "/.well-known/acme-challenge/x", 200, ""),
        ("plain.example", "/", 200, ""),
    ] {
        plain = plain.host(host);
        let response = plain.get(path).await;
        assert_eq!(
            (response.status, &*response.header("location")),
            (status, location),
            "{host}{path}"
        );
        assert_eq!(
            response.header("strict-transport-security"),
            "",
            "RFC 6797 §7.2"
        );
    }
    for (host, policy) in [
        (
            "shop.example",
            "max-age=31536000; includeSubDomains; preload",
        ),
        ("plain.example", "max-age=31536000"),
    ] {
        let response = h1(proxy.address(), &pair.der, host).await.get("/").await;
        assert_eq!(
            (
                response.status,
                &*response.header("strict-transport-security")
            ),
            (200, policy)
        );
    }
}

#[tokio::test]
async fn a_terminator_before_us_is_no_reason_to_send_clients_round() {
    let tables = site("shop.example", "redirect = 308, hsts = {}");
    let tables = format!("[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.0/8\"]\n{tables}");
    let (proxy, _) = serving(&tables, &["shop.example"]).await;
    let mut plain = Client::to(proxy.addresses()[1]);
    let through = plain.get_with("/", "x-forwarded-proto: https\r\n").await;
    assert_eq!(through.status, 200);
    assert_eq!(
        through.header("strict-transport-security"),
        "max-age=31536000"
    );
    assert_eq!(plain.get("/").await.status, 308);
}

#[tokio::test]
async fn strict_names_are_those_of_sites() {
    let tables = format!("[tls]\nstrict_sni = true\n{}", site("shop.example", ""));
    let names = ["shop.example", "other.example", "127.0.0.1"];
    let (proxy, pair) = serving(&tables, &names).await;
    for (name, welcome) in [
        ("shop.example", true),
        ("other.example", false),
        ("127.0.0.1", false),
    ] {
        let config = certs::client_trusting(std::slice::from_ref(&pair.der), &[]);
        let stream = connect(proxy.address(), config, name).await;
        match stream {
            Ok(_) => assert!(welcome, "{name}"),
            Err(error) => assert!(
                !welcome && error.to_string().contains("UnrecognisedName"),
                "{name}: {error}"
            ),
        }
    }
    let mut client = h1(proxy.address(), &pair.der, "shop.example").await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.host("uncovered.example").get("/").await.status, 421);
}

#[tokio::test]
async fn a_default_certificate_is_for_whom_nobody_knows() {
    let tables = format!("[tls]\ndefault_name = \"shop.example\"\n{}", site("*", ""));
    let (proxy, pair) = serving(&tables, &["shop.example"]).await;
    let config = certs::client_trusting_anyone(&[b"h2"], &[&TLS13]);
    let stream = connect(proxy.address(), config, "unknown.example")
        .await
        .unwrap();
    assert_eq!(crate::client::shown(&stream), pair.der);
    // Who asked for this name, and took what was shown, is served under it.
    let mut settings = Client::to(proxy.address()).host("unknown.example");
    let config = certs::client_trusting_anyone(&[b"http/1.1"], &[&TLS13]);
    let stream = connect(proxy.address(), config, "unknown.example")
        .await
        .unwrap();
    settings = settings.over(stream);
    assert_eq!(settings.get("/").await.status, 200);
}

#[tokio::test]
async fn handshakes_have_an_end_and_are_counted() {
    let tables = format!("[limits]\nhandshakes = 1\n{}", site("shop.example", ""));
    let (proxy, pair) = serving(&tables, &["shop.example"]).await;
    let mut slow = TcpStream::connect(proxy.address()).await.unwrap();
    slow.write_all(&[22, 3]).await.unwrap();
    let metric = async |name: &str| -> f64 {
        let mut client = Client::to(proxy.admin()).host("localhost");
        let page = client.get("/metrics").await.text().to_owned();
        let mut values = page
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().expect("a value").parse().expect("a number")
    };
    soon(async {
        while metric("cirrus_tls_handshakes_open").await < 1.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let config = || certs::client_trusting(std::slice::from_ref(&pair.der), &[]);
    assert!(
        connect(proxy.address(), config(), "shop.example")
            .await
            .is_err()
    );
    let refused = metric("cirrus_tls_handshakes_refused_total").await;
    assert!((refused - 1.0).abs() < 0.1, "{refused}");
    drop(slow);
    soon(async {
        while connect(proxy.address(), config(), "shop.example")
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_site_says_changes_with_its_configuration() {
    let (proxy, _) = serving(&site("shop.example", ""), &["shop.example"]).await;
    let old = || certs::client_trusting_anyone(&[], &[&TLS12]);
    assert!(
        connect(proxy.address(), old(), "shop.example")
            .await
            .is_ok()
    );
    let revision = proxy.revision();
    proxy.reconfigure(&site("shop.example", "min_version = \"1.3\""));
    soon(async {
        while proxy.revision() == revision {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        connect(proxy.address(), old(), "shop.example")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn origins_do_not_see_what_clients_say_of_certificates() {
    let origin = Origin::new()
        .get("/", |asked| {
            let told = [
                "client-cert",
                "client-cert-chain",
                "x-client-cert-subject",
                "x_client_cert_names",
            ];
            reply(told.map(|name| asked.header(name)).concat())
        })
        .run()
        .await;
    let pair = certs::for_names(&["shop.example"]);
    let proxy = crate::listener(&origin, Fixed::new(pair.certificate())).await;
    let mut client = h1(proxy.address(), &pair.der, "shop.example").await;
    let lies = "client-cert: :AA==:\r\nclient-cert-chain: :AA==:\r\n\
                X-Client-Cert-Subject: CN=admin\r\nX_Client_Cert_Names: dns:admin\r\n";
    assert_eq!(client.get_with("/", lies).await.text(), "");
}
