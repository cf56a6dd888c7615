use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;

use super::resolve::{Answer, NoAnswer};
use super::*;

/// Knows one answer, whatever the name.
struct Says(Result<Vec<IpAddr>, &'static str>);

impl Lookup for Says {
    fn lookup(&self, _: &Arc<str>) -> BoxFuture<'static, Result<Answer, NoAnswer>> {
        let ttl = Duration::from_secs(60);
        let answer = self.0.clone().map(|addresses| Answer { addresses, ttl });
        Box::pin(async move { answer.map_err(|why| NoAnswer::Failed(why.to_owned())) })
    }
}

fn to(url: &str) -> Transport {
    Transport {
        url: url.parse().unwrap(),
        sni: None,
        tls: None,
        introduction: None,
        protocol: crate::config::OriginProtocol::Http1,
        owner: None,
    }
}

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn localhost_is_known_to_every_machine() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connector = Connector::default();
    let transport = to(&format!("http://localhost:{port}"));
    connector.connect(&transport, LIMIT).await.unwrap();
    assert_eq!(connector.resolver.counts().failures.get(), 0);
}

#[tokio::test]
async fn where_ipv6_is_refused_ipv4_is_reached() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let both = ["::1", "127.0.0.1"].map(|ip| ip.parse().unwrap());
    let connector = Connector::resolving(Says(Ok(both.to_vec())));
    let transport = to(&format!("http://both.test:{port}"));
    let wire = connector.connect(&transport, LIMIT).await.unwrap();
    let Io::Tcp(stream) = wire.io else {
        panic!("TLS that nobody asked for")
    };
    assert!(stream.peer_addr().unwrap().is_ipv4());
    let order = connector.resolver.resolve("both.test").await.unwrap();
    assert!(order[0].is_ipv4(), "what worked goes first");
}

#[tokio::test]
async fn what_went_wrong_has_a_word() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let connector = Connector::resolving(Says(Err("SERVFAIL")));
    let words = async |url: String| {
        let error = connector.connect(&to(&url), LIMIT).await.unwrap_err();
        word(&error)
    };
    assert_eq!(
        words(format!("http://127.0.0.1:{port}")).await,
        "connection_refused"
    );
    assert_eq!(words("http://unknown.test".to_owned()).await, "dns_error");
    // The machine accepts, and nobody ever says a word.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent = to(&format!("https://{}", listener.local_addr().unwrap()));
    let late = connector.connect(&silent, Duration::from_millis(20)).await;
    assert_eq!(word(&late.unwrap_err()), "connection_timeout");
    assert_eq!(
        words("unix:/nowhere/at/all.sock".to_owned()).await,
        "connection_refused"
    );
    // A server that speaks no TLS, and one that leaves.
    for (said, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "tls_protocol_error",
        ),
        (b"", "connection_terminated"),
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, said).await;
        };
        let (word, ()) = tokio::join!(words(url), server);
        assert_eq!(word, expected);
    }
}

/// Connections to a name are not made one after the other where nobody answers.
#[tokio::test(start_paused = true)]
async fn all_addresses_of_a_name_take_part() {
    let tried = AtomicUsize::new(0);
    let addresses = ["::1", "10.0.0.1", "::2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let outcome = race(addresses.into_iter(), |_| async {
        let number = tried.fetch_add(1, Ordering::Relaxed);
        match number {
            2 => Ok(number),
            _ => std::future::pending().await,
        }
    });
    assert_eq!(outcome.await.unwrap(), 2);
}
