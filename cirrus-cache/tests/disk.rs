//! The disk store does what every store must, alone and as the farther tier.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;

use cirrus_cache::{DiskStore, MemoryStore, TieredStore};

/// A store in a directory of its own, which the next run of the same test empties.
fn empty() -> DiskStore {
    let thread = std::thread::current();
    let name = thread.name().unwrap().replace(':', "-");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{name}"));
    let _ = std::fs::remove_dir_all(&directory);
    let store = DiskStore::builder(directory).capacity(48 << 20).open_now();
    store.unwrap()
}

cirrus_core::testing::store_suite!(empty);

mod under_memory {
    use super::*;

    cirrus_core::testing::store_suite!(|| {
        TieredStore::new(MemoryStore::sized(16 << 20))
            .then(empty())
            .build()
    });
}

/// What does not fit into memory is still found on the disk.
mod under_memory_that_is_too_small {
    use super::*;

    cirrus_core::testing::store_suite!(|| {
        TieredStore::new(MemoryStore::sized(256 << 10))
            .then(empty())
            .build()
    });
}
