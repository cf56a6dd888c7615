//! The rules of HTTP caching, through a real proxy, with every store. Those of Redis are beside its other tests.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::cell::Cell;
use std::sync::Arc;

use cirrus_cache::{DiskStore, MemoryStore, TieredStore};
use cirrus_core::ManualClock;
use tempfile::TempDir;

cirrus_core::testing::cache_rules!(|clock| memory(&clock));

mod on_a_disk {
    use super::*;

    cirrus_core::testing::cache_rules!(|clock| disk(&clock));
}

mod in_memory_over_a_disk {
    use super::*;

    cirrus_core::testing::cache_rules!(|clock| TieredStore::new(memory(&clock))
        .then(disk(&clock))
        .build());
}

fn memory(clock: &ManualClock) -> MemoryStore {
    MemoryStore::builder()
        .capacity(16 << 20)
        .clock(Arc::new(clock.clone()))
        .build()
}

fn disk(clock: &ManualClock) -> DiskStore {
    // One directory for all stores of a suite, which runs in a thread of its own; it goes with the thread.
    thread_local! {
        static DIRECTORY: TempDir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        static LAST: Cell<u64> = const { Cell::new(0) };
    }
    LAST.set(LAST.get() + 1);
    let path = DIRECTORY.with(|directory| directory.path().join(LAST.get().to_string()));
    let builder = DiskStore::builder(path).capacity(16 << 20).threads(1);
    builder.clock(Arc::new(clock.clone())).open_now().unwrap()
}
