//! The engine with the store in memory, over real sockets: what is stored, what is served from it, and to whom.

mod access;
mod collapsing;
mod compressing;
mod explain;
mod freshness;
mod keys;
mod load;
mod mix;
mod peers;
mod prefetching;
mod purge_log;
mod purging;
mod random;
mod ranges;
mod route_keys;
mod serving;
mod sessions;
mod slices;
mod storing;
mod streaming;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cirrus_cache::MemoryStore;
use cirrus_core::ManualClock;
use cirrus_core::testing::{Client, Reply, RunningOrigin, proxy};

const MIB: u64 = 1 << 20;

/// More than the harness has, so that they meet in the store.
const WORKERS: &str = "[server]\nworkers = 4\n";

/// A caching proxy for every host, and a client of it.
async fn cached(origin: &RunningOrigin) -> (proxy::Running, Client) {
    let proxy = with_store(proxy::to(origin)).run().await;
    let client = Client::to(proxy.address());
    (proxy, client)
}

/// Room for 256 MiB, and objects of up to 32 MiB.
fn with_store(proxy: proxy::Proxy) -> proxy::Proxy {
    let store = store(&proxy.clock(), 256 * MIB, 32 * MIB);
    proxy.with(|builder| builder.cache(store))
}

fn store(clock: &ManualClock, capacity: u64, max_object: u64) -> MemoryStore {
    MemoryStore::builder()
        .capacity(capacity)
        .max_object(max_object)
        .clock(Arc::new(clock.clone()))
        .build()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Bytes of which every place can be told from its neighbours.
fn pattern(length: u64) -> Bytes {
    (0..length)
        .map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8)
        .collect()
}

/// Waits until something holds.
async fn until(holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, wait)
        .await
        .expect("it to hold in time");
}

/// The value of a metric, with its labels as they are written; zero if it is not there.
async fn metric(proxy: &proxy::Running, name: &str) -> u64 {
    let page = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    let value = |line: &str| line.strip_prefix(name)?.trim().parse::<f64>().ok();
    page.text()
        .lines()
        .find_map(value)
        .map_or(0, |value| value as u64)
}

/// How many responses the cache has had this part in, over all sites and statuses.
async fn counted(proxy: &proxy::Running, word: &str) -> u64 {
    let page = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    let label = format!("cache=\"{word}\"}} ");
    let value = |line: &str| {
        let (name, value) = line.split_once(&label)?;
        value
            .parse::<u64>()
            .ok()
            .filter(|_| name.starts_with("cirrus_requests_total{"))
    };
    page.text().lines().filter_map(value).sum()
}

/// What the cache says that it did.
fn did(reply: &Reply) -> String {
    let all = reply.header("cache-status");
    all.strip_prefix("cirrus; ").unwrap_or(&all).to_owned()
}

fn is_hit(reply: &Reply) -> bool {
    did(reply).starts_with("hit")
}
