//! Parts of what is stored, and conditions on it (RFC 9110 §13, §14).

use bytes::Bytes;
use cirrus_core::Body;
use cirrus_core::testing::{Client, Describe, Origin, Reply, RunningOrigin, reply};
use http_body_util::channel::Channel;
use parking_lot::Mutex;

use crate::{MIB, cached, did, is_hit, pattern};

/// The parts of a `multipart/byteranges` message: what each says that it is, and its bytes.
fn parts(reply: &Reply) -> Vec<(String, Vec<u8>)> {
    let kind = reply.header("content-type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("several parts");
    let line = format!("\r\n--{boundary}");
    let mut rest = &reply.body[..];
    let mut parts = Vec::new();
    loop {
        rest = rest.strip_prefix(line.as_bytes()).expect("a boundary");
        if rest == b"--\r\n" {
            return parts;
        }
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = rest.split_at(end.expect("the part's header") + 4);
        let head = String::from_utf8_lossy(head);
        let (range, length) = described(&head).expect("which part it is");
        parts.push((range, body[..length].to_vec()));
        rest = &body[length..];
    }
}

/// `Content-Range` of a part, and how many bytes that are.
fn described(head: &str) -> Option<(String, usize)> {
    let range = head
        .lines()
        .find_map(|line| line.strip_prefix("content-range: bytes "))?;
    let (first, last) = range.split_once('/')?.0.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    Some((range.to_owned(), last + 1 - first))
}

async fn large() -> RunningOrigin {
    let origin = Origin::new().get("/", |_| {
        reply(pattern(3 * MIB))
            .with("cache-control", "max-age=60")
            .with("content-type", "video/mp4")
            .with("etag", "\"a\"")
    });
    origin.run().await
}

#[tokio::test]
async fn several_ranges_are_several_parts_of_one_answer() {
    let origin = large().await;
    let (_proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    let body = pattern(3 * MIB);
    let lines = "range: bytes=2000000-2999999, 0-9,-100\r\n";
    let answer = client.get_with("/", lines).await;
    assert_eq!((answer.status, is_hit(&answer)), (206, true));
    let length = answer.body.len().to_string();
    assert_eq!(answer.header("content-length"), length);
    assert_eq!(answer.header("content-range"), "");
    let end = body.len();
    let expected = [
        ("2000000-2999999", &body[2_000_000..3_000_000]),
        ("0-9", &body[..10]),
        ("3145628-3145727", &body[end - 100..]),
    ];
    let expected = expected.map(|(range, bytes)| (format!("{range}/{end}"), bytes.to_vec()));
    assert!(parts(&answer) == expected);
    assert!(
        answer
            .body
            .windows(23)
            .any(|line| line == b"content-type: video/mp4")
    );
    // The connection is still in step.
    assert_eq!(
        client.get_with("/", "range: bytes=0-0\r\n").await.body,
        &body[..1]
    );
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn greedy_sets_of_ranges_get_everything_or_one_part() {
    let origin = large().await;
    let (_proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    let many: Vec<_> = (0..1000)
        .map(|n| format!("{}-{}", n * 1000, n * 1000))
        .collect();
    let overlapping = vec!["0-"; 16].join(",");
    for (ranges, status, length) in [
        (many.join(","), 200, 3 * MIB),
        (overlapping, 206, 3 * MIB),
        ("5-6,8-9,7-7".into(), 206, 5),
    ] {
        let answer = client
            .get_with("/", &format!("range: bytes={ranges}\r\n"))
            .await;
        assert_eq!((answer.status, answer.body.len() as u64), (status, length));
        assert!(!answer.header("content-type").starts_with("multipart"));
    }
}

#[tokio::test]
async fn a_condition_on_what_is_fresh_is_judged_here() {
    let origin = Origin::new()
        .get("/", |asked| match asked.header("if-match").as_str() {
            "" if asked.header("if-unmodified-since").is_empty() => reply("0123456789")
                .with("cache-control", "max-age=60")
                .with("etag", "\"a\"")
                .with("last-modified", "Fri, 20 Nov 2020 12:00:00 GMT"),
            _ => reply("judged by the origin"),
        })
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    let cold = client.get_with("/", "if-match: \"b\"\r\n").await;
    assert_eq!(did(&cold), "fwd=bypass; detail=precondition");
    client.get("/").await;
    for (lines, status) in [
        ("if-match: \"a\"", 200),
        ("if-match: *", 200),
        ("if-match: \"b\"", 412),
        ("if-match: W/\"a\"", 412),
        ("if-unmodified-since: Fri, 20 Nov 2020 12:00:00 GMT", 200),
        ("if-unmodified-since: Fri, 20 Nov 2015 12:00:00 GMT", 412),
        ("if-match: \"a\"\r\nif-none-match: \"a\"", 304),
        ("if-match: \"b\"\r\nif-none-match: \"a\"", 412),
        ("if-match: \"a\"\r\nrange: bytes=0-1", 206),
        ("if-match: \"b\"\r\nrange: bytes=0-1", 412),
        ("if-none-match: \"a\"\r\nrange: bytes=0-1", 304),
        ("if-none-match: \"b\"\r\nrange: bytes=0-1", 206),
    ] {
        let answer = client.get_with("/", &format!("{lines}\r\n")).await;
        assert_eq!((answer.status, is_hit(&answer)), (status, true), "{lines}");
        if status == 412 {
            assert_eq!((answer.body.len(), &*answer.header("etag")), (0, "\"a\""));
        }
    }
    assert_eq!(origin.count(), 2);
    proxy.clock().advance(crate::secs(61));
    let stale = client.get_with("/", "if-match: \"b\"\r\n").await;
    assert_eq!(stale.text(), "judged by the origin");
    assert_eq!(did(&stale), "fwd=bypass; detail=precondition");
}

#[tokio::test]
async fn only_a_get_of_a_success_has_parts() {
    let origin = Origin::new()
        .get("/", |_| {
            reply("0123456789").with("cache-control", "max-age=60")
        })
        .get("/gone", |_| {
            reply("0123456789")
                .with("cache-control", "max-age=60")
                .with_status(404)
        })
        .run()
        .await;
    let (_proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    client.get("/gone").await;
    let head = client.ask("HEAD", "/", "range: bytes=0-1\r\n", b"").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, "10".into())
    );
    let gone = client.get_with("/gone", "range: bytes=0-1\r\n").await;
    assert_eq!((gone.status, gone.text()), (404, "0123456789"));
    assert_eq!(origin.count(), 2);
}

/// RFC 9110 §13.1.5: a date counts only if it is the exact one, and lies before that of the response.
#[tokio::test]
async fn if_range_with_a_date() {
    let page = |date: &'static str| {
        move |_| {
            reply("0123456789")
                .with("cache-control", "max-age=60")
                .with("last-modified", "Fri, 20 Nov 2020 12:00:00 GMT")
                .with("date", date)
        }
    };
    let origin = Origin::new()
        .get("/", page("Fri, 20 Nov 2020 12:00:01 GMT"))
        .get("/just-now", page("Fri, 20 Nov 2020 12:00:00 GMT"))
        .run()
        .await;
    let (_proxy, mut client) = cached(&origin).await;
    for (path, date, status) in [
        ("/", "Fri, 20 Nov 2020 12:00:00 GMT", 206),
        ("/", "Friday, 20-Nov-20 12:00:00 GMT", 206),
        ("/", "Fri, 20 Nov 2020 12:00:01 GMT", 200),
        ("/", "Fri, 20 Nov 2020 11:59:59 GMT", 200),
        ("/", "yesterday", 200),
        ("/just-now", "Fri, 20 Nov 2020 12:00:00 GMT", 200),
    ] {
        let lines = format!("range: bytes=0-1\r\nif-range: {date}\r\n");
        client.get(path).await;
        assert_eq!(
            client.get_with(path, &lines).await.status,
            status,
            "{path} {date}"
        );
    }
}

#[tokio::test]
async fn a_part_of_what_is_still_coming_waits_for_its_own_bytes_only() {
    let (mut tap, body) = Channel::<Bytes, std::io::Error>::new(1);
    let once = Mutex::new(Some(body));
    let origin = Origin::new()
        .get("/", move |_| {
            reply(Body::stream(once.lock().take().unwrap()))
                .with("cache-control", "max-age=60")
                .with("content-length", "2000000")
        })
        .run()
        .await;
    let (proxy, mut first) = cached(&origin).await;
    first
        .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    let whole = pattern(2_000_000);
    tap.send_data(whole.slice(..1_000_000)).await.unwrap();
    let mut client = Client::to(proxy.address()).host("shop.example");
    crate::until(async || crate::metric(&proxy, "cirrus_cache_objects").await == 1).await;
    for (range, start, end) in [
        ("5-9", 5, 10),
        ("999990-999999", 999_990, 1_000_000),
        ("0-0", 0, 1),
    ] {
        let part = client
            .get_with("/", &format!("range: bytes={range}\r\n"))
            .await;
        assert_eq!((part.status, is_hit(&part)), (206, true));
        assert!(part.body == whole[start..end], "{range}");
    }
    let several = client
        .get_with("/", "range: bytes=900000-900009,0-9\r\n")
        .await;
    assert_eq!(parts(&several)[0].1, &whole[900_000..900_010]);
    assert_eq!(parts(&several)[1].1, &whole[..10]);
    client
        .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\nrange: bytes=-10\r\n\r\n")
        .await;
    tap.send_data(whole.slice(1_000_000..)).await.unwrap();
    drop(tap);
    assert!(client.reply_to("GET").await.body == whole[1_999_990..]);
    assert!(first.reply_to("GET").await.body == whole);
    assert_eq!(origin.count(), 1);
}

/// Nobody can say which part of how many bytes it is, so it is everything.
#[tokio::test]
async fn a_part_of_what_has_no_length_yet_is_everything() {
    let (mut tap, body) = Channel::<Bytes, std::io::Error>::new(1);
    let once = Mutex::new(Some(body));
    let origin = Origin::new()
        .get("/", move |_| {
            reply(Body::stream(once.lock().take().unwrap())).with("cache-control", "max-age=60")
        })
        .run()
        .await;
    let (proxy, mut first) = cached(&origin).await;
    first
        .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    tap.send_data(Bytes::from_static(b"01234")).await.unwrap();
    crate::until(async || crate::metric(&proxy, "cirrus_cache_objects").await == 1).await;
    let mut client = Client::to(proxy.address()).host("shop.example");
    client
        .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\nrange: bytes=0-1\r\n\r\n")
        .await;
    crate::until(async || crate::metric(&proxy, "cirrus_requests_in_flight").await == 2).await;
    tap.send_data(Bytes::from_static(b"56789")).await.unwrap();
    drop(tap);
    let whole = client.reply_to("GET").await;
    assert_eq!((whole.status, whole.text()), (200, "0123456789"));
    let part = client.get_with("/", "range: bytes=0-1\r\n").await;
    assert_eq!((part.status, part.text()), (206, "01"));
}

#[tokio::test]
async fn a_206_is_never_taken_for_the_whole() {
    let origin = Origin::new()
        .get("/", |asked| match asked.header("range").as_str() {
            "" => reply("0123456789").with("cache-control", "max-age=60"),
            _ => reply("01")
                .with("cache-control", "max-age=60")
                .with("content-range", "bytes 0-1/10")
                .with_status(206),
        })
        .run()
        .await;
    let (_proxy, mut client) = cached(&origin).await;
    for _ in 0..2 {
        let part = client.get_with("/", "range: bytes=0-1\r\n").await;
        assert_eq!((part.status, part.text()), (206, "01"));
        assert_eq!(did(&part), "fwd=uri-miss; detail=range");
    }
    assert_eq!(client.get("/").await.text(), "0123456789");
    let part = client.get_with("/", "range: bytes=0-1\r\n").await;
    assert_eq!((part.text(), is_hit(&part)), ("01", true));
}
