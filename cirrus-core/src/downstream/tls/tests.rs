use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rustls::pki_types;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::BoxError;
use crate::config::TlsConfig;
use crate::downstream::CertError;
use crate::testing::certs::{self, client_trusting, client_trusting_anyone};

type Shaken = Result<(Box<TlsStream<DuplexStream>>, Handshake), AcceptError>;
type Connected = io::Result<client::TlsStream<DuplexStream>>;

/// Knows `warm.example` at once and `cold.example` after a load, which takes until `gate` lets it through.
struct Scripted {
    certificate: Arc<Certificate>,
    loads: AtomicUsize,
    gate: Semaphore,
    answer: Answer,
}

enum Answer {
    Certificate,
    NotFound,
    Unavailable,
}

#[tokio::test]
async fn presents_the_certificate_of_the_name() {
    let (pair, acceptor) = warm();
    let client = client_trusting(std::slice::from_ref(&pair.der), &[b"h2", b"http/1.1"]);
    let (client, server) = shake(&acceptor, client, "warm.example").await;
    let (stream, handshake) = server.unwrap();
    assert_eq!(
        client.unwrap().get_ref().1.peer_certificates().unwrap()[0],
        pair.der
    );
    assert_eq!(handshake.certificate.key.cert[0], pair.der);
    assert_eq!(handshake.sni, ServerName::new("warm.example"));
    assert!(handshake.h2);
    assert_eq!(
        stream.get_ref().1.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
}

#[tokio::test]
async fn speaks_http1_with_who_does_not_ask_for_http2() {
    let (_, acceptor) = warm();
    for alpn in [&[b"http/1.1" as &[u8]] as &[&[u8]], &[]] {
        let client = client_trusting_anyone(alpn, &[&TLS12]);
        let (client, server) = shake(&acceptor, client, "warm.example").await;
        client.unwrap();
        assert!(!server.unwrap().1.h2);
    }
}

#[tokio::test]
async fn refuses_a_name_that_nobody_serves() {
    let (_, acceptor) = warm();
    for version in [&TLS12, &TLS13] {
        let client = client_trusting_anyone(&[], &[version]);
        let (client, server) = shake(&acceptor, client, "nobody.example").await;
        let Err(AcceptError::NoCertificate(Some(name))) = server else {
            panic!("no certificate, not {server:?}")
        };
        assert_eq!(name.as_str(), "nobody.example");
        let alert = client.unwrap_err().downcast::<rustls::Error>().unwrap();
        assert_eq!(
            alert,
            rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)
        );
    }
}

#[tokio::test]
async fn refuses_a_client_without_a_name_if_the_provider_does() {
    let (_, acceptor) = warm();
    let (_, server) = shake(&acceptor, anyone(), "127.0.0.1").await;
    let error = server.unwrap_err();
    assert!(matches!(error, AcceptError::NoCertificate(None)));
    assert_eq!(
        error.to_string(),
        "no certificate for a client that names no host"
    );
}

#[tokio::test]
async fn no_protocol_in_common_is_an_error_of_tls() {
    let (_, acceptor) = warm();
    let client = client_trusting_anyone(&[b"gopher"], &[&TLS13]);
    let (client, server) = shake(&acceptor, client, "warm.example").await;
    assert!(client.is_err());
    let Err(AcceptError::Tls(error)) = server else {
        panic!("an error of TLS, not {server:?}")
    };
    assert_eq!(error, rustls::Error::NoApplicationProtocol);
}

#[tokio::test]
async fn tells_plain_http_that_this_is_tls() {
    let (_, acceptor) = warm();
    let (mut near, far) = tokio::io::duplex(4096);
    near.write_all(b"GET / HTTP/1.1\r\nhost: warm.example\r\n\r\n")
        .await
        .unwrap();
    assert!(matches!(
        acceptor.accept(far).await,
        Err(AcceptError::NotTls)
    ));
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{answer}"
    );
    assert_eq!(body, "this port speaks TLS: use https://");
}

