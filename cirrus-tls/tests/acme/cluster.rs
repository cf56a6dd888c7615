//! Nodes that share a Redis server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::downstream::CertProvider;
use cirrus_core::testing::process::{PebbleServer, RedisServer};
use cirrus_tls::acme::{Acme, CertStore, Lease, RedisStore, Slot, StoreError, Wanted};

use crate::edge::{Shared, name};
use crate::soon;

/// Counts the certificates that are written.
struct Counting {
    inner: RedisStore,
    written: Arc<AtomicUsize>,
}

#[async_trait]
impl CertStore for Counting {
    async fn read(&self, slot: &Slot<'_>) -> Result<Option<String>, StoreError> {
        self.inner.read(slot).await
    }

    async fn write(&self, slot: &Slot<'_>, text: &str, lease: &Lease) -> Result<(), StoreError> {
        if matches!(slot, Slot::Cert(_)) {
            self.written.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.write(slot, text, lease).await
    }

    async fn publish(&self, slot: &Slot<'_>, text: &str, life: Duration) -> Result<(), StoreError> {
        self.inner.publish(slot, text, life).await
    }

    async fn remove(&self, slot: &Slot<'_>) -> Result<(), StoreError> {
        self.inner.remove(slot).await
    }

    async fn names(&self) -> Result<Vec<String>, StoreError> {
        self.inner.names().await
    }

    async fn acquire(&self, name: &str, life: Duration) -> Result<Option<Lease>, StoreError> {
        self.inner.acquire(name, life).await
    }

    async fn extend(&self, lease: &Lease, life: Duration) -> Result<(), StoreError> {
        self.inner.extend(lease, life).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.inner.release(lease).await
    }

    async fn changed(&self) -> Option<String> {
        self.inner.changed().await
    }
}

#[tokio::test]
async fn nodes_that_race_make_one_order_and_share_it() {
    let (shared, redis) = (Shared::new(PebbleServer::start()), RedisServer::start());
    let written = Arc::new(AtomicUsize::new(0));
    let wanted = Wanted::new(["shop.example"]);
    let node = || {
        let store = Counting {
            inner: RedisStore::new(&redis.url(), "cdn:").unwrap(),
            written: Arc::clone(&written),
        };
        let builder = Acme::builder(Arc::new(store)).authority(shared.authority());
        builder.want(wanted.clone()).build().unwrap()
    };
    let (one, other, third) = (node(), node(), node());
    // The authority reaches a node that has not ordered anything.
    let edge = shared.run(&third).await;
    let race = async {
        tokio::select! {
            () = one.maintain() => unreachable!(),
            () = other.maintain() => unreachable!(),
            shown = shared.until_shown("shop.example") => shown,
        }
    };
    let shown = soon(race).await;
    for node in [&one, &other, &third] {
        let loaded = node.load(&name("shop.example")).await.unwrap();
        assert_eq!(loaded.key.cert[0], shown);
    }
    assert_eq!(written.load(Ordering::SeqCst), 1, "one order");

    // What one node renews, another serves without being asked for it again.
    soon(one.renew("shop.example")).await.unwrap();
    let renewed = one.load(&name("shop.example")).await.unwrap();
    soon(async { while shared.shown("shop.example").await.unwrap() != renewed.key.cert[0] {} })
        .await;
    edge.shutdown().await;
}

#[tokio::test]
async fn a_dead_node_is_taken_over_when_its_lease_ends() {
    let (shared, redis) = (Shared::new(PebbleServer::start()), RedisServer::start());
    let open = || RedisStore::new(&redis.url(), "cdn:").unwrap();
    let dead = open();
    let lease = dead.acquire("shop.example", Duration::from_secs(2)).await;
    let lease = lease.unwrap().expect("the lease");
    let wanted = Wanted::new(["shop.example"]);
    let builder = Acme::builder(Arc::new(open())).authority(shared.authority());
    let acme = builder.want(wanted.clone()).build().unwrap();
    let edge = shared.run(&acme).await;
    soon(acme.obtain(&wanted)).await.unwrap();
    // It was only slow, and comes back.
    let late = dead
        .write(&Slot::Cert("shop.example"), "late", &lease)
        .await;
    assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
    soon(shared.until_shown("shop.example")).await;
    edge.shutdown().await;
}
