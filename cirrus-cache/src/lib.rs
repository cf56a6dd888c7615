//! Places where Cirrus keeps responses.
//!
//! Each is a [`CacheStore`](cirrus_core::cache::CacheStore): [`MemoryStore`] keeps them in memory, [`DiskStore`] on a
//! disk, and [`TieredStore`] makes several stores one. [`FileLog`] is a log of purges that several edges follow.
#![forbid(unsafe_code)]
#![cfg_attr(
    feature = "redis",
    doc = "[`RedisStore`] keeps them where several edges find them."
)]

mod disk;
mod file_log;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod removals;
mod tiered;

pub use disk::{DiskStore, DiskStoreBuilder, OpenError};
pub use file_log::FileLog;
pub use memory::{MemoryStore, MemoryStoreBuilder};
#[cfg(feature = "redis")]
pub use redis::{RedisStore, RedisStoreBuilder};
pub use tiered::{Promote, TieredStore, TieredStoreBuilder};
