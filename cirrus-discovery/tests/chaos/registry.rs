//! The registry, changed as a deployment does: through the admin API.

use std::collections::BTreeMap;

use cirrus_core::discovery::{Condition, Endpoint, Endpoints, Registry};
use cirrus_core::server::Builder;
use cirrus_core::testing::rolling_suite::{Deployment, SERVICE, Told, run, trouble};
use cirrus_core::testing::{Client, proxy};
use parking_lot::Mutex;
use serde_json::json;

#[derive(Default)]
struct Api {
    registry: Registry,
    /// What is there, by id.
    put: Mutex<BTreeMap<String, Endpoint>>,
}

impl Deployment for Api {
    fn wire(&self, builder: Builder) -> Builder {
        let registry = self.registry.clone();
        builder.discovery(registry.clone()).registry(registry)
    }

    /// One by one, as instances announce themselves and leave.
    async fn put(&self, edge: &proxy::Running, endpoints: &Endpoints) {
        let mut admin = Client::to(edge.admin()).host("localhost");
        let id = |one: &Endpoint| one.url.authority().replace(':', "-");
        let next: BTreeMap<_, _> = endpoints.iter().map(|one| (id(one), one.clone())).collect();
        let before = std::mem::replace(&mut *self.put.lock(), next.clone());
        let at = |id: &str| format!("/api/v1/registry/{SERVICE}/endpoints/{id}");
        for (id, endpoint) in &next {
            let body = json!({ "url": endpoint.url }).to_string();
            let status = admin.ask("PUT", &at(id), "", body.as_bytes()).await.status;
            assert!(status == 200 || status == 201, "{status}");
        }
        for gone in before.keys().filter(|id| !next.contains_key(*id)) {
            let status = admin.ask("DELETE", &at(gone), "", b"").await.status;
            assert!(status == 200 || status == 404, "{status}");
        }
    }
}

cirrus_core::testing::rolling_suite!(|| Api::default());

#[test]
fn a_service_that_is_made_unknown() {
    run(trouble(
        Api::default(),
        Told::Error,
        async |api| {
            api.registry.forget(SERVICE, &Condition::Any).unwrap();
        },
        async |_| {},
    ));
}
