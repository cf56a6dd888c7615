//! The memory store does what every store must.

use cirrus_cache::MemoryStore;

cirrus_core::testing::store_suite!(|| MemoryStore::sized(16 << 20));
