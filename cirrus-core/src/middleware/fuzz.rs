//! See [`crate::fuzzing`].

pub use super::access::fuzz::{credentials, jwks, key_files};
pub use super::access::jwt;
pub use super::client::fuzz::forwarded;
pub use super::compression::accept_encoding;
pub use super::trace_context::fuzz::traceparent;
