//! A service that suddenly has few endpoints keeps those it had, until that is confirmed.

use std::collections::BTreeMap;
use std::time::Duration;

use cirrus_core::discovery::{Condition, Endpoint, Registry};
use cirrus_core::testing::{Client, RunningOrigin, proxy};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::balancing::origins;

const LIMIT: Duration = Duration::from_secs(30);

fn config(hold: &str) -> String {
    format!(
        "[discovery.guard]\nmax_shrink = 50\nhold = \"{hold}\"\n\
         [[cluster]]\nname = \"pay\"\nservice = \"pay\"\n\
         [[site]]\nhosts = [\"*\"]\ncluster = \"pay\"\n"
    )
}

fn set(registry: &Registry, origins: &[RunningOrigin]) {
    let endpoint = |origin: &RunningOrigin| Endpoint::new(origin.url().parse().unwrap());
    let named = origins
        .iter()
        .map(|one| (one.url().replace("://", "-"), endpoint(one)));
    let endpoints: BTreeMap<_, _> = named.map(|(id, one)| (id.replace(':', "-"), one)).collect();
    registry.replace("pay", endpoints, &Condition::Any).unwrap();
}

async fn before(registry: &Registry, hold: &str) -> proxy::Running {
    let parts = registry.clone();
    proxy::new(&config(hold))
        .with(|builder| builder.discovery(parts))
        .run()
        .await
}

/// Waits for what the operator is told of the service.
async fn until(proxy: &proxy::Running, is: impl Fn(&Value) -> bool) -> Value {
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let waiting = async {
        loop {
            let told: Value =
                serde_json::from_str(admin.get("/api/v1/status").await.text()).unwrap();
            let told = told["clusters"][0].clone();
            if is(&told) {
                return told;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, waiting).await.expect("told in time")
}

/// How many of the origins are asked.
async fn asked(proxy: &proxy::Running, origins: &[RunningOrigin]) -> usize {
    let before: Vec<_> = origins.iter().map(RunningOrigin::count).collect();
    let mut client = Client::to(proxy.address());
    for _ in 0..origins.len() * 4 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let counts = origins.iter().zip(before);
    counts
        .filter(|(origin, before)| origin.count() > *before)
        .count()
}

#[tokio::test]
async fn a_set_that_is_suddenly_small_is_told_and_not_used() {
    let (origins, registry) = (origins(4).await, Registry::new());
    set(&registry, &origins);
    let proxy = before(&registry, "1h").await;
    until(&proxy, |told| told["endpoints"] == 4).await;
    for count in [1, 0] {
        set(&registry, &origins[..count]);
        let told = until(&proxy, |told| {
            told["discovery"]["held"]["endpoints"] == count
        })
        .await;
        assert_eq!(told["endpoints"], 4);
        assert_eq!(told["discovery"]["holds"], 1);
        assert!(told["discovery"]["held"]["age"].is_number());
        assert_eq!(asked(&proxy, &origins).await, 4);
    }
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let metrics = admin.get("/metrics").await.text().to_owned();
    for line in [
        "cirrus_discovery_holding{cluster=\"pay\"} 1",
        "cirrus_discovery_holds_total{cluster=\"pay\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    // Half of them are not few.
    set(&registry, &origins[..2]);
    let told = until(&proxy, |told| told["endpoints"] == 2).await;
    assert_eq!(told["discovery"]["held"], Value::Null);
    assert_eq!(asked(&proxy, &origins).await, 2);
}

#[tokio::test]
async fn what_is_said_again_is_believed() {
    let (origins, registry) = (origins(4).await, Registry::new());
    set(&registry, &origins);
    let proxy = before(&registry, "1s").await;
    until(&proxy, |told| told["endpoints"] == 4).await;
    set(&registry, &origins[..1]);
    let told = until(&proxy, |told| told["endpoints"] == 1).await;
    assert_eq!(told["discovery"]["holds"], 1, "not before it was confirmed");
    assert_eq!(asked(&proxy, &origins).await, 1);
}
