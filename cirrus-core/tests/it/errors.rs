//! Every failure has its status, and none shows the inside.

use std::time::Duration;

use cirrus_core::testing::{Client, Origin, ports, proxy, reply, scripted};

use crate::{before, nowhere, site};

#[tokio::test]
async fn malformed_requests_are_refused() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let (proxy, _) = before(&origin).await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET /../x HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET a HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a\\..\\b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nbroken\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    ] {
        let mut client = Client::to(proxy.address());
        client.send(request.as_bytes()).await;
        assert_eq!(client.reply_to("GET").await.status, 400, "{request}");
    }
    assert_eq!(origin.count(), 0, "nothing of it reached the origin");
}

#[tokio::test]
async fn tunnels_and_echoes_are_refused() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let (proxy, mut client) = before(&origin).await;
    let response = client.ask("TRACE", "/", "", b"").await;
    assert_eq!(
        (response.status, response.header("allow").contains("GET")),
        (405, true)
    );
    let mut client = Client::to(proxy.address());
    client
        .send(b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n")
        .await;
    assert_eq!(client.reply_to("CONNECT").await.status, 405);
}

#[tokio::test]
async fn unknown_hosts_are_404() {
    let proxy = proxy::new(
        "[[site]]\nhosts = [\"a.example\"]\n[[site.origin]]\nurl = \"http://127.0.0.1:1\"\n",
    )
    .run()
    .await;
    let response = Client::to(proxy.address()).host("b.example").get("/").await;
    assert_eq!(
        (response.status, response.header("cache-control")),
        (404, "no-store".into())
    );
    assert_eq!(
        response.text(),
        "404 Not Found: no site is served under this host\n"
    );
}

#[tokio::test]
async fn an_origin_that_is_down_is_502() {
    let url = nowhere();
    let proxy = proxy::new(&site(&url)).run().await;
    let mut client = Client::to(proxy.address());
    let response = client.get_with("/", "accept: application/json\r\n").await;
    assert_eq!(
        (response.status, response.header("proxy-status")),
        (502, "cirrus; error=connection_refused".into())
    );
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert!(
        !response.text().contains("127.0.0.1"),
        "{}",
        response.text()
    );
    let response = client.get_with("/", "accept: text/html\r\n").await;
    assert!(
        response.text().starts_with("<!doctype html>"),
        "{}",
        response.text()
    );
    assert_eq!(response.header("content-type"), "text/html; charset=utf-8");
}

#[tokio::test]
async fn an_origin_that_is_slow_is_504() {
    let origin = Origin::new()
        .later("/", |_| std::future::pending())
        .run()
        .await;
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\ntimeouts = {{ first_byte = \"50ms\" }}\n[[site.origin]]\nurl = \"{}\"\n",
        origin.url()
    );
    let proxy = proxy::new(&toml).run().await;
    let response = Client::to(proxy.address()).get("/").await;
    assert_eq!(
        (response.status, response.header("proxy-status")),
        (504, "cirrus; error=http_response_timeout".into())
    );
}

#[tokio::test]
async fn nobody_left_is_503_and_says_when_to_come_again() {
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\nhealth = {{ failures = 1, eject = \"20s\" }}\n\
         [[site.origin]]\nurl = \"{}\"\n[[site.origin]]\nurl = \"{}\"\n",
        nowhere(),
        nowhere()
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(
        client.get("/").await.status,
        502,
        "both are tried and ejected"
    );
    let response = client.get("/").await;
    let wait: u64 = response.header("retry-after").parse().unwrap();
    assert_eq!(
        (response.status, (1..=20).contains(&wait)),
        (503, true),
        "{wait}"
    );
}

#[tokio::test]
async fn malformed_responses_are_502() {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad field: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        "HTTP/1.1 999999 OK\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let origin = scripted(response.as_bytes()).await;
        let (_proxy, mut client) = before(&origin).await;
        let answer = client.get("/").await;
        assert_eq!(
            (answer.status, answer.header("proxy-status")),
            (502, "cirrus; error=http_protocol_error".into()),
            "{response}"
        );
    }
}

#[tokio::test]
async fn an_origin_that_closes_without_an_answer_is_502() {
    let origin = scripted(b"").await;
    let (_proxy, mut client) = before(&origin).await;
    let answer = client.get("/").await;
    assert_eq!(
        (answer.status, answer.header("proxy-status")),
        (502, "cirrus; error=connection_terminated".into())
    );
}

#[tokio::test]
async fn a_response_that_breaks_off_breaks_off_for_the_client_too() {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello, world\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    ] {
        let origin = scripted(response.as_bytes()).await;
        let (_proxy, mut client) = before(&origin).await;
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = client.reply_or_end("GET").await;
        assert!(answer.is_none(), "{response}: {answer:?}");
    }
}

#[tokio::test]
async fn a_silent_origin_in_the_middle_of_a_body_is_cut_off() {
    let origin = Origin::new().get("/", |_| {
        let (mut sender, body) =
            http_body_util::channel::Channel::<_, std::convert::Infallible>::new(1);
        let _ = sender.try_send(http_body::Frame::data("begin".into()));
        std::mem::forget(sender);
        reply(cirrus_core::Body::stream(body))
    });
    let origin = origin.run().await;
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\ntimeouts = {{ idle = \"50ms\" }}\n[[site.origin]]\nurl = \"{}\"\n",
        origin.url()
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.reply_or_end("GET").await.is_none());
}

#[tokio::test]
async fn a_request_that_comes_round_again_is_508() {
    // Two proxies that are each other's origin: no configuration could have told.
    let port = ports::free();
    let first = proxy::new(&site(&format!("http://{port}"))).run().await;
    let listen = format!("[[listen]]\naddress = \"{port}\"\n");
    let _second = proxy::new(&format!(
        "{listen}{}",
        site(&format!("http://{}", first.address()))
    ))
    .run()
    .await;
    let mut client = Client::to(first.address());
    let response = tokio::time::timeout(Duration::from_secs(20), client.get("/")).await;
    assert_eq!(response.unwrap().status, 508);
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_its_request_is_408() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\ntimeouts = {{ first_byte = \"50ms\" }}\n[[site.origin]]\nurl = \"{}\"\n",
        origin.url()
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    client
        .send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345")
        .await;
    assert_eq!(client.reply_to("POST").await.status, 408);
}
