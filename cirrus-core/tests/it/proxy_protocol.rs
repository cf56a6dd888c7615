//! What a load balancer says about whose connection it passes on.

use std::sync::Arc;

use async_trait::async_trait;
use cirrus_core::downstream::{CertError, CertProvider, Certificate, Hello, Lookup, ServerName};
use cirrus_core::testing::{Client, Origin, RunningOrigin, certs, proxy, reply};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::site;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n";

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

/// A proxy that wants headers from these networks, and its origin.
async fn before(networks: &str, toml: &str) -> (proxy::Running, RunningOrigin) {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!("{}{toml}{}", listen(networks), site(&origin.url()));
    (proxy::new(&toml).run().await, origin)
}

fn listen(networks: &str) -> String {
    format!("[[listen]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [{networks}]\n")
}

const LOOPBACK: &str = "\"127.0.0.0/8\"";

/// A header of version 2.
fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let start = b"\r\n\r\n\0\r\nQUIT\n";
    [&start[..], &[command, family], &length, content].concat()
}

/// TCP over IPv4, with a TLV of this length behind the addresses.
fn v2_four(padding: u16) -> Vec<u8> {
    let addresses = [192, 0, 2, 8, 198, 51, 100, 1, 0x0f, 0xa0, 1, 0xbb];
    let [high, low] = padding.to_be_bytes();
    let tlv = [&[4, high, low], vec![0xff; padding.into()].as_slice()].concat();
    v2(0x21, 0x11, &[&addresses[..], &tlv].concat())
}

/// Whose request the origin thinks it is when a connection begins with this header.
async fn client_of(header: &[u8]) -> String {
    let (proxy, origin) = before(LOOPBACK, "").await;
    let mut client = Client::to(proxy.address());
    client.send(&[header, REQUEST].concat()).await;
    assert_eq!(client.reply_to("GET").await.text(), "ok");
    // The header counts for the whole connection.
    assert_eq!(client.get("/").await.text(), "ok");
    let asked = origin.asked().iter().map(forwarded_for).collect::<Vec<_>>();
    assert_eq!(asked[0], asked[1]);
    assert_eq!(errors(&proxy).await, 0);
    asked[0].clone()
}

fn forwarded_for(asked: &cirrus_core::testing::Asked) -> String {
    asked.header("x-forwarded-for")
}

async fn errors(proxy: &proxy::Running) -> u64 {
    counted(proxy, "cirrus_proxy_protocol_errors_total").await
}

async fn counted(proxy: &proxy::Running, name: &str) -> u64 {
    let page = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    let mut lines = page.text().lines();
    let number = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    number.unwrap().parse::<f64>().unwrap() as u64
}

