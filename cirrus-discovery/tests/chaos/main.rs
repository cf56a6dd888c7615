//! What may befall those who know the endpoints, and the endpoints themselves: through the whole engine, under load.
//! Clients notice nothing.

#![allow(clippy::unwrap_used, reason = "what a test does not get, fails it")]

mod consul;
mod dns;
mod file;
mod namespace;
mod registry;
