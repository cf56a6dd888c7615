//! Consul.

use std::time::Duration;

use cirrus_core::discovery::Endpoints;
use cirrus_core::server::Builder;
use cirrus_core::testing::process::ConsulServer;
use cirrus_core::testing::rolling_suite::{Deployment, SERVICE, Told, run, trouble};
use cirrus_core::testing::{Forwarder, proxy, rolling_suite};
use cirrus_discovery::consul::Consul;
use parking_lot::Mutex;

/// An agent, and the network between it and the edge.
pub(crate) struct Agent {
    server: Mutex<ConsulServer>,
    network: Forwarder,
    registered: Mutex<Vec<String>>,
}

// === impl Agent ===

impl Agent {
    async fn start() -> Self {
        let server = ConsulServer::start("dc1");
        let network = Forwarder::to(server.address()).await;
        Self::behind(network, server)
    }

    pub(crate) fn behind(network: Forwarder, server: ConsulServer) -> Self {
        // So that an index that begins anew is a lower one.
        for number in 0..20 {
            server.register("other", &format!("10.0.1.{number}:80"), "passing");
        }
        Self {
            server: Mutex::new(server),
            network,
            registered: Mutex::default(),
        }
    }

    pub(crate) fn cut(&self) {
        self.network.cut();
    }

    pub(crate) fn heal(&self) {
        self.network.heal();
    }
}

impl Deployment for Agent {
    fn wire(&self, builder: Builder) -> Builder {
        let consul = Consul::builder()
            .address(self.network.address().to_string())
            .wait(Duration::from_secs(1))
            .timeout(Duration::from_secs(1));
        builder.discovery(consul.build().unwrap())
    }

    async fn put(&self, _: &proxy::Running, endpoints: &Endpoints) {
        let server = self.server.lock();
        let next: Vec<String> = endpoints
            .iter()
            .map(|one| one.url.authority().to_owned())
            .collect();
        for address in &next {
            server.register(SERVICE, address, "passing");
        }
        let mut registered = self.registered.lock();
        for gone in registered.iter().filter(|known| !next.contains(known)) {
            server.deregister(SERVICE, gone);
        }
        *registered = next;
    }
}

#[test]
fn all_endpoints_are_replaced() {
    run(async { rolling_suite::all_endpoints_are_replaced(Agent::start().await).await });
}

#[test]
fn all_endpoints_die_one_by_one() {
    run(async { rolling_suite::all_endpoints_die_one_by_one(Agent::start().await).await });
}

fn survives(told: Told, begin: impl AsyncFnOnce(&Agent), end: impl AsyncFnOnce(&Agent)) {
    run(async { trouble(Agent::start().await, told, begin, end).await });
}

#[test]
fn killed_and_back_with_nothing_in_it() {
    survives(
        Told::Error,
        async |agent| agent.server.lock().kill(),
        async |agent| {
            agent.server.lock().restart();
            agent.registered.lock().clear();
        },
    );
}

#[test]
fn back_empty_at_once_and_with_a_lower_index() {
    survives(
        Told::Error,
        async |agent| {
            agent.server.lock().restart();
            agent.registered.lock().clear();
        },
        async |_| {},
    );
}

#[test]
fn standing_still() {
    survives(
        Told::Error,
        async |agent| agent.server.lock().pause(),
        async |agent| agent.server.lock().resume(),
    );
}

#[test]
fn cut_off() {
    survives(
        Told::Error,
        async |agent| agent.cut(),
        async |agent| agent.heal(),
    );
}

#[test]
fn refusing() {
    survives(
        Told::Error,
        async |agent| agent.network.refuse(),
        async |agent| agent.network.heal(),
    );
}

#[test]
fn slow() {
    survives(
        Told::Nothing,
        async |agent| agent.network.slow(Duration::from_millis(400)),
        async |agent| agent.network.heal(),
    );
}

#[test]
fn slower_than_is_waited_for() {
    survives(
        Told::Error,
        async |agent| agent.network.slow(Duration::from_secs(5)),
        async |agent| agent.network.heal(),
    );
}

#[test]
fn a_record_that_makes_no_sense() {
    survives(
        Told::Nothing,
        async |agent| {
            let server = agent.server.lock();
            server.register(SERVICE, "no host:8080", "passing");
            server.register(SERVICE, "10.0.0.9:0", "passing");
        },
        async |_| {},
    );
}
