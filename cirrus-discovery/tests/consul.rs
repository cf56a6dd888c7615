//! Consul as it is: a real agent, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "what a test does not get, fails it")]

use std::sync::Arc;
use std::time::Duration;

use cirrus_core::discovery::{Discovery, Endpoint, Endpoints, ServiceName, UnknownService};
use cirrus_core::testing::certs::Authority;
use cirrus_core::testing::discovery_suite::DiscoveryFixture;
use cirrus_core::testing::process::ConsulServer;
use cirrus_core::{BoxError, Updates};
use cirrus_discovery::consul::{Builder, Consul, ConsulError};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::timeout;

/// The longest that anything here is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// A registry of its own for each test, in an agent that all share: services by other names.
struct Fixture {
    server: ConsulServer,
    put: Mutex<Vec<(String, String)>>,
}

// === impl Fixture ===

impl Fixture {
    fn start() -> Self {
        Self {
            server: ConsulServer::start("dc1"),
            put: Mutex::default(),
        }
    }

    fn add(&self, service: &str, address: &str, weight: u16, status: &str) {
        let weights = json!({ "Weights": { "Passing": weight, "Warning": 1 } });
        self.server.register_with(service, address, status, weights);
        self.put.lock().push((service.into(), address.into()));
    }
}

impl DiscoveryFixture for Fixture {
    fn discovery(&self) -> Arc<dyn Discovery> {
        Arc::new(consul(&self.server))
    }

    async fn put(&self, service: &str, endpoints: &Endpoints) {
        let known = std::mem::take(&mut *self.put.lock());
        let (mine, others) = known.into_iter().partition(|(of, _)| of == service);
        *self.put.lock() = others;
        // Keeps the service known when nobody is there.
        self.add(service, "127.9.9.9:1", 1, "critical");
        for endpoint in endpoints {
            self.add(
                service,
                endpoint.url.authority(),
                endpoint.weight,
                "passing",
            );
        }
        let mine: Vec<(String, String)> = mine;
        for (_, address) in mine {
            let stays = endpoints.iter().any(|one| one.url.authority() == address);
            if !stays && address != "127.9.9.9:1" {
                self.server.deregister(service, &address);
            }
        }
    }

    async fn put_garbage(&self, service: &str) -> bool {
        self.add(service, "no host at all:1", 1, "passing");
        true
    }
}

cirrus_core::testing::discovery_suite!(|| Fixture::start());

// === what becomes of it ===

fn consul(server: &ConsulServer) -> Consul {
    let builder = Consul::builder().address(server.address().to_string());
    let short = builder
        .wait(Duration::from_secs(1))
        .timeout(Duration::from_secs(2));
    short.build().unwrap()
}

fn watch(server: &ConsulServer, service: &str) -> Updates<Endpoints> {
    consul(server).watch(&ServiceName::new(service).unwrap())
}

async fn next(updates: &mut Updates<Endpoints>) -> Result<Endpoints, BoxError> {
    let item = timeout(LIMIT, updates.next()).await;
    item.expect("in time").expect("no end")
}

/// Errors on the way are expected.
async fn until(updates: &mut Updates<Endpoints>, wanted: &[&str]) -> Endpoints {
    let seen = async {
        loop {
            let Ok(endpoints) = next(updates).await else {
                continue;
            };
            if authorities(&endpoints) == wanted {
                return endpoints;
            }
        }
    };
    let seen = timeout(LIMIT, seen).await;
    seen.unwrap_or_else(|_| panic!("{wanted:?} in time"))
}

async fn until_error(updates: &mut Updates<Endpoints>) -> BoxError {
    let failed = async {
        loop {
            if let Err(error) = next(updates).await {
                return error;
            }
        }
    };
    timeout(LIMIT, failed).await.expect("an error in time")
}

