//! etcd as it is: a real server, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "what a test does not get, fails it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::discovery::{Discovery, Endpoints, ServiceName, UnknownService};
use cirrus_core::testing::certs::Authority;
use cirrus_core::testing::discovery_suite::DiscoveryFixture;
use cirrus_core::testing::ports;
use cirrus_core::testing::process::EtcdServer;
use cirrus_core::testing::rolling_suite::{Told, trouble};
use cirrus_core::{BoxError, Updates};
use cirrus_discovery::etcd::{Builder, Etcd};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest that anything here is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// Plain names of the suite are services in etcd.
struct Named(Etcd);

// === impl Named ===

impl Discovery for Named {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let name = ServiceName::new(format!("etcd:///services/{service}")).unwrap();
        self.0.watch(&name)
    }
}

struct Fixture {
    server: EtcdServer,
    put: Mutex<Vec<(String, String)>>,
}

// === impl Fixture ===

impl Fixture {
    fn start() -> Self {
        Self {
            server: EtcdServer::start(),
            put: Mutex::default(),
        }
    }
}

impl DiscoveryFixture for Fixture {
    fn discovery(&self) -> Arc<dyn Discovery> {
        let server = [self.server.address().to_string()];
        Arc::new(Named(Etcd::builder().addresses(server).build().unwrap()))
    }

    async fn put(&self, service: &str, endpoints: &Endpoints) {
        let known = std::mem::take(&mut *self.put.lock());
        let (mine, others) = known.into_iter().partition(|(of, _)| of == service);
        *self.put.lock() = others;
        // Keeps the service known when nobody is there.
        self.server.put(&format!("/services/{service}/"), "null");
        let key = |authority: &str| format!("/services/{service}/{authority}");
        for endpoint in endpoints {
            let authority = endpoint.url.authority();
            let record = serde_json::to_string(endpoint).unwrap();
            self.server.put(&key(authority), record);
            self.put.lock().push((service.into(), authority.into()));
        }
        let mine: Vec<(String, String)> = mine;
        for (_, authority) in mine {
            if !endpoints.iter().any(|one| one.url.authority() == authority) {
                self.server.delete(&key(&authority));
            }
        }
    }

    async fn put_garbage(&self, service: &str) -> bool {
        let key = format!("/services/{service}/garbage");
        self.server.put(&key, b"{\"url\": \xff");
        true
    }
}

cirrus_core::testing::discovery_suite!(|| Fixture::start());
cirrus_core::testing::rolling_suite!(|| Fixture::start());

#[tokio::test]
async fn clients_do_not_notice_that_it_stands_still() {
    trouble(
        Fixture::start(),
        Told::Nothing,
        async |fixture| fixture.server.pause(),
        async |fixture| fixture.server.resume(),
    )
    .await;
}

// === what becomes of it ===

fn asking(address: impl ToString) -> Builder {
    Etcd::builder().addresses([address.to_string()])
}

/// Reads everything so rarely that only what is told of changes can be seen.
fn rarely(server: &EtcdServer) -> Builder {
    asking(server.address()).read_every(Duration::from_secs(600))
}

fn watch_by(etcd: Builder) -> Updates<Endpoints> {
    let etcd = etcd.timeout(Duration::from_secs(1)).build().unwrap();
    etcd.watch(&pay())
}

fn pay() -> ServiceName {
    ServiceName::new("etcd:///services/pay").unwrap()
}

fn put(server: &EtcdServer, number: u8) {
    let url = format!("\"{}\"", url(number));
    server.put(&format!("/services/pay/{number}"), url);
}

fn url(number: u8) -> String {
    format!("http://10.0.0.{number}:8080")
}

async fn next(updates: &mut Updates<Endpoints>) -> Result<Endpoints, BoxError> {
    let item = timeout(LIMIT, updates.next()).await;
    item.expect("in time").expect("no end")
}

/// Errors on the way are expected.
async fn until(updates: &mut Updates<Endpoints>, wanted: &[u8]) {
    let wanted: Vec<String> = wanted.iter().map(|number| url(*number)).collect();
    let seen = async { while !next(updates).await.is_ok_and(|seen| urls(&seen) == wanted) {} };
    let seen = timeout(LIMIT, seen).await;
    seen.unwrap_or_else(|_| panic!("{wanted:?} in time"));
}

/// Nothing but these until an error, which is given.
async fn until_error(updates: &mut Updates<Endpoints>, wanted: &[u8]) -> BoxError {
    let wanted: Vec<String> = wanted.iter().map(|number| url(*number)).collect();
    loop {
        match next(updates).await {
            Ok(seen) => assert_eq!(urls(&seen), wanted),
            Err(error) => return error,
        }
    }
}

fn urls(endpoints: &Endpoints) -> Vec<String> {
    let mut all: Vec<_> = endpoints.iter().map(|one| one.url.to_string()).collect();
    all.sort_unstable();
    all
}

