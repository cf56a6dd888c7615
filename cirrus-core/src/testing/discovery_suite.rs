//! What every [`Discovery`] must do, as tests.
//!
//! ```ignore
//! cirrus_core::testing::discovery_suite!(|| Consul::emptied(URL));
//! // Something that is opened asynchronously:
//! cirrus_core::testing::discovery_suite!(async || Consul::emptied(URL).await);
//! ```
//!
//! The expression gives a [`DiscoveryFixture`]: a registry without services, and the means to change it. It is
//! evaluated once for each test, and shares nothing with the others. What the backend is slow to notice, it must notice
//! within [`LIMIT`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use crate::config::OriginUrl;
use crate::discovery::{Discovery, Endpoint, Endpoints, ServiceName};
use crate::{BoxError, Updates};

/// The longest that a backend may take to say something: 10 s.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A registry of services, and the means to change it.
pub trait DiscoveryFixture {
    /// The backend. Each one it gives says the same.
    fn discovery(&self) -> Arc<dyn Discovery>;

    /// Makes exactly these the endpoints of a service, which is known from then on. They are addresses with ports on
    /// `http`, have weights from 1 to 10, and no name for TLS.
    fn put(&self, service: &str, endpoints: &Endpoints) -> impl Future<Output = ()>;

    /// Puts something there for the service that makes no sense. `false` if a registry of this kind cannot hold such a
    /// thing; what is to be seen of it is not tested then.
    fn put_garbage(&self, service: &str) -> impl Future<Output = bool>;

    /// Whether the registry knows weights. By default it does; otherwise each endpoint is to have the weight 1.
    fn has_weights(&self) -> bool {
        true
    }
}

/// Expands to a module with one test for each thing that a discovery must do.
#[doc(hidden)]
#[macro_export]
macro_rules! __discovery_suite {
    (async || $make:expr) => {
        $crate::__discovery_suite!(@all { async { $make }.await });
    };
    (|| $make:expr) => {
        $crate::__discovery_suite!(@all { $make });
    };
    (@all $make:block) => {
        mod discovery_suite {
            #[allow(unused_imports, reason = "what the expression names")]
            use super::*;
            $crate::__discovery_suite!(@each $make
                present_endpoints_come_first
                every_change_gives_the_full_set
                change_of_weight_keeps_identity
                last_of_several_changes_follows
                empty_set_is_no_error
                unknown_service_is_an_error_and_not_the_end
                garbage_is_not_the_end
                services_do_not_mix
                two_watches_are_independent
                dropped_watches_leave_room_for_others
            );
        }
    };
    (@each $make:block $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::testing::discovery_suite::run(async { $crate::testing::discovery_suite::$case($make).await });
            }
        )*
    };
    ($make:expr) => {
        $crate::__discovery_suite!(@all { $make });
    };
}

/// The service that most tests are about.
const PAYMENTS: &str = "payments";
const OTHER: &str = "other";

/// Runs one test on a runtime of its own.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

// === the behaviours ===

#[doc(hidden)]
pub async fn present_endpoints_come_first(fixture: impl DiscoveryFixture) {
    let present = set(&fixture, &[(1, 3), (2, 1)]);
    let mut updates = watch(&fixture, &present).await;
    assert_same(&first(&mut updates).await, &present);
}

#[doc(hidden)]
pub async fn every_change_gives_the_full_set(fixture: impl DiscoveryFixture) {
    let mut updates = watch(&fixture, &set(&fixture, &[(1, 1), (2, 1)])).await;
    first(&mut updates).await;
    let added = set(&fixture, &[(1, 1), (2, 1), (3, 1)]);
    let removed = set(&fixture, &[(1, 1), (3, 1)]);
    let exchanged = set(&fixture, &[(4, 1), (5, 1)]);
    for next in [added, removed, exchanged] {
        fixture.put(PAYMENTS, &next).await;
        until(&mut updates, &next).await;
    }
}

#[doc(hidden)]
pub async fn change_of_weight_keeps_identity(fixture: impl DiscoveryFixture) {
    if !fixture.has_weights() {
        return;
    }
    let mut updates = watch(&fixture, &set(&fixture, &[(1, 1), (2, 1)])).await;
    let before = first(&mut updates).await;
    let heavier = set(&fixture, &[(1, 10), (2, 1)]);
    fixture.put(PAYMENTS, &heavier).await;
    let after = until(&mut updates, &heavier).await;
    for endpoint in &before {
        let kept = after.iter().filter(|other| other.is_same(endpoint)).count();
        assert_eq!(kept, 1, "{endpoint:?} is not itself in {after:?}");
    }
}

#[doc(hidden)]
pub async fn last_of_several_changes_follows(fixture: impl DiscoveryFixture) {
    let mut updates = watch(&fixture, &set(&fixture, &[(1, 1)])).await;
    first(&mut updates).await;
    for port in 2..=5 {
        fixture.put(PAYMENTS, &set(&fixture, &[(port, 1)])).await;
    }
    until(&mut updates, &set(&fixture, &[(5, 1)])).await;
}

#[doc(hidden)]
pub async fn empty_set_is_no_error(fixture: impl DiscoveryFixture) {
    let mut updates = watch(&fixture, &Endpoints::default()).await;
    assert!(first(&mut updates).await.is_empty());
    for next in [&set(&fixture, &[(1, 1)]), &Endpoints::default()] {
        fixture.put(PAYMENTS, next).await;
        until(&mut updates, next).await;
    }
}

