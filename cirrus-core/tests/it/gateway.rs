//! Services that paths name, found by a discovery that the test speaks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cirrus_core::Updates;
use cirrus_core::discovery::{Discovery, Endpoint, Endpoints, ServiceName, UnknownService};
use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, proxy, reply};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

/// Knows one endpoint, for every service whose name begins with `known`, and counts who watches what.
#[derive(Clone)]
struct Book {
    endpoint: Endpoints,
    silent: Arc<AtomicBool>,
    watches: Arc<Mutex<BTreeMap<String, usize>>>,
    /// How many watches have ended.
    ended: Arc<watch::Sender<usize>>,
}

/// Says that a watch has ended.
struct Ending(Arc<watch::Sender<usize>>);

// === impl Book ===

impl Book {
    fn of(origin: &RunningOrigin) -> Self {
        let endpoint = Endpoint::new(origin.url().parse().unwrap());
        Self {
            endpoint: [endpoint].into_iter().collect(),
            silent: Arc::default(),
            watches: Arc::default(),
            ended: Arc::new(watch::Sender::new(0)),
        }
    }

    fn watched(&self) -> BTreeMap<String, usize> {
        self.watches.lock().clone()
    }

    async fn has_ended(&self, watches: usize) {
        let mut ended = self.ended.subscribe();
        let waited = timeout(LIMIT, ended.wait_for(|number| *number >= watches));
        waited.await.expect("a watch ends in time").unwrap();
    }
}

impl Discovery for Book {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let name = service.as_str().to_owned();
        let is_known = name.starts_with("consul://dc1/known");
        *self.watches.lock().entry(name).or_default() += 1;
        let said = match is_known {
            _ if self.silent.load(Ordering::Relaxed) => None,
            true => Some(Ok(self.endpoint.clone())),
            false => Some(Err(UnknownService::new(service.clone()).into())),
        };
        let ending = Ending(Arc::clone(&self.ended));
        let said = stream::iter(said).chain(stream::pending());
        Box::pin(said.map(move |item| {
            let _ = &ending;
            item
        }))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_modify(|number| *number += 1);
    }
}

fn site(gateway: &str) -> String {
    format!(
        "[[site]]\nhosts = [\"*\"]\n[[site.route]]\npath = \"/svc/*\"\nconsul_gateway = {{ {gateway} }}\n"
    )
}

async fn echo() -> RunningOrigin {
    let origin = Origin::new().get("*", |asked| reply(asked.target));
    origin.run().await
}

async fn started(gateway: &str) -> (RunningOrigin, Book, proxy::Running) {
    let origin = echo().await;
    let book = Book::of(&origin);
    let discovery = book.clone();
    let proxy = proxy::new(&site(gateway));
    let proxy = proxy.with(|builder| builder.discovery(discovery));
    (origin, book, proxy.run().await)
}

