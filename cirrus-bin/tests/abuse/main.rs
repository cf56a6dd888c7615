//! What clients do to a server that they wish ill, each with a well-meaning client beside it that must
//! not feel it, and with the program's own memory watched.
//!
//! By default with a fraction of the numbers, in a few seconds each; `CIRRUS_ABUSE=1`, as in
//! `scripts/abuse`, brings them all.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the figures are for whoever runs it")]

mod bystander;
mod edge;
mod http1;
mod http2;
mod idle;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "the command line's tests use the rest")]
mod support;
mod wire;
