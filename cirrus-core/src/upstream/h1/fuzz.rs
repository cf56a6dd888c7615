//! See [`crate::fuzzing`].

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};

use super::decode::{Form, ResponseHead, head};
use super::framing::{Framing, framing, keeps_alive};
use crate::codec::write;
use crate::fuzzing::PIECES;

/// What is taken does not depend on how the bytes come, has one end of the body or none, and means the same when it is
/// written and read again.
pub fn response_head(bytes: &[u8]) {
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
    if let Some((read, _)) = whole {
        has_one_framing(&read);
        let written = written(&read);
        match head(&mut written.clone(), Form::Map) {
            Ok(Some(again)) => same(&read, &again),
            other => panic!("{written:?}: {other:?}"),
        }
    }
}

/// The head and how much follows it, if there is one.
fn decode(bytes: &[u8], size: usize) -> Option<(ResponseHead, usize)> {
    let (mut buffer, mut read) = (BytesMut::new(), 0);
    for piece in bytes.chunks(size) {
        buffer.extend_from_slice(piece);
        read += piece.len();
        if let Some(head) = head(&mut buffer, Form::Map).ok()? {
            return Some((head, buffer.len() + bytes.len() - read));
        }
    }
    None
}

fn same(one: &ResponseHead, other: &ResponseHead) {
    assert_eq!((one.status, one.version), (other.status, other.version));
    assert_eq!(one.headers, other.headers);
    assert_eq!(keeps_alive(one), keeps_alive(other));
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(framing(&method, one), framing(&method, other));
    }
}

fn has_one_framing(head: &ResponseHead) {
    let Ok(framing) = framing(&Method::GET, head) else {
        return;
    };
    let count = |name| head.headers.get_all(name).iter().count();
    let is_bodiless = head.status.is_informational()
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
    match (count(CONTENT_LENGTH), count(TRANSFER_ENCODING)) {
        (0 | 1, 0) | (0, 1) if is_bodiless => assert_eq!(framing, Framing::Length(0)),
        (0, 0) => assert_eq!(framing, Framing::Close),
        (1, 0) => assert!(matches!(framing, Framing::Length(_))),
        (0, 1) => assert_eq!(framing, Framing::Chunked),
        several => panic!("{several:?}"),
    }
    let values = head.headers.values().map(HeaderValue::as_bytes);
    assert!(values.flatten().all(|byte| !b"\r\n\0".contains(byte)));
}

fn written(head: &ResponseHead) -> BytesMut {
    let line = format!("{:?} {} \r\n", head.version, head.status.as_str());
    let mut out = BytesMut::from(line.as_bytes());
    for (name, value) in &head.headers {
        write::field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out
}
