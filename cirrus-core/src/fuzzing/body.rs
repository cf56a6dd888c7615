//! Chunked bodies.

use bytes::{BufMut, BytesMut};
use http::HeaderMap;

use super::PIECES;
use crate::codec::chunked::{Chunked, Found};
use crate::codec::write::{chunk_size, last_chunk, may_trail};

/// How a body ended.
#[derive(Debug, PartialEq)]
enum End {
    /// With these trailers, and so many bytes that belong to what follows.
    Whole(HeaderMap, usize),
    Broken,
    Cut,
}

/// What is read does not depend on how the bytes come, and is read again from how we write it.
pub fn request_body(bytes: &[u8]) {
    let (content, end) = decode(bytes, usize::MAX);
    for size in PIECES {
        assert_eq!(decode(bytes, size), (content.clone(), rest_of(&end)));
    }
    if let End::Whole(mut trailers, _) = end {
        let written = write(&content, &trailers);
        let refused: Vec<_> = trailers
            .keys()
            .filter(|name| !may_trail(name))
            .cloned()
            .collect();
        for name in refused {
            trailers.remove(name);
        }
        assert_eq!(
            decode(&written, usize::MAX),
            (content, End::Whole(trailers, 0))
        );
    }
}

fn rest_of(end: &End) -> End {
    match end {
        End::Whole(trailers, rest) => End::Whole(trailers.clone(), *rest),
        End::Broken => End::Broken,
        End::Cut => End::Cut,
    }
}

/// Reads a body that comes in pieces of this size.
fn decode(bytes: &[u8], size: usize) -> (Vec<u8>, End) {
    let (mut state, mut buffer, mut content) = (Chunked::Size, BytesMut::new(), Vec::new());
    let mut read = 0;
    for piece in bytes.chunks(size) {
        buffer.extend_from_slice(piece);
        read += piece.len();
        loop {
            match state.decode(&mut buffer) {
                Ok(Found::Data(data)) => content.extend_from_slice(&data),
                Ok(Found::End(trailers)) => {
                    let rest = buffer.len() + bytes.len() - read;
                    return (content, End::Whole(trailers, rest));
                }
                Ok(Found::More) => break,
                Err(_) => return (content, End::Broken),
            }
        }
    }
    (content, End::Cut)
}

fn write(content: &[u8], trailers: &HeaderMap) -> BytesMut {
    let mut out = BytesMut::new();
    for piece in content.chunks(17) {
        chunk_size(&mut out, piece.len());
        out.put_slice(piece);
        out.put_slice(b"\r\n");
    }
    last_chunk(&mut out, Some(trailers));
    out
}
