//! Limits that are on by default.

use std::time::Duration;

use cirrus_core::testing::{Client, Origin, proxy, reply};

use crate::site;

#[tokio::test]
async fn a_header_that_is_too_large_is_431() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let toml = format!("[limits]\nheader_bytes = \"8KiB\"\n{}", site(&origin.url()));
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(
        client
            .get_with("/", &format!("x: {}\r\n", "a".repeat(6000)))
            .await
            .status,
        200
    );
    assert_eq!(
        client
            .get_with("/", &format!("x: {}\r\n", "a".repeat(9000)))
            .await
            .status,
        431
    );
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_go_on() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!("[limits]\nconnections = 2\n{}", site(&origin.url()));
    let proxy = proxy::new(&toml).run().await;
    let (mut a, mut b) = (Client::to(proxy.address()), Client::to(proxy.address()));
    assert_eq!(
        (a.get("/").await.status, b.get("/").await.status),
        (200, 200)
    );
    let mut c = Client::to(proxy.address());
    c.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(c.reply_or_end("GET").await.is_none());
    assert_eq!(a.get("/").await.text(), "ok");
    b.leave();
    // Its place is free as soon as the proxy has seen it leave.
    let served = async {
        loop {
            let mut c = Client::to(proxy.address());
            c.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            if c.reply_or_end("GET").await.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), served)
        .await
        .unwrap();
}

#[tokio::test]
async fn silent_clients_are_shown_out() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!(
        "[limits]\nheader_time = \"100ms\"\nidle_time = \"100ms\"\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut slow = Client::to(proxy.address());
    slow.send(b"GET / HTTP/1.1\r\nhost").await;
    assert!(slow.is_closed().await);
    let mut idle = Client::to(proxy.address());
    assert_eq!(idle.get("/").await.text(), "ok");
    assert!(idle.is_closed().await);
    let mut mute = Client::to(proxy.address());
    mute.send(b"").await;
    assert!(mute.is_closed().await);
}

/// What the first of these clients gets that gets an answer; the others are closed at once.
async fn is_refused(client: &mut Client) -> bool {
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.reply_or_end("GET").await.is_none()
}

#[tokio::test]
async fn one_client_cannot_have_every_connection() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!(
        "[limits]\nconnections_per_client = 2\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let (mut a, mut b) = (Client::to(proxy.address()), Client::to(proxy.address()));
    assert_eq!(a.get("/").await.status, 200);
    assert_eq!(b.get("/").await.status, 200);
    let mut c = Client::to(proxy.address());
    assert!(is_refused(&mut c).await);
    assert_eq!(a.get("/").await.text(), "ok");
    b.leave();
    let served = async { while is_refused(&mut Client::to(proxy.address())).await {} };
    tokio::time::timeout(Duration::from_secs(20), served)
        .await
        .unwrap();
}

#[tokio::test]
async fn trusted_proxies_may_have_every_connection() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!(
        "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[limits]\nconnections_per_client = 1\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::to(proxy.address());
        assert_eq!(client.get("/").await.status, 200);
        clients.push(client);
    }
}

#[tokio::test]
async fn behind_proxy_protocol_each_named_client_counts_by_itself() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.0/8\"]\n\
         [limits]\nconnections_per_client = 1\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut kept = Vec::new();
    for (named, refused) in [
        ("192.0.2.1", false),
        ("192.0.2.2", false),
        ("192.0.2.1", true),
    ] {
        let mut client = Client::to(proxy.address());
        let introduction = format!("PROXY TCP4 {named} 192.0.2.8 5000 80\r\n");
        client.send(introduction.as_bytes()).await;
        assert_eq!(is_refused(&mut client).await, refused, "{named}");
        kept.push(client);
    }
}

#[tokio::test]
async fn a_worn_connection_ends_with_its_last_response() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!(
        "[limits]\nrequests_per_connection = 2\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    assert!(!client.get("/").await.closes);
    let last = client.get("/").await;
    assert!(last.closes && last.text() == "ok");
    assert!(!client.get("/").await.closes, "on a new connection");
}

#[tokio::test]
async fn a_body_that_does_not_go_on_is_408() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let toml = format!(
        "[limits]\nbody_idle_time = \"100ms\"\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n123";
    client.send(head).await;
    let answer = client.reply_to("POST").await;
    assert_eq!(answer.status, 408);
    assert!(answer.closes || client.is_closed().await);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let large = |_| reply(vec![b'x'; 32 << 20]);
    let origin = Origin::new().get("*", large).run().await;
    let toml = format!("[limits]\nsend_time = \"200ms\"\n{}", site(&origin.url()));
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let stalled = async {
        let mut admin = Client::to(proxy.admin()).host("localhost");
        let is_counted = "cirrus_responses_stalled_total 1";
        while !admin.get("/metrics").await.text().contains(is_counted) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stalled)
        .await
        .unwrap();
    assert!(client.reply_or_end("GET").await.is_none(), "it broke off");
}

/// What a client that ends its side behind its request gets, and whether the origin's answer was wanted.
async fn half_closed(listen: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (open, gate) = tokio::sync::watch::channel(false);
    let origin = Origin::new().later("*", move |_| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            reply("late")
        }
    });
    let origin = origin.run().await;
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{listen}\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut stream = tokio::net::TcpStream::connect(proxy.address())
        .await
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let asked = async {
        while origin.count() == 0 {
            tokio::task::yield_now().await;
        }
    };
    let mut answer = String::new();
    let answered = async {
        if listen.contains("true") {
            asked.await;
            open.send(true).unwrap();
        }
        stream.read_to_string(&mut answer).await.unwrap()
    };
    tokio::time::timeout(Duration::from_secs(20), answered)
        .await
        .unwrap();
    answer
}

#[tokio::test]
async fn a_client_that_ends_its_side_is_gone_unless_it_may_do_so() {
    assert_eq!(half_closed("half_close = false").await, "");
    let answer = half_closed("half_close = true").await;
    assert!(answer.ends_with("\r\n\r\nlate"), "{answer}");
}

/// Waits until the gauge fulfils this.
async fn buffered(proxy: &proxy::Running, is_right: impl Fn(u64) -> bool) -> u64 {
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let seen = async {
        loop {
            let page = admin.get("/metrics").await;
            let line = page
                .text()
                .lines()
                .find_map(|line| line.strip_prefix("cirrus_buffered_bytes "));
            let bytes = line.unwrap().parse::<f64>().unwrap() as u64;
            if is_right(bytes) {
                return bytes;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_waits_for_a_client_that_does_not_read_is_limited() {
    let body = vec![b'x'; 16 << 20];
    let origin = Origin::new()
        .get("*", move |_| reply(body.clone()))
        .run()
        .await;
    let toml = format!(
        "[limits]\nconnection_buffer = \"64KiB\"\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let waiting = buffered(&proxy, |bytes| bytes > 0).await;
    assert!(
        waiting <= 128 * 1024,
        "{waiting}: at most one piece more than is allowed"
    );
    client.leave();
    buffered(&proxy, |bytes| bytes == 0).await;
}
