//! Redis as it is: real servers, Sentinels and clusters, and what becomes of them.

#![allow(clippy::unwrap_used, reason = "what a test does not get, fails it")]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::discovery::{Discovery, Endpoints, ServiceName, UnknownService};
use cirrus_core::testing::certs::Authority;
use cirrus_core::testing::discovery_suite::DiscoveryFixture;
use cirrus_core::testing::ports;
use cirrus_core::testing::process::RedisServer;
use cirrus_core::testing::rolling_suite::{Told, trouble};
use cirrus_core::{BoxError, Updates};
use cirrus_discovery::redis::{Builder, Redis};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::timeout;

/// The longest that anything here is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// So rarely that it is only read when there is a hint.
const NEVER: Duration = Duration::from_secs(600);

/// Plain names of the suite are services in Redis.
struct Named(Redis);

// === impl Named ===

impl Discovery for Named {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let name = ServiceName::new(format!("redis:///services:{service}")).unwrap();
        self.0.watch(&name)
    }
}

struct Fixture {
    server: RedisServer,
    kind: &'static str,
}

// === impl Fixture ===

impl Fixture {
    fn of(kind: &'static str) -> Self {
        Self {
            server: RedisServer::start(),
            kind,
        }
    }
}

impl DiscoveryFixture for Fixture {
    fn discovery(&self) -> Arc<dyn Discovery> {
        let redis = asking(self.server.address()).read_every(Duration::from_millis(500));
        Arc::new(Named(redis.build().unwrap()))
    }

    async fn put(&self, service: &str, endpoints: &Endpoints) {
        let key = format!("services:{service}");
        let records = endpoints.iter().enumerate().map(|(number, endpoint)| {
            (number.to_string(), serde_json::to_string(endpoint).unwrap())
        });
        // Keeps the service known when nobody is there.
        let records = records.chain([("known".to_owned(), "null".to_owned())]);
        let values = match self.kind {
            "hash" => records.flat_map(|(id, text)| [id, text]).collect(),
            _ => records.map(|(_, text)| text).collect::<Vec<_>>(),
        };
        let add = if self.kind == "hash" { "HSET" } else { "SADD" };
        let script = format!(
            "redis.call('DEL', KEYS[1]) \
             redis.call('{add}', KEYS[1], unpack(ARGV)) \
             return redis.call('PUBLISH', KEYS[1], '')"
        );
        let mut command = vec!["EVAL".to_owned(), script, "1".to_owned(), key];
        command.extend(values);
        let answer = self.server.ask(&command);
        assert!(answer.starts_with(':'), "{answer}");
    }

    async fn put_garbage(&self, service: &str) -> bool {
        let key = format!("services:{service}");
        let garbage = &b"{\"url\": \xff"[..];
        let answer = match self.kind {
            "hash" => self.server.ask(&[b"HSET", key.as_bytes(), b"x", garbage]),
            _ => self.server.ask(&[b"SADD", key.as_bytes(), garbage]),
        };
        assert_eq!(answer, ":1");
        true
    }
}

mod in_a_hash {
    use super::*;
    cirrus_core::testing::discovery_suite!(|| Fixture::of("hash"));
    cirrus_core::testing::rolling_suite!(|| Fixture::of("hash"));
}

mod in_a_set {
    use super::*;
    cirrus_core::testing::discovery_suite!(|| Fixture::of("set"));
    cirrus_core::testing::rolling_suite!(|| Fixture::of("set"));
}

// === what clients notice of it ===

#[tokio::test]
async fn clients_do_not_notice_that_it_stands_still() {
    trouble(
        Fixture::of("hash"),
        Told::Error,
        async |fixture| fixture.server.pause(),
        async |fixture| fixture.server.resume(),
    )
    .await;
}

#[tokio::test]
async fn clients_do_not_notice_that_it_was_emptied() {
    trouble(
        Fixture::of("hash"),
        Told::Error,
        async |fixture| assert_eq!(fixture.server.ask(&["FLUSHALL"]), "+OK"),
        async |_| {},
    )
    .await;
}

// === what becomes of it ===

fn asking(address: SocketAddr) -> Builder {
    Redis::builder().addresses([address.to_string()])
}

fn watch(redis: Builder) -> Updates<Endpoints> {
    let redis = redis.timeout(Duration::from_secs(1)).build().unwrap();
    redis.watch(&ServiceName::new("redis:///pay").unwrap())
}

fn put(server: &RedisServer, number: u8) {
    let url = format!("\"{}\"", url(number));
    let answer = server.ask(&["HSET", "pay", &number.to_string(), &url]);
    assert!(answer.starts_with(':'), "{answer}");
}

