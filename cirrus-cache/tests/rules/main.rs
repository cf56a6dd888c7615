//! The rules of HTTP caching, through a real proxy, with every store; with Redis in `tests/redis`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;
use std::sync::Arc;

use cirrus_cache::{DiskStore, MemoryStore, TieredStore};
use cirrus_core::Clock;

cirrus_core::testing::cache_rules!(|clock| memory(clock, 16 << 20));

mod disk {
    use super::*;

    cirrus_core::testing::cache_rules!(|clock| super::disk(clock));
}

mod tiers {
    use super::*;

    cirrus_core::testing::cache_rules!(|clock| TieredStore::new(memory(clock.clone(), 64 << 10))
        .then(super::disk(clock))
        .build());
}

fn memory(clock: impl Clock, capacity: u64) -> MemoryStore {
    MemoryStore::builder()
        .capacity(capacity)
        .clock(Arc::new(clock))
        .build()
}

/// In a directory of its own, which the next run of the same test empties.
fn disk(clock: impl Clock) -> DiskStore {
    let thread = std::thread::current();
    let name = thread.name().unwrap().replace(':', "-");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rules-{name}"));
    let _ = std::fs::remove_dir_all(&directory);
    let builder = DiskStore::builder(directory).capacity(48 << 20);
    builder.clock(Arc::new(clock)).open_now().unwrap()
}
