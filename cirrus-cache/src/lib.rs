//! Places where Cirrus keeps responses.
//!
//! Each is a [`CacheStore`](cirrus_core::cache::CacheStore): [`MemoryStore`] keeps them in memory, [`DiskStore`] on a
//! disk.

mod disk;
mod memory;

pub use disk::{DiskStore, DiskStoreBuilder, OpenError};
pub use memory::{MemoryStore, MemoryStoreBuilder};
