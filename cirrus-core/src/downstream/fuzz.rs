//! See [`crate::fuzzing`].

pub use super::h1::request_head;
pub use super::h2::h2_frames;
pub use super::proxy_protocol::fuzz::proxy_protocol;
pub use super::tls::hello::client_hello;
