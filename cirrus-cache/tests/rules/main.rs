//! The rules of HTTP caching, through a real proxy, with every store.

use std::sync::Arc;

use cirrus_cache::MemoryStore;

cirrus_core::testing::cache_rules!(|clock| MemoryStore::builder()
    .capacity(16 << 20)
    .clock(Arc::new(clock))
    .build());
