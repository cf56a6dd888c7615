//! The codec on bytes alone; `tests/it/upstream.rs` has it on sockets.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use proptest::prelude::*;

use super::Head;
use super::decode::{self, Form, ResponseHead};
use super::encode;
use super::framing::{self, Framing};
use crate::codec::chunked::{Chunked, Found};
use crate::codec::lines::HeaderLines;
use crate::codec::{Malformed, write};

fn head(bytes: &str) -> Result<Option<ResponseHead>, Malformed> {
    decode::head(&mut BytesMut::from(bytes), Form::Map)
}

fn framing(method: &Method, bytes: &str) -> Result<Framing, Malformed> {
    framing::framing(method, &head(bytes)?.unwrap())
}

/// Feeds `bytes` in pieces of these sizes; the content and the trailers, or the error.
fn decoded(bytes: &[u8], sizes: &[usize]) -> Result<Option<(Vec<u8>, HeaderMap)>, Malformed> {
    let (mut chunked, mut buffer, mut content) = (Chunked::Size, BytesMut::new(), Vec::new());
    let mut rest = bytes;
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(usize::MAX));
    loop {
        match chunked.decode(&mut buffer)? {
            Found::Data(data) => content.extend_from_slice(&data),
            Found::End(trailers) => return Ok(Some((content, trailers))),
            Found::More if rest.is_empty() => return Ok(None),
            Found::More => {
                let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
                buffer.extend_from_slice(&rest[..size]);
                rest = &rest[size..];
            }
        }
    }
}

#[test]
fn reads_a_head_and_leaves_what_follows() {
    let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\na: 1\r\nA: 2\r\nempty:\r\n\r\nbody");
    let head = decode::head(&mut buffer, Form::Map).unwrap().unwrap();
    assert_eq!(
        (head.status, head.version),
        (StatusCode::OK, Version::HTTP_11)
    );
    assert_eq!(
        head.headers.get_all("a").iter().collect::<Vec<_>>(),
        ["1", "2"]
    );
    assert_eq!(head.headers["empty"], "");
    assert_eq!(&buffer[..], b"body");
}

#[test]
fn waits_for_the_whole_head_and_not_for_ever() {
    assert!(head("HTTP/1.1 200 OK\r\na: 1\r\n").unwrap().is_none());
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(super::MAX_HEAD));
    assert_eq!(
        head(&endless).unwrap_err(),
        Malformed("the header is too large")
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "a: 1\r\n".repeat(super::MAX_FIELDS + 1)
    );
    assert_eq!(
        head(&many).unwrap_err(),
        Malformed("too many header fields")
    );
}

/// What would have been in the map, less what is for this hop, comes out as lines.
#[test]
fn a_header_that_nobody_looks_at_becomes_lines() {
    let lines = |head: &str| {
        let mut buffer = BytesMut::from(head);
        let head = decode::head(&mut buffer, Form::Lines).unwrap().unwrap();
        assert_eq!(&buffer[..], b"body");
        let relayed = head.lines.map(HeaderLines::Relayed);
        assert_eq!(relayed.is_some(), head.headers.is_empty());
        relayed.map(|lines| {
            let mut out = Vec::new();
            lines.write(&mut out);
            (String::from_utf8(out).unwrap(), lines.is_dated())
        })
    };
    assert_eq!(
        lines(
            "HTTP/1.1 200 OK\r\nX-A:1\r\nConnection: Keep-Alive\r\nKEEP-ALIVE: timeout=5\r\n\
             Content-Length: 4\r\nUpgrade: h2c\r\nx-a: 2 \r\nEmpty:\r\n\r\nbody"
        ),
        Some(("x-a: 1\r\nx-a: 2\r\nempty: \r\n".to_owned(), false))
    );
    // Lines are copied only where they stand as we would write them.
    assert_eq!(
        lines(
            "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B:  2\r\nX-C:\t3\r\nX-D: 4 \r\nX-E: 5\nX-F:6\t\n\
             X-G: \r\nX-H:\r\nX-I: 7\t\n\r\nbody"
        ),
        Some((
            "x-a: 1\r\nx-b: 2\r\nx-c: 3\r\nx-d: 4\r\nx-e: 5\r\nx-f: 6\r\nx-g: \r\nx-h: \r\nx-i: 7\r\n"
                .to_owned(),
            false
        ))
    );
    let (text, is_dated) = lines(
        "HTTP/1.1 404 X\r\nDATE: now\r\nTransfer-Encoding: chunked\r\nTrailer: b\r\n\r\nbody",
    )
    .unwrap();
    assert_eq!(
        (text.as_str(), is_dated),
        ("date: now\r\ntrailer: b\r\n", true)
    );
    for other in [
        "HTTP/1.1 200 OK\r\nconnection: close, x-a\r\nx-a: 1\r\n\r\nbody",
        "HTTP/1.1 304 X\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 103 X\r\nlink: a\r\n\r\nbody",
    ] {
        assert_eq!(lines(other), None, "{other}");
    }
}

