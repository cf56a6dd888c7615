//! Every store does what every store must.

use cirrus_cache::{MemoryStore, TieredStore};

cirrus_core::testing::store_suite!(|| MemoryStore::sized(16 << 20));

mod tiered {
    use super::*;

    cirrus_core::testing::store_suite!(|| {
        TieredStore::new(MemoryStore::sized(16 << 20))
            .then(MemoryStore::sized(32 << 20))
            .build()
    });
}

mod tiered_with_a_near_one_that_is_too_small {
    use super::*;

    cirrus_core::testing::store_suite!(|| {
        TieredStore::new(MemoryStore::sized(256 << 10))
            .then(MemoryStore::sized(16 << 20))
            .build()
    });
}
