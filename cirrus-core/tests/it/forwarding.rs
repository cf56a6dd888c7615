//! What the origin gets to see, and what the client gets back.

use cirrus_core::testing::{Client, Describe, Origin, proxy, reply};

use crate::{before, site};

#[tokio::test]
async fn passes_a_request_and_its_response_on() {
    let answer = |_| {
        reply("made")
            .with_status(201)
            .with("x-origin", "yes")
            .with("set-cookie", "a=1")
            .with("set-cookie", "b=2")
    };
    let origin = Origin::new().get("/things", answer).run().await;
    let (_proxy, mut client) = before(&origin).await;
    let response = client
        .ask("POST", "/things?q=1&q=2", "x-client: yes\r\n", b"content")
        .await;
    assert_eq!((response.status, response.text()), (201, "made"));
    assert_eq!(
        (response.header("x-origin"), response.header("set-cookie")),
        ("yes".into(), "a=1, b=2".into())
    );
    assert_eq!(response.header("via"), "1.1 cirrus");
    let asked = &origin.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("POST", "/things?q=1&q=2")
    );
    assert_eq!(
        (asked.header("x-client"), asked.body.as_deref()),
        ("yes".into(), Some(&b"content"[..]))
    );
    assert_eq!(asked.header("host"), "shop.example");
}

#[tokio::test]
async fn tells_the_origin_who_asked() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let (_proxy, mut client) = before(&origin).await;
    let forged = "x-forwarded-for: 10.0.0.1\r\nX_Forwarded_For: 10.0.0.1\r\nx-forwarded-ssl: on\r\nx_real_ip: 1\r\nx-forwarded-proto: https\r\nforwarded: for=10.0.0.1\r\nx-real-ip: 10.0.0.1\r\n";
    client.get_with("/", forged).await;
    let asked = &origin.asked()[0];
    assert_eq!(asked.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(asked.header("x-forwarded-proto"), "http");
    assert_eq!(asked.header("x-forwarded-host"), "shop.example");
    assert_eq!(
        asked.header("forwarded"),
        "for=127.0.0.1;host=\"shop.example\";proto=http"
    );
    for claim in [
        "x-real-ip",
        "x_real_ip",
        "x_forwarded_for",
        "x-forwarded-ssl",
    ] {
        assert_eq!(asked.header(claim), "", "{claim}");
    }
    assert_eq!(asked.header("via"), "1.1 cirrus");
}

#[tokio::test]
async fn extends_what_a_trusted_proxy_says() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let toml = format!(
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.0/8\"]\n{}",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let lines =
        "x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: https\r\nforwarded: for=192.0.2.7\r\n";
    Client::to(proxy.address()).get_with("/", lines).await;
    let asked = &origin.asked()[0];
    assert_eq!(asked.header("x-forwarded-for"), "192.0.2.7, 127.0.0.1");
    assert_eq!(asked.header("x-forwarded-proto"), "https");
    assert!(
        asked
            .header("forwarded")
            .starts_with("for=192.0.2.7, for=127.0.0.1;"),
        "{}",
        asked.header("forwarded")
    );
}

#[tokio::test]
async fn sets_the_sites_own_fields() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let toml = format!(
        "{}[site.upstream_headers]\nhost = \"inner.example\"\nx-key = \"1\"\n",
        format_args!(
            "[[site]]\nhosts = [\"*\"]\norigin = [{{ url = \"{}\" }}]\n",
            origin.url()
        )
    );
    let proxy = proxy::new(&toml).run().await;
    Client::to(proxy.address()).get("/").await;
    let asked = &origin.asked()[0];
    assert_eq!(
        (asked.header("host"), asked.header("x-key")),
        ("inner.example".into(), "1".into())
    );
}