/// Passes connections on to a server.
struct Between {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Pass,
    /// Connections end, and new ones wait.
    Hold,
    /// Connections go on, but nothing comes back; new ones are passed on.
    Mute,
}

// === impl Between ===

impl Between {
    async fn of(server: &EtcdServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, server) = (listener.local_addr().unwrap(), server.address());
        let (mode, is) = watch::channel(Mode::Pass);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(pass(near, server, is.clone()));
            }
        });
        Self {
            address,
            mode,
            _tasks: tasks,
        }
    }

    fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn pass(near: TcpStream, server: SocketAddr, mut is: watch::Receiver<Mode>) {
    is.wait_for(|mode| *mode != Mode::Hold).await.unwrap();
    is.mark_unchanged();
    let far = TcpStream::connect(server).await.unwrap();
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let there = tokio::io::copy(&mut near_in, &mut far_out);
    let back = async {
        tokio::select! {
            _ = tokio::io::copy(&mut far_in, &mut near_out) => return,
            _ = is.changed() => {}
        }
        let is_muted = *is.borrow() == Mode::Mute;
        if is_muted {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = there => {}
        () = back => {}
    }
}

#[tokio::test]
async fn a_killed_etcd_is_an_error_until_it_is_back() {
    let mut server = EtcdServer::start();
    put(&server, 1);
    let mut updates = watch_by(rarely(&server));
    until(&mut updates, &[1]).await;
    server.kill();
    let error = until_error(&mut updates, &[1]).await;
    assert!(error.to_string().contains("cannot connect"), "{error}");
    server.revive();
    put(&server, 2);
    until(&mut updates, &[1, 2]).await;
}

#[tokio::test]
async fn an_etcd_that_stands_still_is_an_error_until_it_goes_on() {
    let server = EtcdServer::start();
    put(&server, 1);
    let often = asking(server.address()).read_every(Duration::from_millis(500));
    let mut updates = watch_by(often);
    until(&mut updates, &[1]).await;
    server.pause();
    let error = until_error(&mut updates, &[1]).await;
    assert!(error.to_string().contains("does not answer"), "{error}");
    server.resume();
    put(&server, 2);
    until(&mut updates, &[1, 2]).await;
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let server = EtcdServer::start();
    put(&server, 1);
    let often = asking(server.address()).read_every(Duration::from_millis(100));
    let mut updates = watch_by(often);
    until(&mut updates, &[1]).await;
    server.pause();
    let slow = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.resume();
        put(&server, 2);
    };
    let seen = async {
        loop {
            let seen = next(&mut updates).await.expect("it is only slow");
            if urls(&seen) == [url(1), url(2)] {
                return;
            }
        }
    };
    tokio::join!(slow, seen);
}

#[tokio::test]
async fn one_that_comes_back_empty_says_unknown_and_never_an_empty_set() {
    let mut server = EtcdServer::start();
    for _ in 0..20 {
        // A high revision, so that the new one's is below it.
        server.put("/other", "x");
    }
    put(&server, 1);
    let mut updates = watch_by(rarely(&server));
    until(&mut updates, &[1]).await;
    server.restart();
    while !until_error(&mut updates, &[1]).await.is::<UnknownService>() {}
    put(&server, 3);
    until(&mut updates, &[3]).await;
}

#[tokio::test]
async fn one_that_comes_back_with_an_older_state_is_followed_from_there() {
    let mut server = EtcdServer::start();
    put(&server, 1);
    server.backup();
    server.revive();
    let between = Between::of(&server).await;
    let patient = asking(between.address).read_every(Duration::from_secs(600));
    let etcd = patient.timeout(LIMIT).build().unwrap();
    let mut updates = etcd.watch(&pay());
    for number in 2..6 {
        put(&server, number);
    }
    until(&mut updates, &[1, 2, 3, 4, 5]).await;
    // To the watch it is only a connection that was lost.
    between.set(Mode::Hold);
    server.restore();
    between.set(Mode::Pass);
    let older = next(&mut updates).await.unwrap();
    assert_eq!(urls(&older), [url(1)]);
    put(&server, 2);
    until(&mut updates, &[1, 2]).await;
}

#[tokio::test]
async fn behind_a_lost_connection_the_watch_goes_on_where_it_was() {
    for is_compacted in [false, true] {
        let server = EtcdServer::start();
        let between = Between::of(&server).await;
        put(&server, 1);
        let rarely = asking(between.address).read_every(Duration::from_secs(600));
        let mut updates = watch_by(rarely);
        until(&mut updates, &[1]).await;
        put(&server, 2);
        until(&mut updates, &[1, 2]).await;
        between.set(Mode::Hold);
        put(&server, 3);
        server.delete("/services/pay/1");
        if is_compacted {
            server.compact();
        }
        between.set(Mode::Pass);
        let seen = next(&mut updates).await.expect("nothing is wrong");
        assert_eq!(urls(&seen), [url(2), url(3)], "compacted: {is_compacted}");
        put(&server, 4);
        until(&mut updates, &[2, 3, 4]).await;
    }
}

