//! Fields, numbers and chunks as bytes.

use bytes::BufMut;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Writes the line before a chunk (RFC 9112 §7.1).
pub(crate) fn chunk_size(out: &mut impl BufMut, size: usize) {
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
pub(crate) fn last_chunk(out: &mut impl BufMut, trailers: Option<&HeaderMap>) {
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

/// Writes one field line.
pub(crate) fn field(out: &mut impl BufMut, name: &HeaderName, value: &HeaderValue) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

/// Writes a number in decimal digits.
pub(crate) fn decimal(out: &mut impl BufMut, number: u64) {
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