#[tokio::test]
async fn version_1_tells_whose_connection_it_is() {
    assert_eq!(client_of(V1).await, "192.0.2.7");
    assert_eq!(
        client_of(b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 443\r\n").await,
        "2001:db8::7"
    );
    assert_eq!(client_of(b"PROXY UNKNOWN\r\n").await, "127.0.0.1");
    let longest = format!(
        "PROXY UNKNOWN {0} {0} 65535 65535\r\n",
        ["ffff"; 8].join(":")
    );
    assert_eq!(client_of(longest.as_bytes()).await, "127.0.0.1");
}

#[tokio::test]
async fn version_2_tells_whose_connection_it_is() {
    assert_eq!(client_of(&v2_four(0)).await, "192.0.2.8");
    // 16 + 12 + 3 + 4065 = 4096.
    assert_eq!(client_of(&v2_four(4065)).await, "192.0.2.8");
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    six[15] = 9;
    assert_eq!(client_of(&v2(0x21, 0x21, &six)).await, "2001:db8::9");
    assert_eq!(client_of(&v2(0x20, 0, b"")).await, "127.0.0.1");
    assert_eq!(client_of(&v2(0x20, 0, &[4, 0, 1, 0])).await, "127.0.0.1");
}

#[tokio::test]
async fn a_header_may_come_in_single_bytes() {
    let (proxy, origin) = before(LOOPBACK, "").await;
    for header in [V1.to_vec(), v2_four(3)] {
        let mut client = Client::to(proxy.address());
        for byte in [&header, REQUEST].concat() {
            client.send(&[byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.reply_to("GET").await.text(), "ok");
    }
    let asked = origin.asked().iter().map(forwarded_for).collect::<Vec<_>>();
    assert_eq!(asked, ["192.0.2.7", "192.0.2.8"]);
}

#[tokio::test]
async fn a_trusted_proxy_is_one_by_the_address_in_the_header() {
    let trusting = |network| format!("[server]\nworkers = 1\ntrusted_proxies = [\"{network}\"]\n");
    let claim = b"GET / HTTP/1.1\r\nhost: shop.example\r\nx-forwarded-for: 10.0.0.1\r\n\r\n";
    for (network, seen) in [
        ("192.0.2.0/24", "10.0.0.1, 192.0.2.7"),
        ("127.0.0.0/8", "192.0.2.7"),
    ] {
        let (proxy, origin) = before(LOOPBACK, &trusting(network)).await;
        let mut client = Client::to(proxy.address());
        client.send(&[V1, claim].concat()).await;
        assert_eq!(client.reply_to("GET").await.status, 200);
        assert_eq!(forwarded_for(&origin.asked()[0]), seen);
    }
}

#[tokio::test]
async fn what_has_no_valid_header_is_closed_and_counted() {
    let (proxy, origin) = before(LOOPBACK, "").await;
    let long_line = [b"PROXY UNKNOWN ", &[b'x'; 92][..], b"\r\n", REQUEST].concat();
    let bad = [
        REQUEST.to_vec(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
        b"PROXX TCP4 192.0.2.7 198.51.100.1 4000 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4000\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 2001:db8::1 4000 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 65536\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\n".to_vec(),
        b"PROXY \r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
        long_line,
        vec![b'a'; 10_000],
        [b"PROXY TCP4 ".to_vec(), vec![b'1'; 10_000]].concat(),
        v2_four(4066),
        v2(0x31, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x41, &[0; 12]),
    ];
    for (index, bytes) in bad.iter().enumerate() {
        let mut client = Client::to(proxy.address());
        client.send(bytes).await;
        assert!(client.is_closed().await, "{}", bytes.escape_ascii());
        assert_eq!(
            errors(&proxy).await,
            index as u64 + 1,
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_a_header_is_counted_and_who_says_nothing_is_not() {
    let (proxy, _origin) = before(LOOPBACK, "").await;
    for (said, count) in [(&b""[..], 0), (&V1[..20], 1), (&v2_four(0)[..20], 2)] {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(Client::to(proxy.address()).over(stream).is_closed().await);
        assert_eq!(errors(&proxy).await, count);
    }
}

#[tokio::test]
async fn the_header_has_to_come_in_time() {
    let (proxy, _origin) = before(LOOPBACK, "[limits]\nheader_time = \"100ms\"\n").await;
    let said = [Vec::new(), V1[..20].to_vec(), v2_four(0)[..20].to_vec()];
    let mut slow = Vec::new();
    for bytes in &said {
        let mut client = Client::to(proxy.address());
        client.send(bytes).await;
        slow.push(client);
    }
    for client in &mut slow {
        assert!(client.is_closed().await);
    }
    let timed_out = counted(&proxy, "cirrus_connections_timed_out_total").await;
    assert_eq!((timed_out, errors(&proxy).await), (3, 0));
}

#[tokio::test]
async fn nobody_waits_for_anothers_header() {
    // Should it ever come to waiting, the test's client gives up first.
    let (proxy, _origin) = before(LOOPBACK, "[limits]\nheader_time = \"1h\"\n").await;
    let mut mute = Client::to(proxy.address());
    mute.send(&V1[..20]).await;
    let mut client = Client::to(proxy.address());
    client.send(&[V1, REQUEST].concat()).await;
    assert_eq!(client.reply_to("GET").await.text(), "ok");
    mute.send(&[&V1[20..], REQUEST].concat()).await;
    assert_eq!(mute.reply_to("GET").await.text(), "ok");
}

#[tokio::test]
async fn from_elsewhere_a_header_is_a_bad_request() {
    for networks in ["", "\"10.0.0.0/8\", \"2001:db8::/32\""] {
        let (proxy, origin) = before(networks, "").await;
        for header in [V1.to_vec(), v2_four(0)] {
            let mut client = Client::to(proxy.address());
            client.send(&[&header, REQUEST].concat()).await;
            assert_eq!(client.reply_to("GET").await.status, 400);
        }
        assert_eq!(origin.count(), 0);
        assert_eq!(Client::to(proxy.address()).get("/").await.text(), "ok");
        assert_eq!(forwarded_for(&origin.asked()[0]), "127.0.0.1");
        assert_eq!(errors(&proxy).await, 0);
    }
}

#[tokio::test]
async fn with_tls_the_header_stands_before_the_handshake() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!("{}tls = true\n{}", listen(LOOPBACK), site(&origin.url()));
    let pair = certs::for_names(&["shop.example"]);
    let certificate = Arc::new(pair.certificate());
    let proxy = proxy::new(&toml)
        .with(|builder| builder.certs(One(certificate)))
        .run()
        .await;
    let trusting = certs::client_trusting(std::slice::from_ref(&pair.der), &[b"http/1.1"]);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(trusting));
    for header in [V1.to_vec(), v2_four(3)] {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let name = "shop.example".try_into().unwrap();
        let tls = connector.connect(name, stream).await.unwrap();
        let mut client = Client::to(proxy.address()).over(tls);
        assert_eq!(client.get("/").await.text(), "ok");
    }
    let asked = origin.asked();
    assert_eq!(
        asked.iter().map(forwarded_for).collect::<Vec<_>>(),
        ["192.0.2.7", "192.0.2.8"]
    );
    assert_eq!(asked[0].header("x-forwarded-proto"), "https");
    let mut without = TcpStream::connect(proxy.address()).await.unwrap();
    without.write_all(b"\x16\x03\x01\x02\0").await.unwrap();
    assert!(Client::to(proxy.address()).over(without).is_closed().await);
    assert_eq!(errors(&proxy).await, 1);
}
