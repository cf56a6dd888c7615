//! What is made of a stored response: a header alone, a part, "you have it already".

use cirrus_core::testing::{Describe, Origin, reply};

use cirrus_core::testing::{Client, proxy};

use crate::{cached, did, is_hit, pattern, secs, with_store};

fn page() -> cirrus_core::Response {
    reply("0123456789")
        .with("etag", "\"a\"")
        .with("last-modified", "Fri, 20 Nov 2020 12:00:00 GMT")
        .with("cache-control", "max-age=60")
        .with("x-page", "yes")
}

#[tokio::test]
async fn a_get_answers_heads() {
    let origin = Origin::new().get("/", |_| page()).run().await;
    let (_proxy, mut client) = cached(&origin).await;
    let cold = client.ask("HEAD", "/", "", b"").await;
    assert_eq!(
        (cold.status, &*did(&cold)),
        (200, "fwd=uri-miss; detail=head")
    );
    assert_eq!(
        did(&client.get("/").await),
        "fwd=uri-miss; stored",
        "a HEAD has no body to store"
    );
    let head = client.ask("HEAD", "/", "", b"").await;
    assert_eq!((head.status, &*did(&head)), (200, "hit; ttl=60"));
    assert_eq!(
        (head.header("content-length"), head.header("x-page")),
        ("10".into(), "yes".into())
    );
    assert_eq!(
        client.get("/").await.text(),
        "0123456789",
        "the connection is still in step"
    );
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_hit_has_parts() {
    let origin = Origin::new().get("/", |_| page()).run().await;
    let (_proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    for (asked, told, body) in [
        ("0-0", "bytes 0-0/10", "0"),
        ("2-4", "bytes 2-4/10", "234"),
        ("7-", "bytes 7-9/10", "789"),
        ("-3", "bytes 7-9/10", "789"),
        ("-100", "bytes 0-9/10", "0123456789"),
        ("8-100", "bytes 8-9/10", "89"),
    ] {
        let part = client
            .get_with("/", &format!("range: bytes={asked}\r\n"))
            .await;
        assert_eq!((part.status, part.text()), (206, body), "{asked}");
        assert_eq!(part.header("content-range"), told);
        assert!(is_hit(&part));
    }
    for none in ["10-", "100-200", "-0"] {
        let part = client
            .get_with("/", &format!("range: bytes={none}\r\n"))
            .await;
        assert_eq!(
            (part.status, &*part.header("content-range")),
            (416, "bytes */10"),
            "{none}"
        );
    }
    for void in ["4-2", "a-b", "1-2,x"] {
        let whole = client
            .get_with("/", &format!("range: bytes={void}\r\n"))
            .await;
        assert_eq!((whole.status, whole.text()), (200, "0123456789"), "{void}");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_part_is_only_of_the_response_that_the_client_means() {
    let origin = Origin::new().get("/", |_| page()).run().await;
    let (_proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    for (condition, status) in [("\"a\"", 206), ("\"b\"", 200), ("W/\"a\"", 200)] {
        let lines = format!("range: bytes=0-1\r\nif-range: {condition}\r\n");
        assert_eq!(
            client.get_with("/", &lines).await.status,
            status,
            "{condition}"
        );
    }
}

#[tokio::test]
async fn parts_of_a_large_body_fit_together() {
    let body = pattern(3_000_000);
    let (whole, sent) = (body.clone(), body);
    let origin = Origin::new()
        .get("/", move |_| {
            reply(sent.clone()).with("cache-control", "max-age=60")
        })
        .run()
        .await;
    let (_proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    let mut joined = Vec::new();
    for start in (0..3_000_000).step_by(700_001) {
        let range = format!("range: bytes={start}-{}\r\n", start + 700_000);
        let part = client.get_with("/", &range).await;
        assert_eq!(part.status, 206);
        joined.extend(part.body);
    }
    assert!(joined == whole, "{} bytes", joined.len());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_client_that_has_it_already_is_told_so() {
    let origin = Origin::new().get("/", |_| page()).run().await;
    let (proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    for line in [
        "if-none-match: \"a\"",
        "if-none-match: W/\"a\"",
        "if-none-match: \"b\", \"a\"",
        "if-none-match: *",
        "if-modified-since: Fri, 20 Nov 2020 12:00:00 GMT",
        // The tag is the better witness.
        "if-none-match: \"a\"\r\nif-modified-since: Fri, 20 Nov 2015 12:00:00 GMT",
    ] {
        let answer = client.get_with("/", &format!("{line}\r\n")).await;
        assert_eq!(
            (answer.status, &*answer.header("etag")),
            (304, "\"a\""),
            "{line}"
        );
        assert_eq!((&*did(&answer), answer.body.len()), ("hit; ttl=60", 0));
    }
    for line in [
        "if-none-match: \"b\"",
        "if-modified-since: Fri, 20 Nov 2015 12:00:00 GMT",
    ] {
        let answer = client.get_with("/", &format!("{line}\r\n")).await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, "0123456789"),
            "{line}"
        );
    }
    proxy.clock().advance(secs(5));
    let head = client
        .ask("HEAD", "/", "if-none-match: \"a\"\r\n", b"")
        .await;
    assert_eq!((head.status, &*head.header("age")), (304, "5"));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_conditional_request_for_what_is_not_stored_fills_the_store() {
    let origin = Origin::new().get("/", |_| page()).run().await;
    let (_proxy, mut client) = cached(&origin).await;
    let answer = client.get_with("/", "if-none-match: \"a\"\r\n").await;
    assert_eq!(
        (answer.status, &*did(&answer)),
        (304, "fwd=uri-miss; stored")
    );
    assert_eq!(origin.asked()[0].header("if-none-match"), "");
    let hit = client.get("/").await;
    assert_eq!((hit.text(), is_hit(&hit)), ("0123456789", true));
}

#[tokio::test]
async fn what_came_over_http_2_is_stored_like_anything_else() {
    let large = pattern(3_000_000);
    let sent = large.clone();
    let origin = Origin::new()
        .get("/", |asked| match asked.header("if-none-match").as_str() {
            "\"a\"" => page().with_status(304),
            _ => page(),
        })
        .get("/large", move |_| {
            reply(sent.clone()).with("cache-control", "max-age=60")
        })
        .over_http2()
        .run()
        .await;
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\nprotocol = \"http2\"\ncache = {{ enable = true }}\n\
         origin = [{{ url = \"{}\" }}]\n",
        origin.url()
    );
    let proxy = with_store(proxy::new(&toml)).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(did(&client.get("/").await), "fwd=uri-miss; stored");
    let hit = client.get("/").await;
    assert!(is_hit(&hit));
    assert_eq!(
        (hit.text(), hit.header("via")),
        ("0123456789", "2.0 cirrus".into())
    );
    proxy.clock().advance(secs(61));
    let again = client.get("/").await;
    assert_eq!((again.status, again.text()), (200, "0123456789"));
    for _ in 0..2 {
        assert!(client.get("/large").await.body == large);
    }
    assert_eq!(origin.count(), 3);
}
