//! Runs every example: its program against an origin on loopback, and the suites that its backend has to pass.

#![allow(clippy::unwrap_used, reason = "what a test does not get, fails it")]

mod document;
mod program;
mod programs;
mod suites;
