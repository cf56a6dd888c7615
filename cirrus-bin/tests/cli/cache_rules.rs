//! The rules of HTTP caching through the program, with each store that a configuration can name.
//!
//! Time passes as it does: the tests of a table run at the same time, and what a busy machine spoils is tried again.

use std::path::Path;

use cirrus_core::testing::cache_rules;
use cirrus_core::testing::process::RedisServer;

use crate::support::Cirrus;

const LISTEN: &str = "listen = [{ address = \"127.0.0.1:0\" }]\n";

/// Runs the whole table with this `[cache]`.
async fn check(cache: &str) {
    cache_rules::check_program(async |sites| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cirrus.toml");
        std::fs::write(&file, format!("{LISTEN}{cache}\n{sites}")).unwrap();
        let arguments = ["run", "--config", file.to_str().unwrap()];
        let mut cirrus = Cirrus::start(Path::new("."), &arguments);
        (cirrus.address().await, (cirrus, directory))
    })
    .await;
}

#[tokio::test]
async fn in_memory() {
    check("cache = { memory = \"16MiB\" }").await;
}

#[tokio::test]
async fn on_a_disk_with_memory_for_nothing() {
    let disk = "disk = { path = \"cache\", capacity = \"64MiB\" }";
    check(&format!(
        "cache = {{ memory = \"1MiB\", max_object = \"1B\", {disk} }}"
    ))
    .await;
}

#[tokio::test]
async fn in_memory_over_a_disk() {
    let disk = "disk = { path = \"cache\", capacity = \"64MiB\" }";
    check(&format!("cache = {{ memory = \"16MiB\", {disk} }}")).await;
}

#[tokio::test]
async fn in_memory_over_redis() {
    let server = RedisServer::start();
    let redis = format!("redis = {{ url = \"{}\" }}", server.url());
    check(&format!("cache = {{ memory = \"16MiB\", {redis} }}")).await;
}
