//! Responses are compressed for clients that want that: decoded again, they are what the origin sent.

use std::io::{Read, Write};

use bytes::Bytes;
use cirrus_core::Body;
use cirrus_core::testing::{
    Client, Describe, Origin, Reply, RunningOrigin, proxy, reply, scripted,
};
use http_body_util::channel::Channel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site;

const ALL: &str = "accept-encoding: gzip, deflate, br, zstd\r\n";
const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

fn text() -> String {
    (0..5000).map(|n| format!("line {n} of a page\n")).collect()
}

/// A proxy with compression in front of the origin.
async fn compressing(origin: &RunningOrigin) -> (proxy::Running, Client) {
    compressing_with(origin, "").await
}

async fn compressing_with(origin: &RunningOrigin, keys: &str) -> (proxy::Running, Client) {
    let toml = format!("{}[site.compression]\n{keys}\n", site(&origin.url()));
    let proxy = proxy::new(&toml).run().await;
    let client = Client::to(proxy.address());
    (proxy, client)
}

fn accepting(coding: &str) -> String {
    format!("accept-encoding: {coding}\r\n")
}

fn decoded(reply: &Reply) -> Vec<u8> {
    decode(&reply.header("content-encoding"), &reply.body).unwrap()
}

fn decode(coding: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match coding {
        "" => content.extend_from_slice(body),
        "gzip" => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut content)?),
        "br" => drop(brotli::Decompressor::new(body, 4096).read_to_end(&mut content)?),
        "zstd" => drop(zstd::stream::read::Decoder::new(body)?.read_to_end(&mut content)?),
        other => panic!("{other}"),
    }
    Ok(content)
}

/// What can be read of a body that has not ended.
fn decode_so_far(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(body)),
        "br" => Box::new(brotli::Decompressor::new(body, 4096)),
        _ => Box::new(zstd::stream::read::Decoder::new(body).unwrap()),
    };
    let (mut content, mut byte) = (Vec::new(), [0]);
    while let Ok(1) = reader.read(&mut byte) {
        content.push(byte[0]);
    }
    content
}

/// An origin with a page that has everything a page may have.
async fn page() -> RunningOrigin {
    let answer = |_| {
        let text = text();
        let length = text.len().to_string();
        reply(text)
            .with("content-type", "text/html; charset=utf-8")
            .with("content-length", &length)
            .with("etag", "\"v1\"")
            .with("accept-ranges", "bytes")
            .with("repr-digest", "sha-256=:x:")
            .with("content-md5", "x")
            .with("vary", "Cookie")
    };
    Origin::new().get("*", answer).run().await
}

#[tokio::test]
async fn every_coding_gives_the_content_back() {
    let origin = page().await;
    for level in ["fast", "balanced", "small"] {
        let (_proxy, mut client) = compressing_with(&origin, &format!("level = \"{level}\"")).await;
        for coding in CODINGS {
            let reply = client.get_with("/", &accepting(coding)).await;
            assert_eq!(reply.header("content-encoding"), coding);
            assert!(
                reply.body.len() < text().len() / 4,
                "{} bytes",
                reply.body.len()
            );
            assert_eq!(decoded(&reply), text().as_bytes());
        }
    }
}

#[tokio::test]
async fn the_header_is_true_of_what_is_sent() {
    let origin = page().await;
    let (_proxy, mut client) = compressing(&origin).await;
    let fields = |reply: &Reply| {
        [
            "content-encoding",
            "etag",
            "vary",
            "accept-ranges",
            "repr-digest",
            "content-md5",
        ]
        .map(|name| reply.header(name))
    };
    let coded = client.get_with("/", ALL).await;
    assert_eq!(
        fields(&coded),
        ["zstd", "W/\"v1\"", "Cookie, Accept-Encoding", "", "", ""]
    );
    assert_eq!(coded.header("content-length"), "");
    let head = client.ask("HEAD", "/", ALL, b"").await;
    assert_eq!(fields(&head), fields(&coded), "HEAD tells what GET would");
    assert_eq!(head.header("content-length"), "");
    let plain = client.get("/").await;
    assert_eq!(plain.text(), text());
    assert_eq!(
        fields(&plain),
        [
            "",
            "\"v1\"",
            "Cookie, Accept-Encoding",
            "bytes",
            "sha-256=:x:",
            "x"
        ]
    );
    let asked: Vec<_> = origin
        .asked()
        .iter()
        .map(|asked| asked.header("accept-encoding"))
        .collect();
    assert_eq!(asked, ["zstd", "zstd", "identity"]);
}

#[tokio::test]
async fn the_order_written_decides_where_the_client_does_not() {
    let origin = page().await;
    let (_proxy, mut client) = compressing_with(&origin, "algorithms = [\"gzip\", \"br\"]").await;
    for (accept, coding) in [
        ("br, gzip, zstd", "gzip"),
        ("br, gzip;q=0.9", "br"),
        ("zstd", ""),
        ("gzip;q=0", ""),
        ("*;q=0.1", "gzip"),
    ] {
        let reply = client.get_with("/", &accepting(accept)).await;
        assert_eq!(reply.header("content-encoding"), coding, "{accept}");
        assert_eq!(decoded(&reply), text().as_bytes());
    }
}

