//! See [`crate::fuzzing`].

use super::*;
use crate::codec::write;
use crate::fuzzing::PIECES;

const LIMIT: usize = 1024;

/// What is taken does not depend on how the bytes come, says in one way where the body ends, and means the same when it
/// is written and read again.
pub fn request_head(bytes: &[u8]) {
    let whole = decode(bytes, usize::MAX);
    for size in PIECES {
        match (&whole, decode(bytes, size)) {
            (Some((head, rest)), Some((other, other_rest))) => {
                same(head, &other);
                assert_eq!(*rest, other_rest);
            }
            (one, other) => assert!(one.is_none() && other.is_none(), "pieces of {size}"),
        }
    }
    if let Some((head, _)) = whole {
        has_one_framing(&head);
        let written = written(&head);
        let again = Decoder::new(2 * LIMIT).decode(&mut written.clone());
        match again {
            Ok(Some(again)) => same(&head, &again),
            other => panic!("{written:?}: {other:?}"),
        }
    }
}

/// The head and how much follows it, if there is one.
fn decode(bytes: &[u8], size: usize) -> Option<(Head, usize)> {
    let (mut decoder, mut buffer) = (Decoder::new(LIMIT), BytesMut::new());
    let mut read = 0;
    for piece in bytes.chunks(size) {
        buffer.extend_from_slice(piece);
        read += piece.len();
        if let Some(head) = decoder.decode(&mut buffer).ok()? {
            return Some((head, buffer.len() + bytes.len() - read));
        }
    }
    None
}

fn same(one: &Head, other: &Head) {
    let facts = |head: &Head| {
        let wants = (
            head.keeps_alive,
            head.expects,
            head.asks_upgrade,
            head.takes_trailers,
        );
        (head.version, head.framing, wants)
    };
    assert_eq!(facts(one), facts(other));
    assert_eq!((&one.method, &one.uri), (&other.method, &other.uri));
    assert_eq!(one.headers, other.headers);
}

fn has_one_framing(head: &Head) {
    let count = |name| head.headers.get_all(name).iter().count();
    match (count(CONTENT_LENGTH), count(TRANSFER_ENCODING)) {
        (0, 0) => assert_eq!(head.framing, Framing::None),
        (1, 0) => assert!(matches!(head.framing, Framing::Length(1..) | Framing::None)),
        (0, 1) => assert_eq!(
            (head.framing, head.version),
            (Framing::Chunked, Version::HTTP_11)
        ),
        several => panic!("{several:?}"),
    }
    let values = head.headers.values().map(HeaderValue::as_bytes);
    assert!(values.flatten().all(|byte| !b"\r\n\0".contains(byte)));
}

fn written(head: &Head) -> BytesMut {
    let line = format!("{} {} {:?}\r\n", head.method, head.uri, head.version);
    let mut out = BytesMut::from(line.as_bytes());
    for (name, value) in &head.headers {
        write::field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out
}