/// RFC 9112 §6.3
#[test]
fn a_body_ends_in_one_way_only() {
    let get = |fields: &str| framing(&Method::GET, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
    assert_eq!(get("content-length: 5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(get("transfer-encoding: chunked\r\n"), Ok(Framing::Chunked));
    assert_eq!(get(""), Ok(Framing::Close));
    for wrong in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: 5\r\ncontent-length: 5\r\n",
        "content-length: 5, 5\r\n",
        "content-length: -1\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 5\r\n",
        "content-length:\r\n",
        "content-length: 18446744073709551616\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ] {
        assert!(get(wrong).is_err(), "{wrong}");
    }
}

/// RFC 9112 §6.3, first rule
#[test]
fn some_responses_have_no_body_whatever_they_say() {
    let response = |status: u16| format!("HTTP/1.1 {status} X\r\ncontent-length: 5\r\n\r\n");
    for status in [204, 304] {
        assert_eq!(
            framing(&Method::GET, &response(status)),
            Ok(Framing::Length(0))
        );
    }
    assert_eq!(
        framing(&Method::HEAD, &response(200)),
        Ok(Framing::Length(0))
    );
}

/// RFC 9112 §9.3
#[test]
fn knows_whether_the_connection_stays() {
    let stays = |head: &str| framing::keeps_alive(&self::head(head).unwrap().unwrap());
    assert!(stays("HTTP/1.1 200 OK\r\n\r\n"));
    assert!(!stays("HTTP/1.1 200 OK\r\nconnection: x, Close\r\n\r\n"));
    assert!(!stays("HTTP/1.0 200 OK\r\n\r\n"));
    assert!(stays("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\n\r\n"));
}

/// RFC 9112 §7.1
#[test]
fn reads_chunks_with_extensions_and_trailers() {
    let bytes = b"5;a=b\r\nhello\r\n00001 ; x\r\n!\r\n0\r\nx-sum: 1\r\n\r\nnext";
    let (content, trailers) = decoded(bytes, &[]).unwrap().unwrap();
    assert_eq!(
        (content.as_slice(), &trailers["x-sum"]),
        (&b"hello!"[..], &HeaderValue::from_static("1"))
    );
}

#[test]
fn refuses_chunks_that_could_be_read_in_two_ways() {
    for wrong in [
        &b"5\nhello\r\n0\r\n\r\n"[..],
        b"\r\nhello",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5 5\r\nhello\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"11111111111111111\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    ] {
        assert!(
            decoded(wrong, &[]).is_err(),
            "{}",
            String::from_utf8_lossy(wrong)
        );
    }
    let endless = [b"5;".as_slice(), &[b'x'; 2000]].concat();
    assert!(decoded(&endless, &[]).is_err());
}

#[test]
fn writes_requests_with_host_first_and_one_framing() {
    let headers = HeaderMap::from_iter([
        (http::header::ACCEPT, HeaderValue::from_static("*/*")),
        (http::header::CONTENT_LENGTH, HeaderValue::from_static("99")),
        (http::header::HOST, HeaderValue::from_static("a")),
    ]);
    let written = |method: &Method, length| {
        let mut out = BytesMut::new();
        let head = Head {
            method,
            target: "/x",
            headers: &headers,
            claims: None,
            form: Form::Map,
            switches: false,
        };
        encode::head(&mut out, &head, encode::Framing::of(method, length));
        String::from_utf8(out.to_vec()).unwrap()
    };
    let begin = "/x HTTP/1.1\r\nhost: a\r\naccept: */*\r\n";
    assert_eq!(written(&Method::GET, Some(0)), format!("GET {begin}\r\n"));
    assert_eq!(
        written(&Method::POST, Some(0)),
        format!("POST {begin}content-length: 0\r\n\r\n")
    );
    assert_eq!(
        written(&Method::PUT, Some(1_234_567_890)),
        format!("PUT {begin}content-length: 1234567890\r\n\r\n")
    );
    assert_eq!(
        written(&Method::PUT, None),
        format!("PUT {begin}transfer-encoding: chunked\r\n\r\n")
    );
}

/// RFC 9110 §6.5.1
#[test]
fn trailers_never_take_the_place_of_the_header() {
    let names = [
        "host",
        "content-length",
        "transfer-encoding",
        "x-forwarded-for",
        "authorization",
        "x-sum",
    ];
    let trailers = names.map(|name| {
        (
            http::HeaderName::from_static(name),
            HeaderValue::from_static("1"),
        )
    });
    let mut out = BytesMut::new();
    write::last_chunk(&mut out, Some(&HeaderMap::from_iter(trailers)));
    assert_eq!(&out[..], b"0\r\nx-sum: 1\r\n\r\n");
}

proptest! {
    #[test]
    fn chunks_survive_any_splitting(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
                                    sizes in prop::collection::vec(1usize..40, 0..60)) {
        let mut bytes = BytesMut::new();
        for chunk in &chunks {
            write::chunk_size(&mut bytes, chunk.len());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        write::last_chunk(&mut bytes, None);
        let (content, trailers) = decoded(&bytes, &sizes).unwrap().unwrap();
        prop_assert_eq!(content, chunks.concat());
        prop_assert!(trailers.is_empty());
        // A body cut short is never taken for a whole one.
        for end in 0..bytes.len() {
            prop_assert!(!matches!(decoded(&bytes[..end], &[]), Ok(Some(_))), "cut at {}", end);
        }
    }

    #[test]
    fn nothing_makes_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode::head(&mut BytesMut::from(&bytes[..]), Form::Map);
        let _ = crate::codec::trailers::take(&mut BytesMut::from(&bytes[..]));
        let _ = decoded(&bytes, &[]);
    }
}