#[tokio::test]
async fn what_must_stay_as_it_is_does() {
    let html = || reply(text()).with("content-type", "text/html");
    let origin = Origin::new()
        .get("/image", |_| {
            reply(text()).with("content-type", "image/png")
        })
        .get("/untyped", |_| reply(text()))
        .get("/events", |_| {
            reply(text()).with("content-type", "text/event-stream")
        })
        .get("/coded", move |_| html().with("content-encoding", "br"))
        .get("/forbidden", move |_| {
            html().with("cache-control", "max-age=1, no-transform")
        })
        .get("/part", move |_| {
            html().with_status(206).with("content-range", "bytes 0-1/9")
        })
        .get("/short", |_| {
            reply("x".repeat(1023)).with("content-type", "text/html")
        })
        .get("/enough", |_| {
            reply("x".repeat(1024)).with("content-type", "text/html")
        })
        .get("/error", move |_| html().with_status(500))
        .get("/page", move |_| html())
        .get("/none", |_| {
            reply("").with_status(204).with("content-type", "text/html")
        })
        .run()
        .await;
    let (_proxy, mut client) = compressing(&origin).await;
    for (path, coding, vary) in [
        ("/image", "", ""),
        ("/untyped", "", ""),
        ("/events", "", ""),
        ("/coded", "br", "Accept-Encoding"),
        ("/forbidden", "", "Accept-Encoding"),
        ("/part", "", ""),
        ("/short", "", ""),
        ("/enough", "zstd", "Accept-Encoding"),
        ("/error", "zstd", "Accept-Encoding"),
        ("/page", "zstd", "Accept-Encoding"),
        ("/none", "", ""),
    ] {
        let reply = client.get_with(path, ALL).await;
        assert_eq!(
            (
                reply.header("content-encoding").as_str(),
                reply.header("vary").as_str()
            ),
            (coding, vary),
            "{path}"
        );
        if path == "/coded" {
            assert_eq!(reply.text(), text(), "not a second time");
        }
    }
    let lines = format!("{ALL}cache-control: no-transform\r\n");
    let reply = client.get_with("/page", &lines).await;
    assert_eq!(
        (reply.header("content-encoding"), reply.text()),
        (String::new(), &*text())
    );
}

#[tokio::test]
async fn routes_that_ask_no_origin_compress_too() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.css"), text()).unwrap();
    let proxy = proxy::new(&format!(
        r#"
        [[site]]
        hosts = ["*"]
        compression = {{ min_size = "10" }}
        [[site.route]]
        path = "/fixed"
        respond = {{ body = "0123456789 0123456789" }}
        [[site.route]]
        path = "/off"
        compression = {{ enable = false }}
        respond = {{ body = "0123456789 0123456789" }}
        [[site.route]]
        path = "/files/*"
        files = {{ directory = "{}" }}
        "#,
        directory.path().display()
    ))
    .run()
    .await;
    let mut client = Client::to(proxy.address());
    let fixed = client.get_with("/fixed", ALL).await;
    assert_eq!(fixed.header("content-encoding"), "zstd");
    assert_eq!(decoded(&fixed), b"0123456789 0123456789");
    let head = client.ask("HEAD", "/fixed", ALL, b"").await;
    assert_eq!(head.header("content-encoding"), "zstd");
    assert_eq!(head.header("content-length"), "");
    let off = client.get_with("/off", ALL).await;
    assert_eq!(
        (off.header("content-encoding"), off.header("vary")),
        (String::new(), String::new())
    );
    let file = client.get_with("/files/a.css", ALL).await;
    assert_eq!(file.header("content-encoding"), "zstd");
    assert_eq!(decoded(&file), text().as_bytes());
    let part = client
        .get_with("/files/a.css", &format!("{ALL}range: bytes=0-3\r\n"))
        .await;
    assert_eq!(
        (part.status, part.text()),
        (206, "line"),
        "parts are of the plain content"
    );
    let modified = file.header("last-modified");
    let lines = format!("{ALL}range: bytes=4-\r\nif-range: {modified}\r\n");
    let rest = client.get_with("/files/a.css", &lines).await;
    assert_eq!(
        (rest.status, decoded(&rest)),
        (200, text().into_bytes()),
        "a date tells no coding"
    );
}

