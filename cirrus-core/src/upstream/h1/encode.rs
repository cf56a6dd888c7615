//! Request heads as bytes.

use bytes::{BufMut, BytesMut};
use http::Method;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};

use super::Head;
use crate::codec::write::{decimal, field};

/// Bytes for everything but target and fields: the line, framing, and who asks.
const ROOM: usize = 384;

/// How the origin learns where the request's body ends (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, and nothing says so.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

// === impl Framing ===

impl Framing {
    /// Chosen by what is known of the body's length. Methods that are expected to have a body say it when it is empty
    /// (RFC 9110 §8.6).
    pub(super) fn of(method: &Method, length: Option<u64>) -> Self {
        match length {
            Some(0) if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => Self::None,
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }
}

/// Writes a request's line and header. `Host` goes first (RFC 9110 §7.2); framing fields are made anew.
pub(super) fn head(out: &mut BytesMut, head: &Head<'_>, framing: Framing) {
    let headers = head.headers;
    out.reserve(ROOM + head.target.len() + headers.len() * 48);
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(head.target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    if let Some(host) = headers.get(HOST) {
        field(out, &HOST, host);
    }
    for (name, value) in headers {
        if *name != HOST && *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            field(out, name, value);
        }
    }
    if let Some(claims) = head.claims {
        out.put_slice(claims.lines());
    }
    match framing {
        Framing::None => {}
        Framing::Length(length) => {
            out.put_slice(b"content-length: ");
            decimal(out, length);
            out.put_slice(b"\r\n");
        }
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.put_slice(b"\r\n");
}
