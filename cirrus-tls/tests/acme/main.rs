//! Certificates from a real authority: Pebble, with edges that answer its challenges.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[cfg(feature = "redis")]
mod cluster;
mod dns;
mod edge;
mod issue;
mod manage;
mod mock;
mod suite;

use std::time::Duration;

/// What it gives, within a minute.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, work)
        .await
        .expect("an end in time")
}