#[tokio::test]
async fn keeps_what_is_for_one_hop_to_itself() {
    let answer = |_| {
        reply("")
            .with("connection", "x-hop")
            .with("x-hop", "1")
            .with("keep-alive", "timeout=5")
    };
    let origin = Origin::new().get("*", answer).run().await;
    let (_proxy, mut client) = before(&origin).await;
    let response = client
        .get_with(
            "/",
            "connection: x-secret\r\nx-secret: 1\r\nte: trailers\r\n",
        )
        .await;
    assert_eq!(
        (response.header("x-hop"), response.header("keep-alive")),
        (String::new(), String::new())
    );
    let asked = &origin.asked()[0];
    assert_eq!(
        (
            asked.header("x-secret"),
            asked.header("te"),
            asked.header("connection")
        ),
        Default::default()
    );
}

#[tokio::test]
async fn sends_the_path_in_its_normal_form() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let (_proxy, mut client) = before(&origin).await;
    client.get("/a/%2e%2E/b/%7Euser?x=%2e").await;
    assert_eq!(origin.asked()[0].target, "/b/~user?x=%2e");
}

#[tokio::test]
async fn streams_bodies_both_ways() {
    let origin = Origin::new()
        .get("*", |asked| reply(asked.body.unwrap()))
        .run()
        .await;
    let (_proxy, mut client) = before(&origin).await;
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let response = client.ask("PUT", "/", "", &body).await;
    assert!(response.body == body, "{} bytes", response.body.len());
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").await;
    assert_eq!(client.reply_to("POST").await.text(), "hello world");
    let asked = origin.asked();
    assert_eq!(
        (
            asked[0].header("content-length"),
            asked[1].header("transfer-encoding")
        ),
        ("3000000".into(), "chunked".into())
    );
}

#[tokio::test]
async fn a_body_cut_short_never_looks_whole_to_the_origin() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let (_proxy, mut client) = before(&origin).await;
    client
        .send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel")
        .await;
    client.leave();
    // The next request shows that the origin has seen the first one to its end.
    client.get("/next").await;
    let bodies: Vec<_> = origin
        .asked()
        .into_iter()
        .filter(|asked| asked.method == "POST")
        .map(|asked| asked.body)
        .collect();
    assert!(bodies.iter().all(Option::is_none), "{bodies:?}");
}

#[tokio::test]
async fn head_and_empty_responses_keep_their_framing() {
    let origin = Origin::new()
        .get("/page", |_| reply("hello"))
        .get("/none", |_| reply("").with_status(204))
        .get("/same", |_| {
            reply("").with_status(304).with("etag", "\"a\"")
        })
        .run()
        .await;
    let (_proxy, mut client) = before(&origin).await;
    let head = client.ask("HEAD", "/page", "", b"").await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, "5".into(), 0)
    );
    assert_eq!(client.get("/none").await.status, 204);
    assert_eq!(client.get("/same").await.status, 304);
    assert_eq!(
        client.get("/page").await.text(),
        "hello",
        "the connection is still in step"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::new()
        .get("*", |asked| reply(asked.target))
        .run()
        .await;
    let (_proxy, mut client) = before(&origin).await;
    let requests: String = (0..20)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n"))
        .collect();
    client.send(requests.as_bytes()).await;
    for n in 0..20 {
        assert_eq!(client.reply_to("GET").await.text(), format!("/{n}"));
    }
}

#[tokio::test]
async fn old_clients_are_served() {
    let origin = Origin::new().get("*", |_| reply("hello")).run().await;
    let (_proxy, mut client) = before(&origin).await;
    client.send(b"GET / HTTP/1.0\r\n\r\n").await;
    let response = client.reply_to("GET").await;
    assert_eq!((response.status, response.text()), (200, "hello"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_client_that_takes_trailers_is_passed_on_as_one() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let (_proxy, mut client) = before(&origin).await;
    for lines in [
        "te: gzip, Trailers\r\nconnection: te\r\n",
        "te: trailers\r\n",
        "te: gzip\r\nconnection: te\r\n",
    ] {
        client.get_with("/", lines).await;
    }
    let said: Vec<_> = origin
        .asked()
        .iter()
        .map(|asked| (asked.header("te"), asked.header("connection")))
        .collect();
    assert_eq!(
        said,
        [
            ("trailers".into(), "te".into()),
            Default::default(),
            Default::default()
        ]
    );
}
