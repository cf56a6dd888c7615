//! Compressed responses in the store: one for each coding, compressed once, and true to what the origin has.

use std::io::Read;

use cirrus_core::Response;
use cirrus_core::testing::{Asked, Client, Describe, Origin, Reply, RunningOrigin, proxy, reply};

use crate::{did, is_hit, metric, secs, with_store};

const ALL: &str = "accept-encoding: gzip, deflate, br, zstd\r\n";
const GZIP: &str = "accept-encoding: gzip\r\n";

fn text() -> String {
    (0..2000).map(|n| format!("line {n} of a page\n")).collect()
}

/// Fresh for a minute; confirmed by its tag, with a header that would undo what was made of it.
fn page(asked: &Asked) -> Response {
    let known = asked.header("if-none-match").contains("\"v1\"");
    let response = if known {
        reply("").with_status(304)
    } else {
        reply(text()).with("content-type", "text/html")
    };
    response
        .with("cache-control", "max-age=60")
        .with("etag", "\"v1\"")
        .with("last-modified", "Fri, 20 Nov 2026 10:00:00 GMT")
        .with("accept-ranges", "bytes")
        .with("vary", "x-kind")
}

async fn origin() -> RunningOrigin {
    Origin::new().get("*", |asked| page(&asked)).run().await
}

