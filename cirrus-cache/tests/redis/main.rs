//! The Redis store beside a real server, and without it.

mod chaos;
mod edges;
mod rules;
mod sharing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cirrus_cache::{MemoryStore, RedisStore, TieredStore};
use cirrus_core::cache::{
    ByteRange, CacheKey, CacheStore, Fill, Freshness, Meta, Moment, ObjectId, Purge, Purged,
    Scheme, Selection, StoreError, Stored,
};
use cirrus_core::testing::process::RedisServer;
use cirrus_core::{Clock, SystemClock};
use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;

mod alone {
    use super::*;

    cirrus_core::testing::store_suite!(async || Own::start(|store| store));
}

mod under_memory {
    use super::*;

    cirrus_core::testing::store_suite!(async || Own::start(under_memory));
}

fn under_memory(store: RedisStore) -> TieredStore {
    TieredStore::new(MemoryStore::sized(16 << 20))
        .then(store)
        .build()
}

/// A store with a server of its own.
struct Own<S> {
    store: S,
    _server: RedisServer,
}

impl<S> Own<S> {
    async fn start(wrap: impl FnOnce(RedisStore) -> S) -> Self {
        Self::at(Arc::new(SystemClock), wrap).await
    }

    async fn at(clock: Arc<dyn Clock>, wrap: impl FnOnce(RedisStore) -> S) -> Self {
        let server = RedisServer::start();
        let store = RedisStore::builder(&server.url())
            .expect("Redis does what it is asked")
            .max_object(8 << 20)
            // The machine may be busy.
            .timeout(Duration::from_secs(20))
            .clock(clock)
            .build();
        store.connect().await.expect("Redis does what it is asked");
        Self {
            store: wrap(store),
            _server: server,
        }
    }
}

#[async_trait]
impl<S: CacheStore> CacheStore for Own<S> {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        self.store.lookup(key).await
    }

    async fn lookup_since(
        &self,
        key: &CacheKey,
        moment: Moment,
    ) -> Result<Vec<Stored>, StoreError> {
        self.store.lookup_since(key, moment).await
    }

    fn moment(&self) -> Moment {
        self.store.moment()
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        self.store.insert(key, meta).await
    }

    async fn refresh(&self, key: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        self.store.refresh(key, id, meta).await
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.store.purge(purge).await
    }
}

/// One more edge.
async fn edge(server: &RedisServer) -> RedisStore {
    let store = edge_waiting(server, Duration::from_secs(20));
    store.connect().await.expect("Redis does what it is asked");
    store
}

fn edge_waiting(server: &RedisServer, timeout: Duration) -> RedisStore {
    let builder = RedisStore::builder(&server.url()).expect("Redis does what it is asked");
    builder.timeout(timeout).build()
}

fn key() -> CacheKey {
    key_of("/shop/1")
}

fn key_of(target: &'static str) -> CacheKey {
    CacheKey::new(
        Scheme::Https,
        "a.example",
        &PathAndQuery::from_static(target),
    )
}

fn meta() -> Meta {
    let mut freshness = Freshness::default();
    freshness.received = SystemClock.now();
    freshness.lifetime = Duration::from_secs(3600);
    Meta::new(StatusCode::OK, HeaderMap::new())
        .with_freshness(freshness)
        .with_tags(["t"])
}

/// Everything that has to do with the page.
fn selections() -> [Selection; 5] {
    [
        Selection::Url(key()),
        Selection::Prefix {
            host: "a.example".into(),
            path: "/shop/".into(),
        },
        Selection::Tag("t".into()),
        Selection::Host("a.example".into()),
        Selection::All,
    ]
}

async fn put(store: &impl CacheStore, body: impl Into<Bytes>) {
    let asked = store.moment();
    end(begin(store, asked).await, body).await;
}

async fn begin(store: &impl CacheStore, asked: Moment) -> Box<dyn Fill> {
    let inserted = store.insert(&key(), meta().with_asked(asked)).await;
    inserted.expect("Redis does what it is asked")
}

async fn end(mut fill: Box<dyn Fill>, body: impl Into<Bytes>) {
    fill.write(body.into())
        .await
        .expect("Redis does what it is asked");
    fill.finish(HeaderMap::new())
        .await
        .expect("Redis does what it is asked");
}

async fn bodies(store: &impl CacheStore) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    for stored in store
        .lookup(&key())
        .await
        .expect("Redis does what it is asked")
    {
        let body = stored.body.read(ByteRange::ALL);
        bodies.push(
            body.collect()
                .await
                .expect("Redis does what it is asked")
                .to_bytes(),
        );
    }
    bodies
}
