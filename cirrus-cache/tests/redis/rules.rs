//! The rules of HTTP caching, with what is stored in Redis.

use std::cell::Cell;
use std::sync::Arc;

use super::*;
use cirrus_core::ManualClock;

cirrus_core::testing::cache_rules!(async |clock| store(clock).await);

/// A store of its own at the server of this suite, which runs in a thread of its own and ends with it.
async fn store(clock: ManualClock) -> RedisStore {
    thread_local! {
        static SERVER: RedisServer = RedisServer::start();
        static LAST: Cell<u64> = const { Cell::new(0) };
    }
    LAST.set(LAST.get() + 1);
    let store = RedisStore::builder(&SERVER.with(RedisServer::url))
        .expect("Redis does what it is asked")
        .prefix(format!("{}:", LAST.get()))
        // The machine may be busy.
        .timeout(Duration::from_secs(20))
        .clock(Arc::new(clock))
        .build();
    store.connect().await.expect("Redis does what it is asked");
    store
}
