//! Places where Cirrus keeps responses.
//!
//! Each is a [`CacheStore`](cirrus_core::cache::CacheStore): [`MemoryStore`] keeps them in memory, and [`TieredStore`]
//! makes several stores one.
#![cfg_attr(
    feature = "redis",
    doc = "[`RedisStore`] keeps them where several edges find them."
)]

mod memory;
#[cfg(feature = "redis")]
mod redis;
mod tiered;

pub use memory::{MemoryStore, MemoryStoreBuilder};
#[cfg(feature = "redis")]
pub use redis::{RedisStore, RedisStoreBuilder};
pub use tiered::{Promote, TieredStore, TieredStoreBuilder};