#[tokio::test]
async fn conditions_reach_the_origin_in_its_own_words() {
    let origin = Origin::new()
        .get("*", |asked| {
            let known = asked.header("if-none-match").contains("\"v1\"");
            let page = || reply(text()).with("content-type", "text/html");
            match asked.method.as_str() {
                "GET" if known => reply("").with_status(304),
                "GET" => page(),
                _ if asked.header("if-match") == "\"v1\"" => reply("changed"),
                _ => reply("").with_status(412),
            }
            .with("etag", "\"v1\"")
        })
        .run()
        .await;
    let (_proxy, mut client) = compressing(&origin).await;
    let etag = client.get_with("/", ALL).await.header("etag");
    assert_eq!(etag, "W/\"v1\"");
    let again = client
        .get_with("/", &format!("{ALL}if-none-match: {etag}\r\n"))
        .await;
    assert_eq!((again.status, again.header("etag")), (304, etag.clone()));
    assert_eq!(again.header("vary"), "Accept-Encoding");
    let lines = format!("if-match: {etag}\r\n");
    let change = client.ask("PUT", "/", &lines, b"new").await;
    assert_eq!(
        (change.status, change.text()),
        (200, "changed"),
        "nobody else changed it meanwhile"
    );
    assert_eq!(
        client
            .ask("PUT", "/", "if-match: W/\"v0\"\r\n", b"new")
            .await
            .status,
        412
    );
}

/// Reads from a raw connection until what has come so far decodes to `wanted`.
async fn read_until(stream: &mut TcpStream, coding: &str, read: &mut Vec<u8>, wanted: &[u8]) {
    let enough = async {
        loop {
            let (_, body) = split(read);
            if decode_so_far(coding, &body) == wanted {
                return;
            }
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0, "the response goes on");
            read.extend_from_slice(&buffer[..length]);
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), enough)
        .await
        .expect("what the origin has sent arrives while it pauses");
}

/// Head and body of a chunked response as far as it has been read.
fn split(read: &[u8]) -> (String, Vec<u8>) {
    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
        return (String::new(), Vec::new());
    };
    let (head, mut rest) = (
        String::from_utf8_lossy(&read[..end]).into_owned(),
        &read[end + 4..],
    );
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let Some(chunk) = rest.get(line + 2..line + 2 + size) else {
            break;
        };
        body.extend_from_slice(chunk);
        rest = rest.get(line + 4 + size..).unwrap_or_default();
    }
    (head, body)
}

#[tokio::test]
async fn what_has_come_is_sent_while_the_origin_pauses() {
    for coding in CODINGS {
        let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(1);
        let body = parking_lot::Mutex::new(Some(body));
        let origin = Origin::new()
            .get("/", move |_| {
                let body = body.lock().take().unwrap();
                reply(Body::stream(body)).with("content-type", "text/event-stream")
            })
            .run()
            .await;
        let (proxy, _) = compressing_with(&origin, "types = [\"text/*\"]").await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: {coding}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        sender.send_data("data: 1\n\n".into()).await.unwrap();
        read_until(&mut stream, coding, &mut read, b"data: 1\n\n").await;
        assert!(
            split(&read)
                .0
                .contains(&format!("content-encoding: {coding}"))
        );
        sender.send_data("data: 2\n\n".into()).await.unwrap();
        read_until(&mut stream, coding, &mut read, b"data: 1\n\ndata: 2\n\n").await;
        drop(sender);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_finished() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5000\r\n\r\n";
    let short = format!("{head}{}", "x".repeat(4000));
    let origin = scripted(short.leak().as_bytes()).await;
    let (_proxy, mut client) = compressing(&origin).await;
    for coding in CODINGS {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: {coding}\r\n\r\n");
        client.send(request.as_bytes()).await;
        assert!(client.reply_or_end("GET").await.is_none(), "{coding}");
    }
}

#[tokio::test]
async fn bytes_are_counted_before_and_after() {
    let origin = page().await;
    let (proxy, mut client) = compressing(&origin).await;
    let reply = client.get_with("/", ALL).await;
    client.get("/").await;
    let page = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    let value = |name: &str| {
        let value = page.text().lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().trim().parse::<f64>().unwrap() as usize
    };
    assert_eq!(value("cirrus_compression_input_bytes_total"), text().len());
    assert_eq!(
        value("cirrus_compression_output_bytes_total"),
        reply.body.len()
    );
}

/// Content that a decoder of ours would take, but that no client gets twice coded.
#[tokio::test]
async fn an_origin_that_compresses_itself_is_left_alone() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text().as_bytes()).unwrap();
    let coded = encoder.finish().unwrap();
    let origin = Origin::new()
        .get("*", move |asked| {
            let page = if asked.header("accept-encoding").contains("gzip") {
                reply(coded.clone()).with("content-encoding", "gzip")
            } else {
                reply(text())
            };
            page.with("content-type", "text/html")
                .with("etag", "\"v1\"")
        })
        .run()
        .await;
    let (_proxy, mut client) = compressing(&origin).await;
    let reply = client.get_with("/", &accepting("gzip")).await;
    assert_eq!(
        (reply.header("content-encoding"), reply.header("etag")),
        ("gzip".into(), "\"v1\"".into())
    );
    assert_eq!(decoded(&reply), text().as_bytes());
    let reply = client.get_with("/", ALL).await;
    assert_eq!(reply.header("content-encoding"), "zstd");
    assert_eq!(decoded(&reply), text().as_bytes());
}