#[tokio::test]
async fn many_first_requests_are_one_watch() {
    let (_origin, book, proxy) = started(r#"tags = ["v2"]"#).await;
    let ask = || async {
        let response = Client::to(proxy.address())
            .get("/svc/dc1/known/a//b%2F?c")
            .await;
        (response.status, response.text().to_owned())
    };
    let answers = futures_util::future::join_all((0..20).map(|_| ask())).await;
    for answer in answers {
        assert_eq!(answer, (200, "/a//b%2F?c".to_owned()));
    }
    let watched = BTreeMap::from([("consul://dc1/known?tag=v2".to_owned(), 1)]);
    assert_eq!(book.watched(), watched);
}

#[tokio::test]
async fn an_unknown_service_is_asked_about_once_in_a_while() {
    let (_origin, book, proxy) = started("").await;
    let mut client = Client::to(proxy.address());
    for _ in 0..5 {
        assert_eq!(client.get("/svc/dc1/lost/x").await.status, 404);
    }
    assert_eq!(book.watched().values().sum::<usize>(), 1);
    // It is forgotten after 5 s, and then asked about again.
    book.has_ended(1).await;
    assert_eq!(client.get("/svc/dc1/lost/x").await.status, 404);
    assert_eq!(book.watched().values().sum::<usize>(), 2);
}

#[tokio::test]
async fn one_that_nobody_asks_for_is_dropped_and_found_again() {
    let (_origin, book, proxy) = started(r#"drop_after = "1s""#).await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/svc/dc1/known/x").await.status, 200);
    book.has_ended(1).await;
    assert_eq!(client.get("/svc/dc1/known/x").await.status, 200);
    assert_eq!(book.watched().values().sum::<usize>(), 2);
}

#[tokio::test]
async fn there_are_only_so_many_services() {
    let (_origin, book, proxy) = started("max_services = 2").await;
    let mut client = Client::to(proxy.address());
    // Those that nobody knows make room for those that somebody does.
    for (service, status) in [
        ("lost1", 404),
        ("lost2", 404),
        ("known1", 200),
        ("known2", 200),
        ("known3", 503),
        ("known1", 200),
    ] {
        let response = client.get(&format!("/svc/dc1/{service}/x")).await;
        assert_eq!(response.status, status, "{service}");
    }
    assert_eq!(book.watched().get("consul://dc1/known3"), None);
}

#[tokio::test]
async fn a_new_configuration_keeps_what_is_found() {
    let (_origin, book, proxy) = started("").await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/svc/dc1/known/x").await.status, 200);
    // From now on nothing would be found.
    book.silent.store(true, Ordering::Relaxed);
    let other = "[[site.route]]\npath = \"/new\"\nrespond = {}\n";
    proxy.reconfigure(&format!("{}{other}", site("")));
    let applied = async {
        while client.get("/new").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, applied)
        .await
        .expect("the new route is there");
    assert_eq!(client.get("/svc/dc1/known/x").await.status, 200);
    assert_eq!(book.watched().values().sum::<usize>(), 1);
}

#[tokio::test]
async fn a_discovery_that_says_nothing_is_503_and_a_gateway_without_one_a_fault() {
    let (_origin, book, proxy) = started("").await;
    book.silent.store(true, Ordering::Relaxed);
    let response = Client::to(proxy.address()).get("/svc/dc1/known/x").await;
    assert_eq!(response.status, 503);
    let error = proxy::new(&site("")).start().await.unwrap_err();
    assert!(
        error.to_string().contains("no service discovery"),
        "{error}"
    );
}

#[tokio::test]
async fn allow_and_deny_are_about_services() {
    let (_origin, book, proxy) = started(r#"allow = ["known*"], deny = ["known-admin"]"#).await;
    let mut client = Client::to(proxy.address());
    for (path, status) in [
        ("/svc/dc1/known/x", 200),
        ("/svc/dc1/known-admin/x", 404),
        ("/svc/dc1/other/x", 404),
        ("/svc/dc1", 404),
        ("/svc/", 404),
    ] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
    assert_eq!(book.watched().len(), 1, "nobody asked about the others");
}

async fn told(proxy: &proxy::Running, path: &str) -> serde_json::Value {
    let answer = Client::to(proxy.admin()).host("localhost").get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_str(answer.text()).unwrap()
}

async fn metrics(proxy: &proxy::Running) -> String {
    let mut admin = Client::to(proxy.admin()).host("localhost");
    admin.get("/metrics").await.text().to_owned()
}

const KNOWN: &str = "gateway */svc/ consul://dc1/known";
const KNOWN_PATH: &str = "/api/v1/clusters/gateway%20*%2Fsvc%2F%20consul:%2F%2Fdc1%2Fknown";

#[tokio::test]
async fn what_it_has_found_is_shown_and_what_nobody_knows_is_only_counted() {
    let (origin, _book, proxy) = started("").await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/svc/dc1/known/x").await.status, 200);
    assert_eq!(client.get("/svc/dc1/lost/x").await.status, 404);
    let listed = told(&proxy, "/api/v1/clusters").await;
    let listed = listed["clusters"].as_array().unwrap();
    let names: Vec<_> = listed.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, [KNOWN]);
    assert_eq!(listed[0]["service"], "consul://dc1/known");
    let known = told(&proxy, KNOWN_PATH).await;
    assert_eq!((&known["endpoints"][0]["url"]), &origin.url());
    assert_eq!(known["endpoints"][0]["up"], true);
    let status = told(&proxy, "/api/v1/status").await;
    assert_eq!(status["clusters"][0]["discovery"]["restored"], false);
    let metrics = metrics(&proxy).await;
    for line in [
        format!("cirrus_cluster_endpoints{{cluster=\"{KNOWN}\",state=\"up\"}} 1"),
        format!("cirrus_discovery_failing{{cluster=\"{KNOWN}\"}} 0"),
        "cirrus_gateway_services{state=\"known\"} 1".to_owned(),
        "cirrus_gateway_services{state=\"unknown\"} 1".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains("lost"), "names of clients' making");
}

#[tokio::test]
async fn a_cluster_and_two_gateways_share_one_watch() {
    let origin = echo().await;
    let book = Book::of(&origin);
    let discovery = book.clone();
    let config = "[[cluster]]\nname = \"named\"\nservice = \"consul://dc1/known\"\n\
        [[site]]\nhosts = [\"*\"]\ncluster = \"named\"\n\
        [[site.route]]\npath = \"/a/*\"\nconsul_gateway = {}\n\
        [[site.route]]\npath = \"/b/*\"\nconsul_gateway = { pool = 1 }\n";
    let proxy = proxy::new(config).with(|builder| builder.discovery(discovery));
    let proxy = proxy.run().await;
    let mut client = Client::to(proxy.address());
    for (path, seen) in [
        ("/x", "/x"),
        ("/a/dc1/known/x", "/x"),
        ("/b/dc1/known/x", "/x"),
    ] {
        assert_eq!(client.get(path).await.text(), seen, "{path}");
    }
    assert_eq!(book.watched().values().sum::<usize>(), 1);
    let listed = told(&proxy, "/api/v1/clusters").await;
    assert_eq!(listed["clusters"].as_array().unwrap().len(), 3, "{listed}");
}

#[tokio::test]
async fn its_endpoints_are_watched_as_those_of_any_cluster() {
    let origin = Origin::new().get("*", |_| reply("").with_status(500));
    let origin = origin.run().await;
    let book = Book::of(&origin);
    let health = "health = { all = [\"error_rate < 50%\"], min_requests = 5 }";
    let proxy = proxy::new(&site(health)).with(|builder| builder.discovery(book));
    let proxy = proxy.run().await;
    let mut client = Client::to(proxy.address());
    for _ in 0..10 {
        client.get("/svc/dc1/known/x").await;
    }
    let down = async {
        while told(&proxy, KNOWN_PATH).await["endpoints"][0]["up"] != false {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, down).await.expect("it is down in time");
}

#[tokio::test]
async fn what_it_had_found_is_served_by_the_next_start_while_discovery_is_away() {
    let origin = echo().await;
    let book = Book::of(&origin);
    let directory = tempfile::tempdir().unwrap();
    let state = format!(
        "[discovery]\nstate = \"{}\"\n{}",
        directory.path().display(),
        site("")
    );
    let start = async || {
        let discovery = book.clone();
        let proxy = proxy::new(&state).with(|builder| builder.discovery(discovery));
        proxy.run().await
    };
    let before = start().await;
    let mut client = Client::to(before.address());
    assert_eq!(client.get("/svc/dc1/known/x").await.status, 200);
    assert_eq!(client.get("/svc/dc1/lost/x").await.status, 404);
    before.shutdown().await;
    let kept = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(kept, 1, "nothing of what nobody knows");

    book.silent.store(true, Ordering::Relaxed);
    let after = start().await;
    let mut client = Client::to(after.address());
    assert_eq!(client.get("/svc/dc1/known/x").await.status, 200);
    let known = told(&after, "/api/v1/status").await;
    assert_eq!(known["clusters"][0]["discovery"]["restored"], true);
}