#[doc(hidden)]
pub async fn unknown_service_is_an_error_and_not_the_end(fixture: impl DiscoveryFixture) {
    fixture.put(OTHER, &set(&fixture, &[(1, 1)])).await;
    let mut updates = fixture.discovery().watch(&name(PAYMENTS));
    let item = next(&mut updates).await;
    assert!(
        item.is_err(),
        "an unknown service is an error, not {item:?}"
    );
    let born = set(&fixture, &[(2, 1)]);
    fixture.put(PAYMENTS, &born).await;
    until(&mut updates, &born).await;
}

#[doc(hidden)]
pub async fn garbage_is_not_the_end(fixture: impl DiscoveryFixture) {
    let mut updates = watch(&fixture, &set(&fixture, &[(1, 1)])).await;
    first(&mut updates).await;
    if fixture.put_garbage(PAYMENTS).await {
        let mended = set(&fixture, &[(1, 1), (2, 1)]);
        fixture.put(PAYMENTS, &mended).await;
        until(&mut updates, &mended).await;
    }
}

#[doc(hidden)]
pub async fn services_do_not_mix(fixture: impl DiscoveryFixture) {
    let (here, there) = (set(&fixture, &[(1, 1)]), set(&fixture, &[(2, 1)]));
    fixture.put(PAYMENTS, &here).await;
    fixture.put(OTHER, &there).await;
    let discovery = fixture.discovery();
    let mut payments = discovery.watch(&name(PAYMENTS));
    let mut other = discovery.watch(&name(OTHER));
    assert_same(&first(&mut payments).await, &here);
    assert_same(&first(&mut other).await, &there);

    let changed = set(&fixture, &[(1, 1), (3, 1)]);
    fixture.put(PAYMENTS, &changed).await;
    until(&mut payments, &changed).await;
    let later = set(&fixture, &[(4, 1)]);
    fixture.put(OTHER, &later).await;
    let seen = collect_until(&mut other, &later).await;
    for endpoints in seen.iter().filter(|seen| !is_same(seen, &later)) {
        assert_same(endpoints, &there);
    }
}

#[doc(hidden)]
pub async fn two_watches_are_independent(fixture: impl DiscoveryFixture) {
    fixture.put(PAYMENTS, &set(&fixture, &[(1, 1)])).await;
    let discovery = fixture.discovery();
    let mut here = discovery.watch(&name(PAYMENTS));
    let mut there = discovery.watch(&name(PAYMENTS));
    first(&mut here).await;
    first(&mut there).await;
    let second = set(&fixture, &[(2, 1)]);
    fixture.put(PAYMENTS, &second).await;
    until(&mut here, &second).await;
    until(&mut there, &second).await;
    drop(here);
    let third = set(&fixture, &[(3, 1)]);
    fixture.put(PAYMENTS, &third).await;
    until(&mut there, &third).await;
}

#[doc(hidden)]
pub async fn dropped_watches_leave_room_for_others(fixture: impl DiscoveryFixture) {
    fixture.put(PAYMENTS, &set(&fixture, &[(1, 1)])).await;
    let discovery = fixture.discovery();
    for _ in 0..200 {
        first(&mut discovery.watch(&name(PAYMENTS))).await;
    }
    let mut updates = discovery.watch(&name(PAYMENTS));
    first(&mut updates).await;
    let next = set(&fixture, &[(2, 1)]);
    fixture.put(PAYMENTS, &next).await;
    until(&mut updates, &next).await;
}

// === what they have in common ===

fn name(service: &str) -> ServiceName {
    ServiceName::new(service).expect("a name")
}

/// Endpoints from pairs of a number and a weight.
fn set(fixture: &impl DiscoveryFixture, endpoints: &[(u16, u16)]) -> Endpoints {
    let endpoint = |&(number, weight): &(u16, u16)| {
        let url: OriginUrl = format!("http://127.0.0.{number}:{}", 3000 + number)
            .parse()
            .expect("a URL");
        Endpoint::new(url).with_weight(if fixture.has_weights() { weight } else { 1 })
    };
    endpoints.iter().map(endpoint).collect()
}

async fn watch(fixture: &impl DiscoveryFixture, present: &Endpoints) -> Updates<Endpoints> {
    fixture.put(PAYMENTS, present).await;
    fixture.discovery().watch(&name(PAYMENTS))
}

async fn next(updates: &mut Updates<Endpoints>) -> Result<Endpoints, BoxError> {
    let item = timeout(LIMIT, updates.next()).await;
    item.expect("the backend says something in time")
        .expect("the watch does not end")
}

async fn first(updates: &mut Updates<Endpoints>) -> Endpoints {
    next(updates).await.expect("the present endpoints")
}

/// Waits for these endpoints. On the way there a backend may repeat itself, or notice less than the whole.
async fn until(updates: &mut Updates<Endpoints>, wanted: &Endpoints) -> Endpoints {
    let mut seen = collect_until(updates, wanted).await;
    seen.pop().expect("the endpoints that were waited for")
}

/// Every set on the way to these endpoints, them included.
async fn collect_until(updates: &mut Updates<Endpoints>, wanted: &Endpoints) -> Vec<Endpoints> {
    let collected = async {
        let mut seen: Vec<Endpoints> = Vec::new();
        while !seen.last().is_some_and(|last| is_same(last, wanted)) {
            seen.extend(next(updates).await);
        }
        seen
    };
    let collected = timeout(LIMIT, collected).await;
    collected.expect("the endpoints that were put arrive in time")
}

/// The order says nothing.
fn is_same(one: &Endpoints, other: &Endpoints) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .all(|endpoint| other.iter().any(|e| e == endpoint))
}

fn assert_same(found: &Endpoints, wanted: &Endpoints) {
    assert!(is_same(found, wanted), "found {found:?}, not {wanted:?}");
}