fn publish(server: &RedisServer) {
    let _ = server.ask(&["PUBLISH", "pay", "x"]);
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

/// Until a server says what is expected.
async fn says(server: &RedisServer, command: &[&str], expected: &str) {
    let said = async {
        while !server.ask(command).contains(expected) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let said = timeout(LIMIT, said).await;
    said.unwrap_or_else(|_| panic!("{command:?}: {expected}"));
}

#[tokio::test]
async fn a_killed_redis_is_an_error_until_it_is_back() {
    let mut server = RedisServer::start();
    put(&server, 1);
    let mut updates = watch(asking(server.address()).read_every(NEVER));
    until(&mut updates, &[1]).await;
    server.kill();
    let error = until_error(&mut updates, &[1]).await;
    assert!(!error.is::<UnknownService>(), "{error}");
    server.restart();
    put(&server, 2);
    until(&mut updates, &[2]).await;
}

#[tokio::test]
async fn a_redis_that_stands_still_is_an_error_until_it_goes_on() {
    let server = RedisServer::start();
    put(&server, 1);
    let often = asking(server.address()).read_every(Duration::from_millis(300));
    let mut updates = watch(often);
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
    let server = RedisServer::start();
    put(&server, 1);
    let often = asking(server.address()).read_every(Duration::from_millis(100));
    let mut updates = watch(often);
    until(&mut updates, &[1]).await;
    server.pause();
    let slow = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.resume();
        put(&server, 2);
    };
    let seen = async {
        while urls(&next(&mut updates).await.expect("it is only slow")) != [url(1), url(2)] {}
    };
    tokio::join!(slow, seen);
}

#[tokio::test]
async fn one_that_comes_back_empty_or_older_never_says_an_empty_set() {
    let mut server = RedisServer::start();
    put(&server, 1);
    put(&server, 2);
    let often = asking(server.address()).read_every(Duration::from_millis(100));
    let mut updates = watch(often);
    until(&mut updates, &[1, 2]).await;
    server.restart();
    while !until_error(&mut updates, &[1, 2])
        .await
        .is::<UnknownService>()
    {}
    // What was there before the second one came.
    put(&server, 1);
    until(&mut updates, &[1]).await;
}

#[tokio::test]
async fn a_hint_has_it_read_at_once() {
    let told = RedisServer::with(&["--notify-keyspace-events", "KA"]);
    put(&told, 1);
    let mut updates = watch(asking(told.address()).read_every(NEVER));
    until(&mut updates, &[1]).await;
    put(&told, 2);
    until(&mut updates, &[1, 2]).await;
    let _ = told.ask(&["DEL", "pay"]);
    let error = until_error(&mut updates, &[1, 2]).await;
    assert!(error.is::<UnknownService>(), "{error}");

    let silent = RedisServer::start();
    put(&silent, 1);
    let mut updates = watch(asking(silent.address()).read_every(NEVER));
    until(&mut updates, &[1]).await;
    put(&silent, 2);
    publish(&silent);
    until(&mut updates, &[1, 2]).await;
    put(&silent, 3);
    let early = timeout(Duration::from_millis(300), updates.next()).await;
    assert!(early.is_err(), "nobody has said anything");
}

#[tokio::test]
async fn without_hints_it_is_read_nevertheless() {
    let server = RedisServer::start();
    put(&server, 1);
    let mut updates = watch(asking(server.address()).read_every(Duration::from_millis(300)));
    until(&mut updates, &[1]).await;
    put(&server, 2);
    until(&mut updates, &[1, 2]).await;
}

#[tokio::test]
async fn a_record_that_makes_no_sense_takes_no_other_along() {
    let server = RedisServer::start();
    put(&server, 1);
    for garbage in [
        "{",
        "\"10.0.0.1\"",
        "{\"url\": \"http://a:1\", \"wieght\": 1}",
        "[]",
    ] {
        let _ = server.ask(&["HSET", "pay", "2", garbage]);
        let mut fresh = watch(asking(server.address()));
        assert_eq!(
            urls(&next(&mut fresh).await.unwrap()),
            [url(1)],
            "{garbage}"
        );
    }
    let mut updates = watch(asking(server.address()).read_every(NEVER));
    until(&mut updates, &[1]).await;
    put(&server, 2);
    publish(&server);
    until(&mut updates, &[1, 2]).await;
    let _ = server.ask(&["SET", "pay", "x"]);
    publish(&server);
    let error = until_error(&mut updates, &[1, 2]).await;
    assert!(error.to_string().contains("the key is a string"), "{error}");
}

#[tokio::test]
async fn many_changes_are_a_few_sets() {
    let server = RedisServer::with(&["--notify-keyspace-events", "KA"]);
    put(&server, 1);
    let mut updates = watch(asking(server.address()).read_every(NEVER));
    until(&mut updates, &[1]).await;
    let began = tokio::time::Instant::now();
    let changing = tokio::task::spawn_blocking(move || {
        for number in 2..=201 {
            put(&server, number);
        }
        server
    });
    let mut sets = 0_u128;
    while next(&mut updates).await.unwrap().len() < 201 {
        sets += 1;
    }
    let most = began.elapsed().as_millis() / 100 + 2;
    assert!(sets <= most, "{sets} sets in {most} tenths of a second");
    drop(changing.await.unwrap());
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
    let tls = ports::free();
    let server = RedisServer::with(&[
        "--tls-port",
        &tls.port().to_string(),
        "--tls-cert-file",
        &chain,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &chain,
        "--tls-auth-clients",
        "no",
    ]);
    // No channel but the one of its name: what tells of changes is kept from it.
    let alice = "ACL SETUSER alice on >secret ~pay &pay +type +hgetall +subscribe +ping";
    let alice: Vec<&str> = alice.split(' ').collect();
    assert_eq!(server.ask(&alice), "+OK");
    put(&server, 1);
    let password = file("password", "wrong\n");
    let secure = || asking(tls).tls().user("alice").password_file(&password);
    let login = || secure().ca(&chain).read_every(NEVER);
    let error = next(&mut watch(login())).await.unwrap_err();
    assert!(error.to_string().contains("failed"), "{error}");
    file("password", "secret\n");
    let mut updates = watch(login());
    assert_eq!(urls(&next(&mut updates).await.unwrap()), [url(1)]);
    put(&server, 2);
    publish(&server);
    until(&mut updates, &[1, 2]).await;
    let told = format!("{:?}", login().password("secret").build().unwrap());
    assert!(!told.contains("secret"), "{told}");
    let error = next(&mut watch(secure())).await.unwrap_err();
    assert!(error.to_string().contains("ertificate"), "{error}");
    let nowhere = secure().ca(directory.path().join("none"));
    let error = nowhere.build().unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");
}

/// A Sentinel that decides alone.
struct Sentinel {
    address: SocketAddr,
    child: Child,
    _directory: TempDir,
}

// === impl Sentinel ===

impl Sentinel {
    fn of(master: &RedisServer) -> Self {
        let (address, directory) = (ports::free(), tempfile::tempdir().unwrap());
        let config = directory.path().join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {}\ndir {}\n\
             sentinel monitor pay-master 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds pay-master 500\n\
             sentinel failover-timeout pay-master 3000\n",
            address.port(),
            directory.path().display(),
            master.address().port(),
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("redis-server")
            .arg(config)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .spawn();
        Self {
            address,
            child: child.unwrap(),
            _directory: directory,
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn replica_of(master: &RedisServer) -> RedisServer {
    let replica = RedisServer::start();
    let port = master.address().port().to_string();
    assert_eq!(replica.ask(&["REPLICAOF", "127.0.0.1", &port]), "+OK");
    replica
}

/// With a Sentinel that knows the replica too.
async fn guarded(master: &RedisServer, replica: &RedisServer) -> Sentinel {
    says(replica, &["INFO", "replication"], "master_link_status:up").await;
    let sentinel = Sentinel::of(master);
    let known = async {
        let port = sentinel.address.port().to_string();
        let replica = replica.address().port().to_string();
        loop {
            let asked = Command::new("redis-cli")
                .args(["-p", &port, "SENTINEL", "replicas", "pay-master"])
                .output();
            if String::from_utf8_lossy(&asked.unwrap().stdout).contains(&replica) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, known).await.expect("it knows the replica");
    sentinel
}

#[tokio::test]
async fn sentinels_say_who_the_master_is_after_its_death() {
    let mut master = RedisServer::start();
    put(&master, 1);
    let replica = replica_of(&master);
    let sentinel = guarded(&master, &replica).await;
    let redis = Redis::builder()
        .addresses([ports::free(), sentinel.address].map(|one| one.to_string()))
        .sentinel("pay-master")
        .read_every(NEVER);
    let mut updates = watch(redis);
    until(&mut updates, &[1]).await;
    master.kill();
    let error = until_error(&mut updates, &[1]).await;
    assert!(!error.is::<UnknownService>(), "{error}");
    says(&replica, &["INFO", "replication"], "role:master").await;
    put(&replica, 2);
    until(&mut updates, &[1, 2]).await;
    let stranger = asking(sentinel.address).sentinel("other");
    let error = next(&mut watch(stranger)).await.unwrap_err();
    assert!(
        error.to_string().contains("knows no master `other`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_master_that_is_not_one_any_more_is_left_though_it_lives() {
    let master = RedisServer::start();
    put(&master, 1);
    let replica = replica_of(&master);
    let sentinel = guarded(&master, &replica).await;
    let redis = asking(sentinel.address).sentinel("pay-master");
    let mut updates = watch(redis.read_every(Duration::from_millis(500)));
    until(&mut updates, &[1]).await;
    // It stands still while the others choose, and believes afterwards that nothing has happened.
    master.pause();
    says(&replica, &["INFO", "replication"], "role:master").await;
    put(&replica, 2);
    until(&mut updates, &[1, 2]).await;
    master.resume();
    put(&replica, 3);
    until(&mut updates, &[1, 2, 3]).await;
}

/// A node with a port for the others.
fn node() -> RedisServer {
    let bus = ports::free().port().to_string();
    RedisServer::with(&["--cluster-enabled", "yes", "--cluster-port", &bus])
}

/// The first has every slot, the second none.
async fn cluster() -> (RedisServer, RedisServer) {
    let (one, other) = (node(), node());
    let all = one.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    assert_eq!(all, "+OK");
    let port = one.address().port().to_string();
    let bus = one.ask(&["CLUSTER", "NODES"]);
    let bus = bus
        .split('@')
        .nth(1)
        .unwrap()
        .split([',', ' '])
        .next()
        .unwrap();
    assert_eq!(
        other.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]),
        "+OK"
    );
    for node in [&one, &other] {
        says(node, &["CLUSTER", "INFO"], "cluster_state:ok").await;
        says(node, &["CLUSTER", "INFO"], "cluster_known_nodes:2").await;
    }
    (one, other)
}

#[tokio::test]
async fn nodes_of_a_cluster_say_who_has_the_key() {
    let (mut one, other) = cluster().await;
    put(&one, 1);
    let id = one.ask(&["CLUSTER", "MYID"]);
    // The one that is asked first has nothing.
    let addresses = [other.address(), one.address()].map(|one| one.to_string());
    let redis = Redis::builder().addresses(addresses).cluster();
    let mut updates = watch(redis.read_every(NEVER));
    until(&mut updates, &[1]).await;
    put(&one, 2);
    publish(&other);
    until(&mut updates, &[1, 2]).await;

    assert_eq!(other.ask(&["CLUSTER", "REPLICATE", &id]), "+OK");
    says(&other, &["INFO", "replication"], "master_link_status:up").await;
    one.kill();
    let error = until_error(&mut updates, &[1, 2]).await;
    assert!(!error.is::<UnknownService>(), "{error}");
    assert_eq!(other.ask(&["CLUSTER", "FAILOVER", "TAKEOVER"]), "+OK");
    says(&other, &["CLUSTER", "INFO"], "cluster_state:ok").await;
    says(&other, &["INFO", "replication"], "role:master").await;
    put(&other, 3);
    until(&mut updates, &[1, 2, 3]).await;
}

#[tokio::test]
async fn a_key_is_followed_while_it_moves_from_node_to_node() {
    let (one, other) = cluster().await;
    put(&one, 1);
    let often = asking(one.address()).cluster();
    let mut updates = watch(often.read_every(Duration::from_millis(200)));
    until(&mut updates, &[1]).await;
    let slot = one.ask(&["CLUSTER", "KEYSLOT", "pay"]);
    let slot = slot.trim_start_matches(':');
    let (from, to) = (
        one.ask(&["CLUSTER", "MYID"]),
        other.ask(&["CLUSTER", "MYID"]),
    );
    let set = |node: &RedisServer, state: &str, id: &str| {
        assert_eq!(node.ask(&["CLUSTER", "SETSLOT", slot, state, id]), "+OK");
    };
    set(&other, "IMPORTING", &from);
    set(&one, "MIGRATING", &to);
    let port = other.address().port().to_string();
    let moved = one.ask(&["MIGRATE", "127.0.0.1", &port, "pay", "0", "5000"]);
    assert_eq!(moved, "+OK");
    for _ in 0..5 {
        // The slot is on its way, the key is there.
        let seen = next(&mut updates).await.expect("it is found");
        assert_eq!(urls(&seen), [url(1)]);
    }
    set(&other, "NODE", &to);
    set(&one, "NODE", &to);
    put(&other, 2);
    until(&mut updates, &[1, 2]).await;
}
