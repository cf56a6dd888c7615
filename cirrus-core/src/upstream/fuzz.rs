//! See [`crate::fuzzing`].

pub use super::h1::fuzz::response_head;
