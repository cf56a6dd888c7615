//! HTTP/1.1 to the origin, by hand: no task and no channel for a connection, the body relayed in the request's own task.
//!
//! Strict in what it takes (RFC 9112): whatever is ambiguous is an error, and the connection is closed.

mod body;
mod decode;
mod encode;
mod framing;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod talk;

#[cfg(test)]
mod tests;

pub(crate) use decode::Form;
pub(crate) use talk::{Answer, Failed, Head, Talk, Times, Why, is_quiet};

/// The most that a response's status line and header may take.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// The most header fields in a response.
pub(crate) const MAX_FIELDS: usize = 128;