#[tokio::test]
async fn a_watch_that_has_died_without_a_word_is_noticed_by_what_is_read() {
    let server = EtcdServer::start();
    let between = Between::of(&server).await;
    put(&server, 1);
    let mut updates = watch_by(asking(between.address).read_every(Duration::from_secs(1)));
    until(&mut updates, &[1]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    between.set(Mode::Mute);
    put(&server, 2);
    until(&mut updates, &[1, 2]).await;
}

#[tokio::test]
async fn a_record_that_makes_no_sense_takes_no_other_along() {
    let server = EtcdServer::start();
    put(&server, 1);
    put(&server, 2);
    for garbage in [
        "{",
        "\"10.0.0.1\"",
        "{\"url\": \"http://a:1\", \"wieght\": 1}",
        "[]",
    ] {
        server.put("/services/pay/2", garbage);
        let mut fresh = watch_by(rarely(&server));
        assert_eq!(
            urls(&next(&mut fresh).await.unwrap()),
            [url(1)],
            "{garbage}"
        );
    }
    let mut updates = watch_by(rarely(&server));
    until(&mut updates, &[1]).await;
    put(&server, 2);
    until(&mut updates, &[1, 2]).await;
    server.put("/services/pay/1", "{");
    until(&mut updates, &[2]).await;
}

#[tokio::test]
async fn many_changes_are_a_few_sets() {
    let server = EtcdServer::start();
    put(&server, 1);
    let mut updates = watch_by(rarely(&server));
    until(&mut updates, &[1]).await;
    let began = tokio::time::Instant::now();
    let changing = tokio::task::spawn_blocking(move || {
        (0..6).for_each(|_| (2..52).for_each(|number| put(&server, number)));
        server
    });
    let wanted: Vec<String> = (1..=51).map(url).collect();
    let mut sets = 0;
    loop {
        sets += 1;
        let mut seen = urls(&next(&mut updates).await.unwrap());
        seen.sort_by_key(|url| url.len());
        if wanted.iter().all(|url| seen.contains(url)) {
            break;
        }
    }
    let most = began.elapsed().as_millis() / 100 + 2;
    assert!(sets <= most, "{sets} sets in {most} tenths of a second");
    drop(changing.await.unwrap());
}

#[tokio::test]
async fn servers_that_are_gone_or_silent_are_passed_over() {
    let server = EtcdServer::start();
    put(&server, 1);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [
        ports::free(),
        silent.local_addr().unwrap(),
        server.address(),
    ];
    let etcd = Etcd::builder()
        .addresses(addresses.map(|address| address.to_string()))
        .timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    let mut updates = etcd.watch(&pay());
    let first = next(&mut updates).await.expect("one of them answers");
    assert_eq!(urls(&first), [url(1)]);
    put(&server, 2);
    until(&mut updates, &[1, 2]).await;
    let named = format!("etcd://{},{}/services/pay", addresses[0], addresses[2]);
    let nowhere = asking(addresses[0]).build().unwrap();
    let mut updates = nowhere.watch(&ServiceName::new(named).unwrap());
    assert_eq!(urls(&next(&mut updates).await.unwrap()), [url(1), url(2)]);
}

#[tokio::test]
async fn users_log_in_through_tls() {
    let authority = Authority::new();
    let pair = authority.issue(&["127.0.0.1"]);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (chain, key) = (file("pem", &pair.chain_pem), file("key", &pair.key_pem));
    let (cert, key) = (format!("--cert-file={chain}"), format!("--key-file={key}"));
    let server = EtcdServer::with(&[&cert, &key]);
    put(&server, 1);
    let user = |name: &str, password: &str| {
        let body = json!({ "name": name, "password": password });
        let _ = server.ask("/v3/auth/user/add", &body);
    };
    user("root", "secret");
    let grant = json!({ "user": "root", "role": "root" });
    let _ = server.ask("/v3/auth/role/add", &json!({ "name": "root" }));
    let _ = server.ask("/v3/auth/user/grant", &grant);
    let _ = server.ask("/v3/auth/enable", &json!({}));

    let ca = file("ca", &pair.chain_pem);
    let password = file("password", "wrong\n");
    let login = asking(server.tls_address())
        .tls()
        .ca(&ca)
        .user("root")
        .password_file(&password);
    let error = next(&mut watch_by(login.clone())).await.unwrap_err();
    assert!(
        error.to_string().contains("invalid user ID or password"),
        "{error}"
    );
    file("password", "secret\n");
    let mut updates = watch_by(login.clone());
    assert_eq!(urls(&next(&mut updates).await.unwrap()), [url(1)]);
    assert!(!format!("{:?}", login.password("secret")).contains("secret"));
    let nobody = asking(server.tls_address()).tls().ca(&ca);
    let error = next(&mut watch_by(nobody)).await.unwrap_err();
    assert!(error.to_string().contains("user name is empty"), "{error}");
    let stranger = asking(server.tls_address())
        .tls()
        .user("root")
        .password("secret");
    let error = next(&mut watch_by(stranger)).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}
