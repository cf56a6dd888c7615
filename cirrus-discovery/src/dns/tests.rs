use std::fmt::Write as _;
use std::sync::Arc;

use cirrus_core::discovery::Endpoint;
use cirrus_core::testing::discovery_suite::{DiscoveryFixture, LIMIT};
use cirrus_core::testing::nsd::NameServer;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::*;

/// SRV records at a real name server.
struct Zone {
    server: Mutex<NameServer>,
    /// The records of each service.
    services: Mutex<Vec<(String, String)>>,
}

/// Takes plain names for those in the zone.
struct Named(Dns);

impl Discovery for Named {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let name = format!("dns+srv://_http._tcp.{service}.test");
        self.0.watch(&ServiceName::new(name).unwrap())
    }
}

impl Zone {
    fn new() -> Self {
        Self {
            server: Mutex::new(NameServer::start()),
            services: Mutex::default(),
        }
    }

    fn set(&self, service: &str, records: String) {
        let mut services = self.services.lock();
        services.retain(|(known, _)| known != service);
        services.push((service.to_owned(), records));
        let all: String = services.iter().map(|(_, records)| &**records).collect();
        self.server.lock().write(&all);
    }

    fn dns(&self) -> Dns {
        let short = Duration::from_millis(100);
        Dns::asking([self.server.lock().address()])
            .with_ttl(short, Duration::from_secs(1))
            .with_retry(short)
            .with_timeout(Duration::from_millis(300))
    }
}

impl DiscoveryFixture for Zone {
    fn discovery(&self) -> Arc<dyn Discovery> {
        Arc::new(Named(self.dns()))
    }

    async fn put(&self, service: &str, endpoints: &Endpoints) {
        // The name is there, whatever it has.
        let mut records = format!("_http._tcp.{service} IN TXT \"here\"\n");
        for endpoint in endpoints {
            let (host, port) = endpoint.url.authority().rsplit_once(':').unwrap();
            let (name, weight) = (host.replace('.', "-"), endpoint.weight);
            let _ = writeln!(
                records,
                "_http._tcp.{service} IN SRV 1 {weight} {port} {name}.{service}\n\
                 {name}.{service} IN A {host}"
            );
        }
        self.set(service, records);
    }

    async fn put_garbage(&self, service: &str) -> bool {
        self.set(
            service,
            format!("_http._tcp.{service} IN SRV 1 1 80 nowhere.{service}\n"),
        );
        true
    }
}

cirrus_core::testing::discovery_suite!(Zone::new());

async fn next(updates: &mut Updates<Endpoints>) -> Result<Vec<Endpoint>, String> {
    let item = timeout(LIMIT, updates.next()).await.unwrap().unwrap();
    item.map(|found| found.iter().cloned().collect())
        .map_err(|error| error.to_string())
}

async fn until(updates: &mut Updates<Endpoints>, wanted: &[(&str, u16)]) {
    let wanted = wanted
        .iter()
        .map(|(url, weight)| Endpoint::new(url.parse().unwrap()).with_weight(*weight));
    let wanted: Vec<_> = wanted.collect();
    let mut last = None;
    let arrived = async {
        while last.as_ref() != Some(&wanted) {
            if let Ok(found) = next(updates).await {
                last = Some(found);
            }
        }
    };
    let arrived = timeout(LIMIT, arrived).await;
    assert!(arrived.is_ok(), "{last:?} instead of {wanted:?}");
}

async fn until_failing(updates: &mut Updates<Endpoints>) -> String {
    let failing = async {
        loop {
            if let Err(error) = next(updates).await {
                return error;
            }
        }
    };
    timeout(LIMIT, failing).await.unwrap()
}

fn name(service: &str) -> ServiceName {
    ServiceName::new(service).unwrap()
}

#[tokio::test]
async fn addresses_of_both_families_with_the_port() {
    let zone = Zone::new();
    zone.set(
        "api",
        "api IN A 10.0.0.2\napi IN A 10.0.0.1\napi IN AAAA fd00::1\n".into(),
    );
    let mut updates = zone.dns().watch(&name("dns://api.test:8080"));
    let all = [
        ("http://10.0.0.1:8080", 1),
        ("http://10.0.0.2:8080", 1),
        ("http://[fd00::1]:8080", 1),
    ];
    until(&mut updates, &all).await;
    zone.set("api", "api IN A 10.0.0.3\n".into());
    until(&mut updates, &[("http://10.0.0.3:8080", 1)]).await;
    zone.set("api", "api IN TXT \"nobody\"\n".into());
    until(&mut updates, &[]).await;
    zone.set("api", String::new());
    let error = until_failing(&mut updates).await;
    assert_eq!(error, "the name `api.test` does not exist");
}

#[tokio::test]
async fn a_server_that_is_gone_or_stands_still_is_an_error_until_it_is_back() {
    let zone = Zone::new();
    zone.set("api", "api IN A 10.0.0.1\n".into());
    let mut updates = zone.dns().watch(&name("dns://api.test:80"));
    let one = [("http://10.0.0.1:80", 1)];
    until(&mut updates, &one).await;
    zone.server.lock().kill();
    let error = until_failing(&mut updates).await;
    assert!(
        error.starts_with("`api.test` cannot be resolved: "),
        "{error}"
    );
    zone.server.lock().restart();
    until(&mut updates, &one).await;
    zone.server.lock().pause();
    until_failing(&mut updates).await;
    zone.server.lock().resume();
    until(&mut updates, &one).await;
    // Back without anything: the name does not exist, and so the endpoints stay.
    zone.set("api", String::new());
    zone.server.lock().restart();
    until_failing(&mut updates).await;
    zone.set("api", "api IN A 10.0.0.2\n".into());
    until(&mut updates, &[("http://10.0.0.2:80", 1)]).await;
}

#[tokio::test]
async fn the_first_priority_that_can_be_resolved_is_taken() {
    let zone = Zone::new();
    let first = "_http._tcp.api IN SRV 1 5 81 one\n_http._tcp.api IN SRV 1 0 82 two\n";
    let second = "_http._tcp.api IN SRV 2 1 83 three\nthree IN A 10.0.0.3\n";
    let found = format!("{first}{second}one IN A 10.0.0.1\ntwo IN A 10.0.0.2\n");
    zone.set("api", found);
    let mut updates = zone.dns().watch(&name("dns+srv://_http._tcp.api.test"));
    // 0 is hardly anything, and not nothing at all.
    let both = [("http://10.0.0.1:81", 500), ("http://10.0.0.2:82", 1)];
    until(&mut updates, &both).await;
    zone.set("api", format!("{first}{second}one IN A 10.0.0.1\n"));
    until(&mut updates, &[("http://10.0.0.1:81", 500)]).await;
    zone.set("api", format!("{first}{second}"));
    until(&mut updates, &[("http://10.0.0.3:83", 1)]).await;
    // RFC 2782: the service is decidedly not available.
    zone.set("api", "_http._tcp.api IN SRV 0 0 0 .\n".into());
    until(&mut updates, &[]).await;
}

#[tokio::test]
async fn answers_that_need_tcp_are_whole() {
    let zone = Zone::new();
    let many =
        (0..200u16).map(|number| format!("api IN A 10.0.{}.{}\n", number / 100, number % 100));
    zone.set("api", many.collect());
    let mut updates = zone.dns().watch(&name("dns://api.test"));
    let mut found = next(&mut updates).await;
    while found.as_ref().map_or(0, Vec::len) != 200 {
        found = next(&mut updates).await;
    }
}
