//! DNS, by SRV records: name servers tell the ports of instances.

use std::fmt::Write as _;
use std::time::Duration;

use cirrus_core::Updates;
use cirrus_core::discovery::{Discovery, Endpoints, ServiceName};
use cirrus_core::server::Builder;
use cirrus_core::testing::nsd::NameServer;
use cirrus_core::testing::rolling_suite::{Deployment, Told, run, trouble};
use cirrus_core::testing::{Forwarder, proxy, rolling_suite};
use cirrus_discovery::Dns;
use parking_lot::Mutex;

/// A name server, and the network between it and the edge.
struct Zone {
    server: Mutex<NameServer>,
    network: Forwarder,
    records: Mutex<String>,
}

/// Takes plain names for those in the zone.
struct Named(Dns);

impl Discovery for Named {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let name = format!("dns+srv://_http._tcp.{service}.test");
        self.0.watch(&ServiceName::new(name).unwrap())
    }
}

// === impl Zone ===

impl Zone {
    async fn start() -> Self {
        let server = NameServer::start();
        Self {
            network: Forwarder::to(server.address()).await,
            server: Mutex::new(server),
            records: Mutex::default(),
        }
    }

    fn write(&self, records: &str) {
        self.server.lock().write(records);
    }
}

impl Deployment for Zone {
    fn wire(&self, builder: Builder) -> Builder {
        let short = Duration::from_millis(100);
        let dns = Dns::asking([self.network.address()])
            .with_ttl(short, Duration::from_secs(1))
            .with_retry(short)
            .with_timeout(Duration::from_millis(500));
        builder.discovery(Named(dns))
    }

    async fn put(&self, _: &proxy::Running, endpoints: &Endpoints) {
        let mut records = String::new();
        for endpoint in endpoints {
            let (host, port) = endpoint.url.authority().rsplit_once(':').unwrap();
            let name = host.replace('.', "-");
            let _ = writeln!(
                records,
                "_http._tcp.payments IN SRV 1 1 {port} {name}\n{name} IN A {host}"
            );
        }
        records.clone_into(&mut self.records.lock());
        self.write(&records);
    }
}

#[test]
fn all_endpoints_are_replaced() {
    run(async { rolling_suite::all_endpoints_are_replaced(Zone::start().await).await });
}

#[test]
fn all_endpoints_die_one_by_one() {
    run(async { rolling_suite::all_endpoints_die_one_by_one(Zone::start().await).await });
}

fn survives(told: Told, begin: impl AsyncFnOnce(&Zone), end: impl AsyncFnOnce(&Zone)) {
    run(async { trouble(Zone::start().await, told, begin, end).await });
}

#[test]
fn killed_and_back() {
    survives(
        Told::Error,
        async |zone| zone.server.lock().kill(),
        async |zone| zone.server.lock().restart(),
    );
}

#[test]
fn back_with_nothing_in_it() {
    survives(
        Told::Error,
        async |zone| {
            let mut server = zone.server.lock();
            server.write("");
            server.restart();
        },
        async |_| {},
    );
}

#[test]
fn standing_still() {
    survives(
        Told::Error,
        async |zone| zone.server.lock().pause(),
        async |zone| zone.server.lock().resume(),
    );
}

#[test]
fn cut_off() {
    survives(
        Told::Error,
        async |zone| zone.network.cut(),
        async |zone| zone.network.heal(),
    );
}

#[test]
fn slow() {
    survives(
        Told::Nothing,
        async |zone| zone.network.slow(Duration::from_millis(150)),
        async |zone| zone.network.heal(),
    );
}

#[test]
fn slower_than_is_waited_for() {
    survives(
        Told::Error,
        async |zone| zone.network.slow(Duration::from_secs(4)),
        async |zone| zone.network.heal(),
    );
}

#[test]
fn a_record_that_makes_no_sense() {
    survives(
        Told::Nothing,
        async |zone| {
            let records = zone.records.lock().clone();
            let more = "_http._tcp.payments IN SRV 1 1 80 nowhere\n\
                        _http._tcp.payments IN SRV 1 1 0 ns\n";
            zone.write(&format!("{records}{more}"));
        },
        async |_| {},
    );
}
