//! HTTP/1.1 on the wire, as far as requests and responses are alike (RFC 9112 §5, §7).
//!
//! Both directions are strict: whatever has more than one reading is an error.

pub(crate) mod chunked;
pub(crate) mod fields;
pub(crate) mod lines;
pub(crate) mod trailers;
pub(crate) mod write;

/// The bytes are no valid HTTP/1.1, or ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);
