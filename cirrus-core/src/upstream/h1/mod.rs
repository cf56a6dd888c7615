//! HTTP/1.1 to the origin, by hand: no task and no channel for a connection, the body relayed in the request's own task.
//!
//! Strict in what it takes (RFC 9112): whatever is ambiguous is an error, and the connection is closed.

mod body;
mod chunked;
mod decode;
mod encode;
mod talk;

#[cfg(test)]
mod tests;

pub(crate) use encode::may_trail;
pub(crate) use talk::{Answer, Failed, Head, Talk, Times, Why, is_quiet};

/// The origin's bytes are no valid HTTP/1.1, or ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed response: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The most that a response's status line and header, or a chunked body's trailers, may take.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// The most header fields in a response.
pub(crate) const MAX_FIELDS: usize = 128;
