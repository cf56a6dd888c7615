//! What clients must not notice, whatever becomes of endpoints and of those who know them: as tests, under load, through
//! the whole engine.
//!
//! ```ignore
//! cirrus_core::testing::rolling_suite!(|| Consul::emptied(URL));
//! ```
//!
//! The expression gives a [`Deployment`]; every [`DiscoveryFixture`] is one. [`trouble`] is for what can befall one
//! backend and not another.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::discovery_suite::DiscoveryFixture;
use super::{Client, Load, Origin, RunningOrigin, proxy, reply};
use crate::discovery::{Endpoint, Endpoints};
use crate::server::Builder;

/// The service that everything is about.
pub const SERVICE: &str = "payments";

/// The longest that anything is waited for.
const LIMIT: Duration = Duration::from_secs(60);

const TICK: Duration = Duration::from_millis(10);

/// How often the clients ask: often enough that something is always in flight.
const CLIENTS: u32 = 4;
const PER_SECOND: u32 = 200;

/// How many instances are replaced.
const INSTANCES: usize = 3;

/// What says which endpoints [`SERVICE`] has, as a deployment does.
pub trait Deployment {
    /// Gives the edge what finds the service.
    fn wire(&self, builder: Builder) -> Builder;

    /// What its configuration says beyond that. By default nothing.
    fn config(&self) -> String {
        String::new()
    }

    /// Makes exactly these the endpoints of [`SERVICE`].
    fn put(&self, edge: &proxy::Running, endpoints: &Endpoints) -> impl Future<Output = ()>;
}

/// A server that can be an endpoint; each on an address of its own.
#[derive(Debug)]
pub struct Instance {
    name: String,
    origin: RunningOrigin,
}

/// An edge under load.
#[derive(Debug)]
pub struct Stage<'a, D> {
    deployment: &'a D,
    edge: proxy::Running,
    load: Load,
}

/// Whether operators are told of a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is an error of the watch, in the admin API and the metrics.
    Error,
    /// There is nothing to be told.
    Nothing,
}

/// Expands to a module with one test for each way to replace endpoints.
#[doc(hidden)]
#[macro_export]
macro_rules! __rolling_suite {
    (|| $make:expr) => {
        $crate::__rolling_suite!($make);
    };
    ($make:expr) => {
        mod rolling_suite {
            #[allow(unused_imports, reason = "what the expression names")]
            use super::*;
            $crate::__rolling_suite!(@each { $make } all_endpoints_are_replaced all_endpoints_die_one_by_one);
        }
    };
    (@each $make:block $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::testing::rolling_suite::run(async {
                    $crate::testing::rolling_suite::$case($make).await;
                });
            }
        )*
    };
}

/// Runs one test on threads of its own: deployments that block the test's do not block its clients and origins.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

// === the behaviours ===

/// Each instance is taken out, has its requests end, and stops, when another one is there for it.
#[doc(hidden)]
pub async fn all_endpoints_are_replaced(deployment: impl Deployment) {
    let (old, new) = (instances("old").await, instances("new").await);
    // Not even one request is sent twice.
    let stage = Stage::open(&deployment, "attempts = 1", &all(&old)).await;
    for gone in 0..INSTANCES {
        let mut present = all(&old[gone + 1..]);
        present.extend(&new[..=gone]);
        stage.put(&present).await;
        stage.drained().await;
        old[gone].stop();
    }
    stage.load.rounds(10).await;
    stage.close(&new).await;
}

/// Each instance dies without a word; only later it is taken out, and another one put in.
#[doc(hidden)]
pub async fn all_endpoints_die_one_by_one(deployment: impl Deployment) {
    let (old, new) = (instances("old").await, instances("new").await);
    let retry = "attempts = 3, back_off = \"1ms\", budget_min = 1000";
    let stage = Stage::open(&deployment, retry, &all(&old)).await;
    for dead in 0..INSTANCES {
        old[dead].stop();
        stage.load.rounds(5).await;
        let mut present = all(&old[dead + 1..]);
        present.extend(&new[..=dead]);
        stage.put(&present).await;
    }
    stage.load.rounds(10).await;
    stage.close(&new).await;
}

/// Something befalls those who know the endpoints, and passes. Meanwhile the last good endpoints serve; afterwards what
/// is new is followed, without a restart.
///
/// # Panics
///
/// If a client notices anything, or an operator does not.
pub async fn trouble<D: Deployment>(
    deployment: D,
    told: Told,
    begin: impl AsyncFnOnce(&D),
    end: impl AsyncFnOnce(&D),
) {
    let (old, new) = (instances("old").await, instances("new").await);
    let stage = Stage::open(&deployment, "attempts = 1", &all(&old)).await;
    begin(&deployment).await;
    if told == Told::Error {
        stage.until_failing(true).await;
    }
    stage.load.rounds(20).await;
    assert_eq!(stage.load.failures(), [""; 0]);
    stage.until_in_force(&all(&old)).await;

    end(&deployment).await;
    stage.put(&all(&new)).await;
    stage.until_failing(false).await;
    stage.drained().await;
    old.iter().for_each(Instance::stop);
    stage.load.rounds(5).await;
    stage.close(&new).await;
}

// === impl Stage ===

