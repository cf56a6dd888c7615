//! Places where Cirrus keeps responses.
//!
//! Each is a [`CacheStore`](cirrus_core::cache::CacheStore): [`MemoryStore`] keeps them in memory.

mod memory;

pub use memory::{MemoryStore, MemoryStoreBuilder};
