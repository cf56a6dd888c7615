//! Request heads and chunks as bytes.

use bytes::{BufMut, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

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
pub(super) fn head(
    out: &mut BytesMut,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    framing: Framing,
) {
    out.reserve(64 + target.len() + headers.len() * 48);
    out.put_slice(method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    if let Some(host) = headers.get(HOST) {
        field(out, &HOST, host);
    }
    for (name, value) in headers {
        if *name != HOST && *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            field(out, name, value);
        }
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

/// Writes the line before a chunk (RFC 9112 §7.1).
pub(super) fn chunk_size(out: &mut BytesMut, size: usize) {
    let mut digits = [0; 16];
    let mut rest = size;
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(&digits[start..]);
    out.put_slice(b"\r\n");
}

/// Writes the last chunk with its trailers (RFC 9112 §7.1.2).
pub(super) fn last_chunk(out: &mut BytesMut, trailers: Option<&HeaderMap>) {
    out.put_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if may_trail(name) {
            field(out, name, value);
        }
    }
    out.put_slice(b"\r\n");
}

/// Whether a field may follow the content. Those that say how a message is framed, routed, authorised or read may not
/// (RFC 9110 §6.5.1): an origin that merges trailers into the header would believe a client's word in place of ours.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    const FAMILIES: [&str; 5] = ["content-", "if-", "proxy-", "x-forwarded-", "transfer-"];
    const NAMES: [&str; 18] = [
        "authorization",
        "cache-control",
        "cdn-loop",
        "connection",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "range",
        "te",
        "trailer",
        "upgrade",
        "via",
        "x-real-ip",
        "x-request-id",
    ];
    let name = name.as_str();
    !NAMES.contains(&name) && !FAMILIES.iter().any(|family| name.starts_with(family))
}

fn field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

fn decimal(out: &mut BytesMut, number: u64) {
    let mut digits = [0; 20];
    let mut rest = number;
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(&digits[start..]);
}