#[tokio::test]
async fn garbage_is_answered_with_an_alert() {
    let (_, acceptor) = warm();
    let (mut near, far) = tokio::io::duplex(4096);
    near.write_all(&[0x80; 64]).await.unwrap();
    assert!(matches!(
        acceptor.accept(far).await,
        Err(AcceptError::Tls(_))
    ));
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&21), "an alert record, not {answer:?}");
}

#[tokio::test]
async fn a_hello_may_come_byte_by_byte() {
    let name = pki_types::ServerName::try_from("warm.example").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(anyone()), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let (mut near, mut far) = tokio::io::duplex(1);
    let (sent, accepted) = tokio::join!(near.write_all(&hello), read_hello(&mut far, &[]));
    sent.unwrap();
    assert_eq!(
        accepted.unwrap().client_hello().server_name(),
        Some("warm.example")
    );
}

#[tokio::test]
async fn a_client_that_leaves_is_an_io_error() {
    let (_, acceptor) = warm();
    let (near, far) = tokio::io::duplex(4096);
    drop(near);
    assert!(matches!(
        acceptor.accept(far).await,
        Err(AcceptError::Io(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_cut_off() {
    let (_, acceptor) = warm();
    let limited = acceptor
        .clone()
        .with_timeout(HandshakeTimeout(Duration::from_secs(3)));
    for (acceptor, limit) in [(acceptor, 10), (limited, 3)] {
        let (_near, far) = tokio::io::duplex(4096);
        let began = Instant::now();
        assert!(matches!(
            acceptor.accept(far).await,
            Err(AcceptError::Timeout)
        ));
        assert_eq!(began.elapsed().as_secs(), limit);
    }
}

#[tokio::test]
async fn sessions_resume_and_their_certificate_is_known() {
    for version in [&TLS12, &TLS13] {
        let (_, acceptor) = warm();
        let config = client_trusting_anyone(&[b"h2"], &[version]);
        assert_eq!(
            visit(&acceptor, &config, "warm.example").await,
            HandshakeKind::Full
        );
        // A clone is what another worker holds.
        let again = visit(&acceptor.clone(), &config, "warm.example").await;
        assert_eq!(again, HandshakeKind::Resumed, "{version:?}");
    }
}

#[tokio::test]
async fn many_clients_share_one_load() {
    let (provider, acceptor) = cold(Answer::Certificate, 0);
    let clients: Vec<_> = (0..20)
        .map(|_| shake(&acceptor, anyone(), "cold.example"))
        .collect();
    let open = async {
        while provider.loads.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        provider.gate.add_permits(100);
    };
    let (shaken, ()) = tokio::join!(futures_util::future::join_all(clients), open);
    for (client, server) in shaken {
        client.unwrap();
        assert!(server.unwrap().1.certificate.covers("cold.example"));
    }
    assert_eq!(provider.loads.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_outlives_the_client_that_asked() {
    let (provider, acceptor) = cold(Answer::Certificate, 0);
    let hasty = tokio::time::timeout(
        Duration::from_secs(1),
        shake(&acceptor, anyone(), "cold.example"),
    );
    assert!(hasty.await.is_err());
    provider.gate.add_permits(1);
    let (_, server) = shake(&acceptor, anyone(), "cold.example").await;
    server.unwrap();
    assert_eq!(provider.loads.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_hangs_is_given_up_and_tried_again() {
    let (provider, acceptor) = cold(Answer::Certificate, 0);
    let began = Instant::now();
    let (_, server) = shake(&acceptor, anyone(), "cold.example").await;
    assert!(matches!(server, Err(AcceptError::NoCertificate(Some(_)))));
    assert_eq!(began.elapsed().as_secs(), 5);
    provider.gate.add_permits(1);
    let (_, server) = shake(&acceptor, anyone(), "cold.example").await;
    server.unwrap();
    assert_eq!(provider.loads.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_name_without_certificate_is_remembered_for_ten_seconds() {
    let (provider, acceptor) = cold(Answer::NotFound, 100);
    for (wait, loads) in [(0, 1), (9, 1), (1, 2)] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        let (_, server) = shake(&acceptor, anyone(), "cold.example").await;
        assert!(matches!(server, Err(AcceptError::NoCertificate(Some(_)))));
        assert_eq!(
            provider.loads.load(Ordering::SeqCst),
            loads,
            "after {wait} s more"
        );
    }
}

#[tokio::test]
async fn an_unavailable_certificate_is_asked_for_again() {
    let (provider, acceptor) = cold(Answer::Unavailable, 100);
    for loads in 1..=3 {
        let (_, server) = shake(&acceptor, anyone(), "cold.example").await;
        assert!(matches!(server, Err(AcceptError::NoCertificate(Some(_)))));
        assert_eq!(provider.loads.load(Ordering::SeqCst), loads);
    }
}

#[tokio::test]
async fn a_load_that_is_never_run_frees_its_name() {
    let (provider, _) = cold(Answer::Certificate, 100);
    let acceptor = Acceptor::new(provider, terms(), Spawn::new(drop));
    for _ in 0..2 {
        let (_, server) = shake(&acceptor, anyone(), "cold.example").await;
        assert!(matches!(server, Err(AcceptError::NoCertificate(Some(_)))));
    }
}

// === helpers ===

fn warm() -> (certs::Pair, Acceptor) {
    let pair = certs::for_names(&["warm.example"]);
    let provider = Scripted::serving(&pair, Answer::NotFound, 0);
    (pair, acceptor(Arc::new(provider)))
}

fn cold(answer: Answer, permits: usize) -> (Arc<Scripted>, Acceptor) {
    let pair = certs::for_names(&["cold.example"]);
    let provider = Arc::new(Scripted::serving(&pair, answer, permits));
    (Arc::clone(&provider), acceptor(provider))
}

fn acceptor(provider: Arc<dyn CertProvider>) -> Acceptor {
    #[expect(clippy::disallowed_methods, reason = "the test's runtime ends them")]
    let spawn = Spawn::new(|work| drop(tokio::spawn(work)));
    Acceptor::new(provider, terms(), spawn)
}

fn terms() -> Arc<Terms> {
    let clock = Arc::new(crate::clock::SystemClock);
    Terms::new(&TlsConfig::default(), clock, None).unwrap()
}

fn anyone() -> ClientConfig {
    client_trusting_anyone(&[], &[&TLS13])
}

async fn shake(acceptor: &Acceptor, client: ClientConfig, name: &str) -> (Connected, Shaken) {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let name = pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let accept = async {
        match acceptor.accept(far).await? {
            Accepted::Ended(stream, handshake) => Ok((stream, handshake)),
            Accepted::Passed(..) => panic!("nothing is passed on here"),
        }
    };
    tokio::join!(connector.connect(name, near), accept)
}

/// Shakes hands and lets the server say a word, so that the client reads its ticket.
async fn visit(acceptor: &Acceptor, config: &ClientConfig, name: &str) -> HandshakeKind {
    let (client, server) = shake(acceptor, config.clone(), name).await;
    let (mut stream, handshake) = server.unwrap();
    assert!(handshake.certificate.covers(name));
    stream.write_all(b"!").await.unwrap();
    stream.flush().await.unwrap();
    client.unwrap().read_u8().await.unwrap();
    stream.get_ref().1.handshake_kind().unwrap()
}

impl Scripted {
    fn serving(pair: &certs::Pair, answer: Answer, permits: usize) -> Self {
        let certificate = Arc::new(pair.certificate());
        Self {
            certificate,
            loads: AtomicUsize::new(0),
            gate: Semaphore::new(permits),
            answer,
        }
    }
}

#[async_trait]
impl CertProvider for Scripted {
    fn lookup(&self, hello: &Hello<'_>) -> Lookup {
        match hello.name {
            Some(name) if name.as_str() == "warm.example" => {
                Lookup::Found(Arc::clone(&self.certificate))
            }
            Some(name) if name.as_str() == "cold.example" => Lookup::Cold(name.clone()),
            _ => Lookup::Unknown,
        }
    }

    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        match self.answer {
            Answer::Certificate => Ok(Arc::clone(&self.certificate)),
            Answer::NotFound => Err(CertError::NotFound(name.clone())),
            Answer::Unavailable => Err(CertError::Unavailable {
                name: name.clone(),
                source: BoxError::from("the vault is sealed"),
            }),
        }
    }
}
