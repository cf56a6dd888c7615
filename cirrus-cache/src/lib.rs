//! Places where Cirrus keeps responses.
//!
//! Each is a [`CacheStore`](cirrus_core::cache::CacheStore): [`MemoryStore`] keeps them in memory, [`DiskStore`] on a
//! disk. [`FileLog`] is a log of purges that several edges follow.

mod disk;
mod file_log;
mod memory;

pub use disk::{DiskStore, DiskStoreBuilder, OpenError};
pub use file_log::FileLog;
pub use memory::{MemoryStore, MemoryStoreBuilder};
