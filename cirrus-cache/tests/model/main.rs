//! The whole cache beside a simple model, by chance: requests of every kind, purges, clocks that jump, origins that fail
//! and change, restarts. Never is a body given that this key, variant and time do not allow; never is a purge undone
//! that has resolved.
//!
//! `CIRRUS_MODEL_SEED` repeats the choices of one run (what is done at the same time may end in another order),
//! `CIRRUS_MODEL_RUNS` makes more runs, with the seeds that follow, and `CIRRUS_MODEL_ROUNDS` longer ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod ask;
mod origin;
#[path = "../proxy/random.rs"]
mod random;
mod truth;
mod walk;

use std::path::Path;
use std::sync::Arc;

use cirrus_cache::{DiskStore, MemoryStore, TieredStore};
use cirrus_core::ManualClock;
use cirrus_core::cache::CacheStore;
use tempfile::TempDir;

use crate::random::from_env;
use crate::walk::walk;

type Shared = Arc<dyn CacheStore>;

fn runs(open: impl Fn(&Path, &ManualClock) -> Option<Shared>) {
    let first = from_env("CIRRUS_MODEL_SEED", 1);
    for seed in first..first + from_env("CIRRUS_MODEL_RUNS", 1) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let rounds = from_env("CIRRUS_MODEL_ROUNDS", 150);
        runtime.block_on(walk(seed, rounds, |clock| open(directory.path(), clock)));
    }
}

/// Lost with each restart, and so small that much is evicted.
fn memory(clock: &ManualClock) -> MemoryStore {
    MemoryStore::builder()
        .capacity(2 << 20)
        .max_object(1 << 20)
        .clock(Arc::new(clock.clone()))
        .build()
}

/// `None` while the one before still has the directory.
fn disk(path: &Path, clock: &ManualClock) -> Option<DiskStore> {
    let builder = DiskStore::builder(path).capacity(32 << 20).threads(2);
    builder.clock(Arc::new(clock.clone())).open_now().ok()
}

#[test]
fn memory_gives_nothing_that_is_not_allowed() {
    runs(|_, clock| Some(Arc::new(memory(clock))));
}

#[test]
fn disk_gives_nothing_that_is_not_allowed() {
    runs(|path, clock| Some(Arc::new(disk(path, clock)?)));
}

#[test]
fn memory_over_disk_gives_nothing_that_is_not_allowed() {
    runs(|path, clock| {
        let tiers = TieredStore::new(memory(clock)).then(disk(path, clock)?);
        Some(Arc::new(tiers.build()))
    });
}
