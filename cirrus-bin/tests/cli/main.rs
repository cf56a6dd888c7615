//! The program as its users meet it: arguments in; text, status and traffic out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cache_rules;
mod cert;
#[cfg(feature = "redis")]
mod cert_cluster;
mod check;
mod consul;
mod demo;
mod explain;
mod proxy;
mod purge;
mod run;
mod support;
mod texts;
