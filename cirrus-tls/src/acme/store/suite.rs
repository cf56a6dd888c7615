//! The contract of [`CertStore`](super::CertStore) as tests: two handles of one store stand for two nodes.

use std::time::Duration;

use super::{CertStore, Lease, Slot, StoreError};

const LIFE: Duration = Duration::from_secs(60);

/// Tests a store; the expression makes two handles of a fresh one, and whatever keeps it alive.
macro_rules! store_suite {
    ($make:expr) => {
        crate::acme::store::suite::store_suite! {
            @each $make;
            what_is_written_is_read,
            removed_is_gone,
            names_are_those_of_certificates,
            one_lease_at_a_time,
            fences_rise,
            answers_are_seen_by_the_other_node,
            answers_end,
            changes_are_noticed,
        }
    };
    (@each $make:expr; $($behaviour:ident,)*) => {
        mod store_suite {
            use super::*;

            $(
                #[tokio::test]
                async fn $behaviour() {
                    let (one, other, _alive) = $make;
                    crate::acme::store::suite::$behaviour(&one, &other).await;
                }
            )*
        }
    };
}
pub(crate) use store_suite;

pub(crate) async fn what_is_written_is_read(one: &impl CertStore, other: &impl CertStore) {
    let lease = lease(one, "a.example").await;
    for slot in [
        Slot::Cert("a.example"),
        Slot::Cert("*.a.example"),
        Slot::State("a.example"),
        Slot::CertKey("a.example"),
        Slot::Account,
    ] {
        assert_eq!(other.read(&slot).await.unwrap(), None, "{slot:?}");
        let text = format!("{slot:?}\nsecond line");
        one.write(&slot, "before", &lease).await.unwrap();
        one.write(&slot, &text, &lease).await.unwrap();
        assert_eq!(other.read(&slot).await.unwrap(), Some(text));
    }
}

pub(crate) async fn removed_is_gone(one: &impl CertStore, other: &impl CertStore) {
    let lease = lease(one, "a.example").await;
    let slot = Slot::Cert("a.example");
    one.write(&slot, "text", &lease).await.unwrap();
    other.remove(&slot).await.unwrap();
    assert_eq!(one.read(&slot).await.unwrap(), None);
    one.remove(&slot)
        .await
        .expect("what is not there can be removed");
}

pub(crate) async fn names_are_those_of_certificates(one: &impl CertStore, other: &impl CertStore) {
    let lease = lease(one, "a.example").await;
    for name in ["a.example", "*.b.example"] {
        one.write(&Slot::Cert(name), "text", &lease).await.unwrap();
    }
    one.write(&Slot::State("c.example"), "text", &lease)
        .await
        .unwrap();
    let mut names = other.names().await.unwrap();
    names.sort();
    assert_eq!(names, ["*.b.example", "a.example"]);
}

pub(crate) async fn one_lease_at_a_time(one: &impl CertStore, other: &impl CertStore) {
    let first = lease(one, "a.example").await;
    assert!(other.acquire("a.example", LIFE).await.unwrap().is_none());
    assert!(one.acquire("a.example", LIFE).await.unwrap().is_none());
    let another = lease(other, "b.example").await;
    one.extend(&first, LIFE).await.unwrap();
    one.release(first).await.unwrap();
    let second = lease(other, "a.example").await;
    other.release(second).await.unwrap();
    other.release(another).await.unwrap();
}

pub(crate) async fn fences_rise(one: &impl CertStore, other: &impl CertStore) {
    let mut last = 0;
    for _ in 0..3 {
        for store in [one as &dyn CertStore, other] {
            let lease = store.acquire("a.example", LIFE).await.unwrap().unwrap();
            assert!(last < lease.fence, "{last} < {}", lease.fence);
            last = lease.fence;
            store.release(lease).await.unwrap();
        }
    }
}

pub(crate) async fn answers_are_seen_by_the_other_node(
    one: &impl CertStore,
    other: &impl CertStore,
) {
    for slot in [Slot::Token("token"), Slot::Alpn("a.example")] {
        one.publish(&slot, "answer", LIFE).await.unwrap();
        assert_eq!(other.read(&slot).await.unwrap().as_deref(), Some("answer"));
        one.remove(&slot).await.unwrap();
        assert_eq!(other.read(&slot).await.unwrap(), None);
    }
}

pub(crate) async fn answers_end(one: &impl CertStore, other: &impl CertStore) {
    let slot = Slot::Token("token");
    one.publish(&slot, "answer", Duration::from_millis(1))
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(5), async {
        while other.read(&slot).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it ends");
}

pub(crate) async fn changes_are_noticed(one: &impl CertStore, other: &impl CertStore) {
    let lease = lease(one, "a.example").await;
    let noticed = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            tokio::select! {
                name = other.changed() => break name,
                // A watcher that begins only now has missed what was before.
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    one.write(&Slot::Cert("a.example"), "text", &lease).await.unwrap();
                }
            }
        }
    });
    let name = noticed.await.expect("a change is noticed");
    assert!(name.is_none_or(|name| name == "a.example"));
}

/// For stores whose leases end by themselves.
#[allow(dead_code, reason = "the store on disk has none that end")]
pub(crate) async fn a_lost_lease_writes_nothing(one: &impl CertStore, other: &impl CertStore) {
    let short = one
        .acquire("a.example", Duration::from_millis(20))
        .await
        .unwrap()
        .unwrap();
    let taken = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            if let Some(lease) = other.acquire("a.example", LIFE).await.unwrap() {
                break lease;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let taken = taken.await.expect("a lease that is not extended ends");
    let slot = Slot::Cert("a.example");
    other.write(&slot, "new", &taken).await.unwrap();
    let late = one.write(&slot, "late", &short).await;
    assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
    let extended = one.extend(&short, LIFE).await;
    assert!(
        matches!(extended, Err(StoreError::Fenced(_))),
        "{extended:?}"
    );
    one.release(short).await.unwrap();
    assert_eq!(other.read(&slot).await.unwrap().as_deref(), Some("new"));
    assert!(one.acquire("a.example", LIFE).await.unwrap().is_none());
}

async fn lease(store: &impl CertStore, name: &str) -> Lease {
    store
        .acquire(name, LIFE)
        .await
        .unwrap()
        .expect("nobody has it")
}
