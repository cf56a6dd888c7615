//! WebSocket and other protocols on a connection that began with HTTP/1.1.

use std::net::SocketAddr;
use std::time::Duration;

use cirrus_core::testing::{Client, Origin, proxy, reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::site;

/// An origin that switches to a protocol that says "hello" and then gives everything back; its requests' heads.
async fn echo(response: &'static [u8]) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                heads.send(String::from_utf8(head).unwrap()).unwrap();
                stream.write_all(response).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
    });
    (address, seen)
}

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhello";

const ASK: &[u8] = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n";

async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let read = stream.read_exact(&mut bytes);
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .unwrap()
        .unwrap();
    bytes
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read(stream, 1).await);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

#[tokio::test]
async fn bytes_go_both_ways_after_the_switch() {
    let (origin, heads) = echo(SWITCH).await;
    let proxy = proxy::new(&site(&format!("http://{origin}"))).run().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(ASK).await.unwrap();
    let answer = head(&mut client).await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    for field in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-accept: x\r\n",
    ] {
        assert!(answer.contains(field), "{answer}");
    }
    assert_eq!(read(&mut client, 5).await, b"hello");
    let bytes: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let (mut reading, mut writing) = client.split();
    let mut back = vec![0; bytes.len()];
    let (sent, got) = tokio::join!(writing.write_all(&bytes), reading.read_exact(&mut back));
    sent.unwrap();
    got.unwrap();
    assert!(back == bytes);
    writing.shutdown().await.unwrap();
    assert_eq!(
        reading.read(&mut back).await.unwrap(),
        0,
        "an end on one side reaches the other"
    );
    let asked = heads.recv().unwrap();
    for field in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-key: k\r\n",
        "host: a\r\n",
    ] {
        assert!(asked.contains(field), "{asked}");
    }
}

#[tokio::test]
async fn bytes_before_the_switch_belong_to_the_other_protocol() {
    let (origin, _heads) = echo(SWITCH).await;
    let proxy = proxy::new(&site(&format!("http://{origin}"))).run().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(&[ASK, b"\0early"].concat()).await.unwrap();
    assert!(head(&mut client).await.starts_with("http/1.1 101 "));
    assert_eq!(read(&mut client, 11).await, b"hello\0early");
}

#[tokio::test]
async fn a_tunnel_keeps_its_room_and_ends_with_draining() {
    let (origin, _heads) = echo(SWITCH).await;
    let toml = format!(
        "[server]\nworkers = 1\ndrain = \"100ms\"\n[limits]\nconnections = 1\n{}",
        site(&format!("http://{origin}"))
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(ASK).await.unwrap();
    head(&mut client).await;
    read(&mut client, 5).await;
    let mut other = Client::to(proxy.address());
    other.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(
        other.reply_or_end("GET").await.is_none(),
        "the one place is taken"
    );
    tokio::time::timeout(Duration::from_secs(20), proxy.shutdown())
        .await
        .unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), client.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty(), "{ended:?} {rest:?}");
}

#[tokio::test]
async fn a_tunnel_outlives_changes_of_the_configuration() {
    let (origin, _heads) = echo(SWITCH).await;
    let proxy = proxy::new(&site(&format!("http://{origin}"))).run().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(ASK).await.unwrap();
    head(&mut client).await;
    read(&mut client, 5).await;
    proxy.reconfigure("[[site]]\nhosts = [\"*\"]\n[[site.route]]\nrespond = {}\n");
    while proxy.revision() < 2 {
        tokio::task::yield_now().await;
    }
    client.write_all(b"still there").await.unwrap();
    assert_eq!(read(&mut client, 11).await, b"still there");
}

#[tokio::test]
async fn an_origin_that_stays_with_http_is_answered_as_ever() {
    let origin = Origin::new().get("*", |_| reply("no")).run().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let mut client = Client::to(proxy.address());
    client.send(ASK).await;
    assert_eq!(client.reply_to("GET").await.text(), "no");
    assert_eq!(client.get("/").await.text(), "no", "on the same connection");
}

#[tokio::test]
async fn what_is_no_upgrade_is_not_passed_on_as_one() {
    let origin = Origin::new().get("*", |_| reply("no")).run().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let mut client = Client::to(proxy.address());
    for lines in [
        "upgrade: websocket\r\n",
        "connection: upgrade\r\nupgrade: h2c\r\n",
        "connection: upgrade\r\nupgrade: a\r\nupgrade: b\r\n",
    ] {
        client.get_with("/", lines).await;
    }
    client
        .ask(
            "POST",
            "/",
            "connection: upgrade\r\nupgrade: websocket\r\n",
            b"content",
        )
        .await;
    assert!(
        origin.asked().iter().all(
            |asked| asked.header("upgrade").is_empty() && asked.header("connection").is_empty()
        )
    );
}

#[tokio::test]
async fn a_switch_to_nothing_is_502() {
    let (origin, _heads) = echo(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    let proxy = proxy::new(&site(&format!("http://{origin}"))).run().await;
    let mut client = Client::to(proxy.address());
    client.send(ASK).await;
    assert_eq!(client.reply_to("GET").await.status, 502);
}

#[tokio::test]
async fn a_tunnel_holds_its_place_as_long_as_it_lasts() {
    let (origin, _heads) = echo(SWITCH).await;
    let limited = "[[site]]\nhosts = [\"*\"]\nconcurrency = { requests = 1 }\n";
    let toml = format!("{limited}[[site.origin]]\nurl = \"http://{origin}\"\n");
    let proxy = proxy::new(&toml).run().await;
    let mut tunnel = TcpStream::connect(proxy.address()).await.unwrap();
    tunnel.write_all(ASK).await.unwrap();
    assert!(head(&mut tunnel).await.starts_with("http/1.1 101 "));
    assert_eq!(read(&mut tunnel, 5).await, b"hello");
    assert_eq!(Client::to(proxy.address()).get("/").await.status, 503);
    drop(tunnel);
    let free = async {
        loop {
            let mut next = TcpStream::connect(proxy.address()).await.unwrap();
            next.write_all(ASK).await.unwrap();
            if head(&mut next).await.starts_with("http/1.1 101 ") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), free)
        .await
        .unwrap();
}