async fn compressing(origin: &RunningOrigin) -> (proxy::Running, Client) {
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\ncache = {{ enable = true }}\ncompression = {{}}\n\
         response_headers = {{ set = {{ x-edge = \"1\" }} }}\n[[site.origin]]\nurl = \"{}\"\n",
        origin.url()
    );
    let proxy = with_store(proxy::new(&toml)).run().await;
    let client = Client::to(proxy.address());
    (proxy, client)
}

fn decoded(reply: &Reply) -> String {
    let (mut content, body) = (String::new(), &reply.body[..]);
    match reply.header("content-encoding").as_str() {
        "" => content.push_str(reply.text()),
        "gzip" => drop(
            flate2::read::GzDecoder::new(body)
                .read_to_string(&mut content)
                .expect("a whole body"),
        ),
        "zstd" => {
            let mut reader = zstd::stream::read::Decoder::new(body).expect("a whole body");
            reader.read_to_string(&mut content).expect("a whole body");
        }
        other => panic!("{other}"),
    }
    content
}

#[tokio::test]
async fn a_response_is_compressed_once_for_each_coding() {
    let origin = origin().await;
    let (proxy, mut client) = compressing(&origin).await;
    for (lines, coding, asked) in [
        (ALL, "zstd", 1),
        (ALL, "zstd", 1),
        ("accept-encoding: zstd;q=0.9, gzip;q=0.8\r\n", "zstd", 1),
        (GZIP, "gzip", 2),
        ("accept-encoding: GZip , deflate\r\n", "gzip", 2),
        ("", "", 3),
        ("accept-encoding: identity\r\n", "", 3),
        ("accept-encoding: deflate, compress\r\n", "", 3),
        (ALL, "zstd", 3),
    ] {
        let reply = client.get_with("/", lines).await;
        assert_eq!(reply.header("content-encoding"), coding, "{lines}");
        assert_eq!(decoded(&reply), text());
        assert_eq!(reply.header("vary"), "x-kind, Accept-Encoding");
        assert_eq!(reply.header("x-edge"), "1", "hits, too");
        assert_eq!(origin.count(), asked, "{lines}");
    }
    let twice = 2 * text().len() as u64;
    assert_eq!(
        metric(&proxy, "cirrus_compression_input_bytes_total").await,
        twice
    );
    let head = client.ask("HEAD", "/", GZIP, b"").await;
    assert!(is_hit(&head), "{}", did(&head));
    assert_eq!(head.header("content-encoding"), "gzip");
}

#[tokio::test]
async fn a_confirmed_response_stays_what_was_made_of_it() {
    let origin = origin().await;
    let (proxy, mut client) = compressing(&origin).await;
    client.get_with("/", ALL).await;
    for round in 1..=2 {
        proxy.clock().advance(secs(61));
        let reply = client.get_with("/", ALL).await;
        assert_eq!(did(&reply), "fwd=stale; fwd-status=304", "{round}");
        assert_eq!(origin.asked()[round].header("if-none-match"), "W/\"v1\"");
        for reply in [reply, client.get_with("/", ALL).await] {
            assert_eq!(decoded(&reply), text());
            assert_eq!(reply.header("content-encoding"), "zstd");
            assert_eq!(reply.header("etag"), "W/\"v1\"");
            assert_eq!(reply.header("vary"), "x-kind, Accept-Encoding");
            assert_eq!(reply.header("accept-ranges"), "");
        }
    }
    assert_eq!(origin.count(), 3);
    let plain = client.get("/").await;
    assert_eq!(
        (plain.text(), plain.header("etag")),
        (&*text(), "\"v1\"".into())
    );
}

#[tokio::test]
async fn a_client_that_has_it_is_told_so() {
    let origin = origin().await;
    let (_proxy, mut client) = compressing(&origin).await;
    client.get_with("/", ALL).await;
    let reply = client
        .get_with("/", &format!("{ALL}if-none-match: W/\"v1\"\r\n"))
        .await;
    assert_eq!(
        (reply.status, reply.header("etag")),
        (304, "W/\"v1\"".into())
    );
    assert_eq!(reply.header("vary"), "x-kind, Accept-Encoding");
    assert_eq!(origin.count(), 1);
}

/// The rest of the plain content must not be put behind the beginning of the compressed.
#[tokio::test]
async fn parts_are_those_of_the_plain_content() {
    let origin = origin().await;
    let (_proxy, mut client) = compressing(&origin).await;
    let coded = client.get_with("/", ALL).await;
    client.get("/").await;
    let part = |condition: &str| format!("{ALL}range: bytes=5-9\r\n{condition}");
    let plain = client.get_with("/", &part("")).await;
    assert_eq!((plain.status, plain.text()), (206, &text()[5..10]));
    assert_eq!(
        (plain.header("content-encoding"), plain.header("etag")),
        (String::new(), "\"v1\"".into())
    );
    let same = client.get_with("/", &part("if-range: \"v1\"\r\n")).await;
    assert_eq!((same.status, same.text()), (206, &text()[5..10]));
    let weak = format!("if-range: {}\r\n", coded.header("etag"));
    let whole = client.get_with("/", &part(&weak)).await;
    assert_eq!(
        (whole.status, decoded(&whole)),
        (200, text()),
        "a weak tag matches no part"
    );
    let dated = format!("if-range: {}\r\n", coded.header("last-modified"));
    let whole = client.get_with("/", &part(&dated)).await;
    assert_eq!(
        (whole.status, decoded(&whole)),
        (200, text()),
        "nor does a date"
    );
    assert_eq!(origin.count(), 2);
}

/// Purges and keys go by the address that clients use.
#[tokio::test]
async fn a_rewritten_path_is_stored_under_the_public_one() {
    let origin = Origin::new()
        .get("*", |asked| {
            reply(asked.target).with("cache-control", "max-age=60")
        })
        .run()
        .await;
    let url = origin.url();
    let toml = format!(
        r#"
        [[site]]
        hosts = ["*"]
        cache = {{ enable = true }}
        [[site.route]]
        path = "/a/*"
        rewrite = {{ strip_prefix = "/a" }}
        request_headers = {{ set = {{ x-a = "1" }} }}
        origin = [{{ url = "{url}" }}]
        [[site.route]]
        path = "/b/*"
        rewrite = {{ strip_prefix = "/b", add_prefix = "/other" }}
        origin = [{{ url = "{url}" }}]
        "#
    );
    let proxy = with_store(proxy::new(&toml)).run().await;
    let mut client = Client::to(proxy.address());
    for (path, target) in [("/a/x?q", "/x?q"), ("/b/x?q", "/other/x?q")] {
        assert_eq!(client.get(path).await.text(), target);
        let again = client.get(path).await;
        assert!(is_hit(&again), "{}", did(&again));
        assert_eq!(again.text(), target);
    }
    assert_eq!(origin.count(), 2);
}
