use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::testing::discovery_suite::DiscoveryFixture;

impl DiscoveryFixture for Registry {
    fn discovery(&self) -> Arc<dyn Discovery> {
        Arc::new(self.clone())
    }

    async fn put(&self, service: &str, endpoints: &Endpoints) {
        let numbered = endpoints.iter().cloned().enumerate();
        let endpoints = numbered.map(|(number, endpoint)| (number.to_string(), endpoint));
        self.replace(service, endpoints.collect(), &Condition::Any)
            .unwrap();
    }

    async fn put_garbage(&self, _: &str) -> bool {
        false
    }
}

crate::testing::discovery_suite!(Registry::new());

fn endpoint(number: u16) -> Endpoint {
    Endpoint::new(format!("http://10.0.0.{number}:80").parse().unwrap())
}

#[test]
fn changes_are_on_the_disk_and_versions_never_return() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.json");
    let any = &Condition::Any;
    let registry = Registry::open(&path).unwrap();
    let first = registry.put("a", "1", endpoint(1), any).unwrap();
    let second = registry.put("a", "1", endpoint(2), any).unwrap();
    registry.put("b", "x", endpoint(3), any).unwrap();
    assert!(second > first);
    let forgotten = registry.forget("a", any).unwrap();

    let before = registry.entries("b");
    drop(registry);
    let reopened = Registry::open(&path).unwrap();
    assert_eq!(reopened.entries("a"), None);
    assert_eq!(reopened.entries("b"), before);
    assert!(reopened.put("a", "1", endpoint(1), any).unwrap() > forgotten);
    drop(reopened);

    std::fs::write(&path, "{\"revision\": 3").unwrap();
    let error = Registry::open(&path).unwrap_err().to_string();
    assert!(error.contains("registry.json: EOF"), "{error}");
}

#[test]
fn what_the_disk_refuses_has_not_happened() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    assert!(Registry::open(gone.join("registry.json")).is_err());
    std::fs::create_dir(&gone).unwrap();
    let registry = Registry::open(gone.join("registry.json")).unwrap();
    std::fs::remove_dir_all(&gone).unwrap();
    let mut updates = registry.watch(&ServiceName::new("a").unwrap());
    assert!(updates.next().now_or_never().unwrap().unwrap().is_err());
    let refused = registry.put("a", "1", endpoint(1), &Condition::Any);
    assert!(matches!(refused, Err(RegistryError::File { .. })));
    assert_eq!(registry.entries("a"), None);
    assert!(updates.next().now_or_never().is_none(), "nobody is told");
}

#[test]
fn a_file_has_one_owner_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.json");
    let registry = Registry::open(&path).unwrap();
    let error = Registry::open(&path).unwrap_err();
    assert!(matches!(error, RegistryError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("registry.json.lock"), "{error}");
    // A watch keeps the table, and with it the lock.
    let updates = registry.watch(&ServiceName::new("a").unwrap());
    drop(registry);
    assert!(Registry::open(&path).is_err());
    drop(updates);
    assert!(Registry::open(&path).is_ok());
}

#[test]
fn conditions_are_about_the_version() {
    let registry = Registry::new();
    let put = |condition| registry.put("a", "1", endpoint(1), &condition);
    assert!(put(Condition::Known).is_err());
    let version = put(Condition::Unknown).unwrap();
    assert!(put(Condition::Unknown).is_err());
    let next = put(Condition::Version(vec![7, version])).unwrap();
    let error = put(Condition::Version(vec![version])).unwrap_err();
    let told = format!("its version is \"{next}\"");
    assert!(error.to_string().ends_with(&told), "{error}");
    assert!(put(Condition::Known).is_ok());
}

#[test]
fn a_seed_is_for_services_that_are_unknown() {
    let registry = Registry::new();
    registry.seed("a", [endpoint(1), endpoint(2)]).unwrap();
    let keys = |entries: Entries| entries.endpoints.into_keys().collect::<Vec<_>>();
    assert_eq!(keys(registry.entries("a").unwrap()), ["1", "2"]);
    registry.remove("a", "1", &Condition::Any).unwrap();
    registry.seed("a", [endpoint(9)]).unwrap();
    assert_eq!(keys(registry.entries("a").unwrap()), ["2"]);
}

#[test]
fn only_changes_of_its_own_service_wake_a_watch() {
    let registry = Registry::new();
    registry.seed("a", [endpoint(1)]).unwrap();
    let mut updates = registry.watch(&ServiceName::new("registry://a").unwrap());
    let one = updates.next().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(one, [endpoint(1)].into_iter().collect());
    registry.seed("b", [endpoint(2)]).unwrap();
    assert!(updates.next().now_or_never().is_none());
}