fn authorities(endpoints: &Endpoints) -> Vec<&str> {
    let mut all: Vec<_> = endpoints.iter().map(|one| one.url.authority()).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn a_killed_consul_is_an_error_until_it_is_back() {
    let mut server = ConsulServer::start("dc1");
    server.register("payment", "10.0.0.1:8080", "passing");
    let mut updates = watch(&server, "payment");
    until(&mut updates, &["10.0.0.1:8080"]).await;
    server.kill();
    let error = until_error(&mut updates).await;
    assert!(!error.is::<UnknownService>(), "{error}");
    server.restart();
    server.register("payment", "10.0.0.2:8080", "passing");
    until(&mut updates, &["10.0.0.2:8080"]).await;
}

#[tokio::test]
async fn a_consul_that_stands_still_is_an_error_until_it_goes_on() {
    let server = ConsulServer::start("dc1");
    server.register("payment", "10.0.0.1:8080", "passing");
    let mut updates = watch(&server, "payment");
    until(&mut updates, &["10.0.0.1:8080"]).await;
    server.pause();
    let error = until_error(&mut updates).await;
    assert!(error.to_string().contains("does not answer"), "{error}");
    server.resume();
    server.register("payment", "10.0.0.2:8080", "passing");
    until(&mut updates, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
}

#[tokio::test]
async fn one_that_comes_back_empty_says_unknown_and_never_an_empty_set() {
    let mut server = ConsulServer::start("dc1");
    for number in 0..20 {
        // A high index, so that the new one's is below it.
        server.register("other", &format!("10.0.1.{number}:8080"), "passing");
    }
    server.register("payment", "10.0.0.1:8080", "passing");
    let mut updates = watch(&server, "payment");
    until(&mut updates, &["10.0.0.1:8080"]).await;
    server.restart();
    let unknown = async {
        loop {
            match next(&mut updates).await {
                Err(error) if error.is::<UnknownService>() => return,
                Err(_) => {}
                Ok(endpoints) => assert_eq!(authorities(&endpoints), ["10.0.0.1:8080"]),
            }
        }
    };
    timeout(LIMIT, unknown).await.expect("it is unknown");
    server.register("payment", "10.0.0.3:8080", "passing");
    until(&mut updates, &["10.0.0.3:8080"]).await;
}

#[tokio::test]
async fn a_record_that_makes_no_sense_takes_no_other_along() {
    let server = ConsulServer::start("dc1");
    server.register("payment", "10.0.0.1:8080", "passing");
    server.register("payment", "no host:8080", "passing");
    server.register("payment", "10.0.0.9:0", "passing");
    let heavy = json!({ "Meta": { "weight": "heavy" } });
    server.register_with("payment", "10.0.0.8:8080", "passing", heavy);
    let mut updates = watch(&server, "payment");
    until(&mut updates, &["10.0.0.1:8080"]).await;
    server.register("payment", "10.0.0.2:8080", "passing");
    until(&mut updates, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
}

#[tokio::test]
async fn tags_filters_policies_and_weights_are_consuls_own() {
    let server = ConsulServer::start("dc1");
    let with = |address, status, more| server.register_with("web", address, status, more);
    with(
        "10.0.0.1:8080",
        "passing",
        json!({ "Tags": ["v1"], "Weights": { "Passing": 7, "Warning": 1 } }),
    );
    with(
        "10.0.0.2:8080",
        "passing",
        json!({ "Tags": ["v2", "eu"], "Meta": { "weight": "3" } }),
    );
    with(
        "10.0.0.3:8080",
        "warning",
        json!({ "Tags": ["v2"], "Weights": { "Passing": 9, "Warning": 2 } }),
    );
    with("10.0.0.4:8080", "critical", json!({ "Tags": ["v2"] }));
    for (service, wanted) in [
        ("web", &[("10.0.0.1:8080", 7), ("10.0.0.2:8080", 3)][..]),
        ("dc1/web?tag=v1", &[("10.0.0.1:8080", 7)]),
        ("web?tag=v2&tag=eu", &[("10.0.0.2:8080", 3)]),
        (
            "web?tag=v2&passing=warning",
            &[("10.0.0.2:8080", 3), ("10.0.0.3:8080", 2)],
        ),
        (
            "web?filter=%22eu%22%20in%20Service.Tags",
            &[("10.0.0.2:8080", 3)],
        ),
        ("web?near=_agent&tag=v1", &[("10.0.0.1:8080", 7)]),
    ] {
        let found = next(&mut watch(&server, service)).await.unwrap();
        let weight = |one: &Endpoint| (one.url.authority().to_owned(), one.weight);
        let mut found: Vec<_> = found.iter().map(weight).collect();
        found.sort();
        let wanted: Vec<_> = wanted
            .iter()
            .map(|&(at, weight)| (at.to_owned(), weight))
            .collect();
        assert_eq!(found, wanted, "{service}");
    }
    let error = next(&mut watch(&server, "nowhere/web")).await.unwrap_err();
    assert!(error.is::<UnknownService>(), "{error}");
    let error = next(&mut watch(&server, "web?filter=nonsense"))
        .await
        .unwrap_err();
    assert!(!error.is::<UnknownService>(), "{error}");
    let consul = consul(&server);
    assert_eq!(consul.datacentres().await.unwrap(), ["dc1"]);
    assert!(consul.services(None).await.unwrap().contains_key("web"));
}

#[tokio::test]
async fn a_token_opens_what_is_closed() {
    let acl = r#"-hcl=acl { enabled = true default_policy = "deny" tokens { master = "root" agent = "root" } }"#;
    let server = ConsulServer::with("dc1", &[acl]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "nobody\n").unwrap();
    let consul = Consul::builder()
        .address(format!("http://{}", server.address()))
        .token_file(&file)
        .build()
        .unwrap();
    assert!(consul.services(None).await.is_err(), "ACL not found");
    std::fs::write(&file, "root\n").unwrap();
    // The agent leads before it knows its own tokens.
    let opened = async {
        loop {
            match consul.services(None).await {
                Ok(services) => return services,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let services = timeout(LIMIT, opened).await.expect("the token is known");
    assert!(services.contains_key("consul"));
    assert!(!format!("{consul:?}").contains("root"));
}

#[tokio::test]
async fn over_tls_each_side_proves_who_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, strange) = (Authority::new(), Authority::new());
    let server = ours.issue(&["server.dc1.consul"]);
    let (server, address) = ConsulServer::secure("dc1", directory.path(), &ours, &server);
    server.register("payment", "10.0.0.1:8080", "passing");
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let identity = |authority: &Authority, name: &str| {
        let pair = authority.issue(&[name]);
        let key = file(&format!("{name}.key"), &pair.key_pem);
        (file(&format!("{name}.pem"), &pair.chain_pem), key)
    };
    let ca = directory.path().join("ca.pem");
    let (certificate, key) = identity(&ours, "edge");
    let plain = || Consul::builder().address(format!("https://{address}"));
    let proven = |builder: Builder| builder.identity(&certificate, &key);
    let named = |builder: Builder| builder.server_name("server.dc1.consul");

    let right = named(proven(plain().ca(&ca))).build().unwrap();
    let services = right.services(None).await.unwrap();
    assert!(services.contains_key("payment"), "{services:?}");
    let mut updates = right.watch(&ServiceName::new("payment").unwrap());
    until(&mut updates, &["10.0.0.1:8080"]).await;
    server.register("payment", "10.0.0.2:8080", "passing");
    until(&mut updates, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;

    let other = file("other.pem", strange.pem());
    let (stranger, its_key) = identity(&strange, "stranger");
    for (wrong, why) in [
        (proven(plain().ca(&ca)), "its address is no name of it"),
        (named(proven(plain().ca(&other))), "another authority"),
        (named(proven(plain())), "the system's authorities"),
        (named(plain().ca(&ca)), "Consul wants a certificate"),
        (
            named(plain().ca(&ca)).identity(&stranger, &its_key),
            "Consul wants one of its own authority",
        ),
    ] {
        let refused = wrong.build().unwrap().services(None).await;
        assert!(refused.is_err(), "{why}");
    }
    let error = plain().server_name("a b").build().unwrap_err();
    assert!(matches!(error, ConsulError::ServerName(_)), "{error}");
    let error = plain().ca("none.pem").build().unwrap_err();
    assert!(error.to_string().contains("none.pem"), "{error}");
}

#[tokio::test]
async fn where_an_instance_is_and_when_it_is_asked_stand_in_its_meta() {
    let server = ConsulServer::start("dc1");
    let near = json!({ "Meta": { "zone": "a", "priority": "1" } });
    server.register_with("web", "10.0.0.1:8080", "passing", near);
    let record = json!({
        "Node": "far", "Address": "10.0.0.2", "NodeMeta": { "zone": "b" },
        "Service": { "ID": "web-2", "Service": "web", "Port": 8080, "Weights": { "Passing": 4, "Warning": 1 } },
    });
    server.put("/v1/catalog/register", &record);
    let endpoints = until(
        &mut watch(&server, "web"),
        &["10.0.0.1:8080", "10.0.0.2:8080"],
    )
    .await;
    let place = |one: &Endpoint| (one.zone.clone(), one.priority, one.weight);
    let mut places: Vec<_> = endpoints.iter().map(place).collect();
    places.sort();
    assert_eq!(places, [(Some("a".into()), 1, 1), (Some("b".into()), 0, 4)]);
}

#[tokio::test]
async fn the_nearest_come_first_and_namespaces_are_not_for_everybody() {
    let server = ConsulServer::start("dc1");
    for (number, distance) in [(1, 0.3), (2, 0.1), (3, 0.2)] {
        let address = format!("10.0.0.{number}:8080");
        server.register("web", &address, "passing");
        let coordinate = json!({
            "Node": format!("web-10.0.0.{number}-8080"),
            "Coord": { "Vec": [distance, 0, 0, 0, 0, 0, 0, 0], "Error": 0.1, "Adjustment": 0, "Height": 0 },
        });
        server.put("/v1/coordinate/update", &coordinate);
    }
    let near = "web?near=web-10.0.0.2-8080";
    // Consul takes coordinates together, every few seconds.
    let sorted = async {
        loop {
            let found = next(&mut watch(&server, near)).await.unwrap();
            let found: Vec<_> = found.iter().map(|one| one.url.host().to_owned()).collect();
            if found == ["10.0.0.2", "10.0.0.3", "10.0.0.1"] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LIMIT, sorted).await.expect("the nearest first");
    // What only Consul Enterprise has is refused by others, in words that are passed on.
    let error = next(&mut watch(&server, "web?ns=team")).await.unwrap_err();
    assert!(!error.is::<UnknownService>(), "{error}");
    assert!(error.to_string().contains("ns"), "{error}");
}

#[test]
fn names_that_make_no_sense_are_refused_before_anybody_is_asked() {
    let consul = Consul::builder().build().unwrap();
    let checked = |name: &str| consul.check(&ServiceName::new(name).unwrap());
    assert!(checked("consul://dc1/payment?tag=v2").is_ok());
    let error = checked("consul://dc1/payment?color=red").unwrap_err();
    assert!(error.to_string().contains("the keys are tag"), "{error}");
}