impl<'a, D: Deployment> Stage<'a, D> {
    /// Has these serve, with clients that ask all the time.
    ///
    /// # Panics
    ///
    /// If they do not serve in time.
    pub async fn open(deployment: &'a D, retry: &str, first: &[&Instance]) -> Self {
        let config = format!(
            "[admin]\naddress = \"127.0.0.1:0\"\nopen = true\n{}\n\
             [[cluster]]\nname = \"{SERVICE}\"\nservice = \"{SERVICE}\"\nretry = {{ {retry} }}\n\
             [[site]]\nhosts = [\"*\"]\ncluster = \"{SERVICE}\"\n",
            deployment.config()
        );
        let edge = proxy::new(&config)
            .with(|builder| deployment.wire(builder))
            .run()
            .await;
        deployment.put(&edge, &endpoints(first)).await;
        until_in_force(&edge, first).await;
        let load = Load::on(edge.address(), CLIENTS, PER_SECOND);
        load.rounds(2).await;
        Self {
            deployment,
            edge,
            load,
        }
    }

    /// Makes these the endpoints, and waits until they are.
    ///
    /// # Panics
    ///
    /// If they are not in time.
    pub async fn put(&self, instances: &[&Instance]) {
        self.deployment.put(&self.edge, &endpoints(instances)).await;
        self.until_in_force(instances).await;
    }

    /// Until exactly these are the endpoints that requests are sent to.
    ///
    /// # Panics
    ///
    /// If they are not in time.
    pub async fn until_in_force(&self, instances: &[&Instance]) {
        until_in_force(&self.edge, instances).await;
    }

    /// Until every request has ended that may have been sent to an endpoint that is not in force any more.
    pub async fn drained(&self) {
        self.load.rounds(2).await;
    }

    /// Until the operator is told that discovery fails, or that it does not.
    ///
    /// # Panics
    ///
    /// If that does not come in time, or the metrics say something else.
    pub async fn until_failing(&self, is_failing: bool) {
        let what = if is_failing { "failing" } else { "well" };
        let told = until(&self.edge, "/api/v1/status", what, |told| {
            let discovery = &told["clusters"][0]["discovery"];
            discovery.is_object() && discovery["error"].is_string() == is_failing
        })
        .await;
        let discovery = &told["clusters"][0]["discovery"];
        assert!(discovery["age"].is_number(), "{discovery}");
        let metrics = self.metrics().await;
        let line = format!(
            "cirrus_discovery_failing{{cluster=\"{SERVICE}\"}} {}",
            u8::from(is_failing)
        );
        assert!(metrics.contains(&line), "{line}");
        assert!(metrics.contains(&format!(
            "cirrus_discovery_age_seconds{{cluster=\"{SERVICE}\"}}"
        )));
    }

    /// The clients.
    #[must_use]
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// What the metrics say.
    pub async fn metrics(&self) -> String {
        let mut admin = Client::to(self.edge.admin()).host("localhost");
        admin.get("/metrics").await.text().to_owned()
    }

    /// Stops the load.
    ///
    /// # Panics
    ///
    /// If a client has noticed anything, or one of `last` was never asked.
    pub async fn close(self, last: &[Instance]) {
        let answers = self.load.answers();
        assert_eq!(self.load.end().await, [""; 0]);
        for instance in last {
            assert!(answers.contains_key(&instance.name), "{answers:?}");
        }
    }
}

// === impl Instance ===

impl Instance {
    /// One that answers with its name, after a moment: so there is always something in flight.
    pub async fn start(name: impl Into<String>, address: SocketAddr) -> Self {
        let name = name.into();
        let said = name.clone();
        let origin = Origin::new().later("*", move |_| {
            let said = said.clone();
            async move {
                sleep(Duration::from_millis(2)).await;
                reply(said)
            }
        });
        let origin = origin.run_at(address).await;
        Self { name, origin }
    }

    /// Ends it at once, whatever it is working on.
    pub fn stop(&self) {
        self.origin.stop();
    }
}

async fn until_in_force(edge: &proxy::Running, instances: &[&Instance]) {
    let wanted: BTreeSet<String> = instances.iter().map(|one| one.origin.url()).collect();
    let path = format!("/api/v1/clusters/{SERVICE}");
    until(edge, &path, &format!("{wanted:?}"), |told| {
        let endpoints = told["endpoints"].as_array().into_iter().flatten();
        let urls = endpoints.filter_map(|one| Some(one["url"].as_str()?.to_owned()));
        urls.collect::<BTreeSet<_>>() == wanted
    })
    .await;
}

/// Asks the admin API until the answer is as it should be.
async fn until(
    edge: &proxy::Running,
    path: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Value {
    let mut admin = Client::to(edge.admin()).host("localhost");
    let mut last = Value::Null;
    let waiting = async {
        loop {
            last = serde_json::from_str(admin.get(path).await.text()).expect("JSON");
            if is(&last) {
                return;
            }
            sleep(TICK).await;
        }
    };
    let in_time = timeout(LIMIT, waiting).await.is_ok();
    assert!(in_time, "not {what}: {last:#}");
    last
}

/// Some, each on an address of its own: name servers tell no ports.
async fn instances(name: &str) -> Vec<Instance> {
    let net = if name == "old" { 10 } else { 20 };
    let mut all = Vec::new();
    for number in 0..INSTANCES as u8 {
        let address = Ipv4Addr::new(127, 0, 0, net + number);
        all.push(Instance::start(format!("{name} {number}"), (address, 0).into()).await);
    }
    all
}

fn all(instances: &[Instance]) -> Vec<&Instance> {
    instances.iter().collect()
}

fn endpoints(instances: &[&Instance]) -> Endpoints {
    let endpoint = |one: &&Instance| Endpoint::new(one.origin.url().parse().expect("a URL"));
    instances.iter().map(endpoint).collect()
}

impl<F: DiscoveryFixture> Deployment for F {
    fn wire(&self, builder: Builder) -> Builder {
        builder.discovery(self.discovery())
    }

    async fn put(&self, _: &proxy::Running, endpoints: &Endpoints) {
        DiscoveryFixture::put(self, SERVICE, endpoints).await;
    }
}
