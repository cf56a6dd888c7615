//! Edges that fetch for each other.

use std::sync::Arc;

use bytes::Bytes;
use cirrus_cache::FileLog;
use cirrus_core::ManualClock;
use cirrus_core::testing::{Asked, Client, Describe, Origin, RunningOrigin, proxy, reply};
use cirrus_core::{Body, Response};
use http_body_util::channel::Channel;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::{MIB, metric, pattern, secs, store, until};

/// Several edges before one origin.
struct Edges {
    edges: Vec<proxy::Running>,
    urls: Vec<String>,
    clock: ManualClock,
}

/// What the edges of a group are.
#[derive(Clone, Default)]
struct Group<'a> {
    /// Of the site.
    site: &'a str,
    /// Of `[cache.peers]`.
    peers: &'a str,
    /// Others that are in the group, and in no edge's hands.
    strangers: Vec<String>,
    log: Option<&'a tempfile::TempDir>,
}

// === impl Group ===

impl Group<'_> {
    async fn of(&self, count: usize, origin: &RunningOrigin) -> Edges {
        let clock = proxy::new("").clock();
        let mut edges = Vec::new();
        for number in 0..count {
            edges.push(self.edge(number, origin, &clock).await);
        }
        let own = edges
            .iter()
            .map(|edge| format!("http://{}", edge.address()));
        let urls: Vec<_> = own.chain(self.strangers.clone()).collect();
        for (edge, url) in edges.iter().zip(&urls) {
            edge.reconfigure(&self.toml(origin, &peers(url, &urls, self.peers)));
        }
        for edge in &edges {
            until(async || edge.revision() == 2).await;
        }
        // Without a log, what was fetched before an edge was started is too old for it.
        clock.advance(secs(10));
        Edges { edges, urls, clock }
    }

    async fn edge(
        &self,
        number: usize,
        origin: &RunningOrigin,
        clock: &ManualClock,
    ) -> proxy::Running {
        let (store, clock) = (store(clock, 16 * MIB, 4 * MIB), clock.clone());
        let proxy = proxy::new(&self.toml(origin, ""));
        let proxy = proxy.with(|builder| builder.cache(store).clock(clock));
        let Some(directory) = self.log else {
            return proxy.run().await;
        };
        let log = FileLog::open(directory.path().join("log")).expect("a log");
        let log = log.keeping(directory.path().join(number.to_string()));
        proxy.with(|builder| builder.purge_log(log)).run().await
    }

    fn toml(&self, origin: &RunningOrigin, peers: &str) -> String {
        format!(
            "[admin]\naddress = \"127.0.0.1:0\"\nopen = true\n{peers}\
             [[site]]\nhosts = [\"*\"]\norigin = [{{ url = \"{}\" }}]\n{}",
            origin.url(),
            if self.site.is_empty() {
                "cache = { enable = true }\n"
            } else {
                self.site
            }
        )
    }
}

fn peers(own: &str, urls: &[String], more: &str) -> String {
    let group: Vec<_> = urls
        .iter()
        .map(|url| format!("{{ url = {url:?} }}"))
        .collect();
    let timeout = if more.contains("timeout") {
        ""
    } else {
        "timeout = \"10s\"\n"
    };
    format!(
        "[cache.peers]\nown = {own:?}\ngroup = [{}]\nkey = \"a secret of theirs\"\n{timeout}{more}",
        group.join(", ")
    )
    .replace("a secret of theirs", "a-secret-of-theirs")
}

// === impl Edges ===

impl Edges {
    async fn new(origin: &RunningOrigin) -> Self {
        Group::default().of(3, origin).await
    }

    fn client(&self, edge: usize) -> Client {
        Client::to(self.edges[edge].address())
    }

    async fn text(&self, edge: usize, path: &str) -> String {
        self.client(edge).get(path).await.text().to_owned()
    }

    /// Whose a path is, as docs/caching-peers.md says.
    fn owner(&self, path: &str) -> usize {
        let key = format!("http shop.example {path}");
        let score = |url: &String| {
            let seed = xxhash_rust::xxh3::xxh3_64(url.as_bytes());
            let hash = xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), seed);
            -1.0 / (((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64).ln()
        };
        let scores = self.urls.iter().map(score).enumerate();
        let owner = scores.max_by(|(_, one), (_, other)| one.total_cmp(other));
        owner.expect("a group").0
    }

    /// A path that this edge owns.
    fn path_of(&self, edge: usize) -> String {
        let mut paths = (0..).map(|number| format!("/{number}"));
        paths.find(|path| self.owner(path) == edge).expect("a path")
    }

    async fn metric(&self, edge: usize, name: &str) -> u64 {
        metric(
            &self.edges[edge],
            &format!("cirrus_cache_peer_{name}_total"),
        )
        .await
    }

    async fn purge(&self, edge: usize, path: &str) {
        let json = "content-type: application/json\r\n";
        let body = format!(r#"{{"urls":["http://shop.example{path}"]}}"#);
        let mut operator = Client::to(self.edges[edge].admin()).host("localhost");
        let done = operator.ask("POST", "/api/v1/cache/purge", json, body.as_bytes());
        let done = done.await;
        assert_eq!(done.status, 200, "{}", done.text());
    }
}

/// Says how many requests came before.
async fn counting() -> RunningOrigin {
    let answer = |asked: Asked| {
        reply(format!("{} {}", asked.target, asked.before)).with("cache-control", "max-age=60")
    };
    Origin::new().get("*", answer).run().await
}

#[tokio::test]
async fn what_all_edges_miss_costs_the_origin_one_request() {
    let origin = counting().await;
    let edges = Edges::new(&origin).await;
    let mut owned = [0; 3];
    for number in 0..12 {
        let path = format!("/{number}");
        owned[edges.owner(&path)] += 1;
        let mut bodies = Vec::new();
        for edge in 0..3 {
            let reply = edges.client(edge).get(&path).await;
            assert_eq!(reply.status, 200);
            assert_eq!(reply.header("cirrus-peer"), "");
            bodies.push(reply.body);
        }
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{path}");
        assert_eq!(origin.count(), number + 1, "{path}");
    }
    assert!(owned.iter().all(|share| *share > 0), "{owned:?}");
    for (edge, share) in owned.into_iter().enumerate() {
        let fetched = edges.metric(edge, "hits").await + edges.metric(edge, "misses").await;
        assert_eq!(fetched, 12 - share);
        assert_eq!(edges.metric(edge, "requests").await, 2 * share);
        assert_eq!(edges.metric(edge, "fallbacks").await, 0);
    }
    assert!(
        origin
            .asked()
            .iter()
            .all(|asked| asked.header("cirrus-peer").is_empty())
    );
}

#[tokio::test]
async fn age_and_what_caches_did_come_from_both() {
    let origin = counting().await;
    let edges = Edges::new(&origin).await;
    let path = edges.path_of(0);
    edges.client(0).get(&path).await;
    edges.clock.advance(secs(7));
    let reply = edges.client(1).get(&path).await;
    assert_eq!(reply.header("age"), "7");
    assert_eq!(
        reply.header("cache-status"),
        "cirrus; hit; ttl=53, cirrus; fwd=uri-miss; stored"
    );
    edges.clock.advance(secs(50));
    let reply = edges.client(1).get(&path).await;
    assert_eq!(reply.header("age"), "57");
    assert!(reply.header("cache-status").ends_with("cirrus; hit; ttl=3"));
    edges.clock.advance(secs(4));
    edges.client(1).get(&path).await;
    edges.client(0).get(&path).await;
    assert_eq!(
        origin.count(),
        2,
        "stale on both, and fetched by the owner once"
    );
}

#[tokio::test]
async fn a_copy_is_asked_about_again_after_a_while() {
    let origin = Origin::new().get("*", |_| {
        reply("hello")
            .with("cache-control", "max-age=3600")
            .with("etag", "\"a\"")
    });
    let origin = origin.run().await;
    let group = Group {
        peers: "keep = \"30s\"\n",
        ..Group::default()
    };
    let edges = group.of(2, &origin).await;
    let path = edges.path_of(0);
    edges.client(1).get(&path).await;
    for _ in 0..3 {
        edges.clock.advance(secs(31));
        let reply = edges.client(1).get(&path).await;
        assert!(
            reply.header("cache-status").contains("fwd-status=304"),
            "{:?}",
            reply.headers
        );
        assert_eq!(reply.text(), "hello");
    }
    assert_eq!(edges.metric(1, "hits").await, 3);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_the_owner_is_still_fetching_is_read_while_it_grows() {
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(1);
    let once = Mutex::new(Some(body));
    let origin = Origin::new().get("*", move |_| {
        let body = once.lock().take();
        reply(body.map_or_else(Body::empty, Body::stream)).with("cache-control", "max-age=60")
    });
    let origin = origin.run().await;
    let edges = Edges::new(&origin).await;
    let path = edges.path_of(2);
    let mut crowd = JoinSet::new();
    let ask = |edge: usize| {
        let (mut client, path) = (edges.client(edge), path.clone());
        async move { client.get(&path).await }
    };
    crowd.spawn(ask(0));
    let whole = pattern(200_000);
    sender.send_data(whole.slice(..100_000)).await.unwrap();
    until(async || origin.count() == 1).await;
    crowd.spawn(ask(1));
    until(async || edges.metric(1, "hits").await == 1).await;
    sender.send_data(whole.slice(100_000..)).await.unwrap();
    drop(sender);
    for reply in crowd.join_all().await {
        assert!(reply.body == whole, "{} bytes", reply.body.len());
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn an_owner_that_is_gone_costs_no_request() {
    let origin = counting().await;
    let mut edges = Edges::new(&origin).await;
    let paths: Vec<_> = (0..40).map(|number| format!("/{number}")).collect();
    let lost: Vec<_> = paths.iter().filter(|path| edges.owner(path) == 2).collect();
    assert!(lost.len() > 3, "{}", lost.len());
    edges.edges.pop().expect("an owner").shutdown().await;
    for path in &lost {
        for edge in 0..2 {
            assert_eq!(edges.client(edge).get(path).await.status, 200);
        }
    }
    // Each finds out once; then whoever comes next in order owns what the lost one owned.
    for edge in 0..2 {
        assert_eq!(edges.metric(edge, "failures").await, 1);
    }
    assert!(origin.count() <= lost.len() + 2, "{}", origin.count());
}

#[tokio::test]
async fn an_owner_that_says_nothing_is_waited_for_so_long_and_no_longer() {
    let origin = counting().await;
    // It accepts, by the kernel's hand, and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let group = Group {
        peers: "timeout = \"50ms\"\n",
        strangers: vec![format!("http://{}", mute.local_addr().unwrap())],
        ..Group::default()
    };
    let edges = group.of(1, &origin).await;
    let mut paths = (0..).map(|number| format!("/{number}"));
    let mut next = || paths.find(|path| edges.owner(path) == 1).expect("a path");
    for _ in 0..3 {
        assert_eq!(edges.client(0).get(&next()).await.status, 200);
    }
    assert_eq!(edges.metric(0, "failures").await, 3);
    assert_eq!(edges.client(0).get(&next()).await.status, 200);
    assert_eq!(edges.metric(0, "failures").await, 3, "it is left alone");
    assert_eq!(edges.metric(0, "fallbacks").await, 3);
    assert_eq!(origin.count(), 4);
}

/// Each takes the other for the owner.
#[tokio::test]
async fn edges_that_disagree_do_not_send_requests_round() {
    let origin = counting().await;
    let group = Group::default();
    let edges = group.of(2, &origin).await;
    for (edge, other) in [(0, 1), (1, 0)] {
        let (own, heavy) = (&edges.urls[edge], &edges.urls[other]);
        let peers = peers(own, &edges.urls, "");
        let peers = peers.replace(
            &format!("url = {heavy:?}"),
            &format!("url = {heavy:?}, weight = 1000"),
        );
        edges.edges[edge].reconfigure(&group.toml(&origin, &peers));
    }
    for edge in &edges.edges {
        until(async || edge.revision() == 3).await;
    }
    for number in 0..10 {
        edges.client(0).get(&format!("/{number}")).await;
    }
    assert!(edges.metric(1, "requests").await > 8);
    assert_eq!(edges.metric(0, "requests").await, 0);
    assert_eq!(origin.count(), 10);
}

/// What an edge's own policies have let in is not judged again by the owner's; and nobody else gets past them.
#[tokio::test]
async fn peers_pass_by_policies_and_clients_do_not_pass_for_peers() {
    let origin = counting().await;
    let group = Group::default();
    let edges = group.of(2, &origin).await;
    let closed = Group {
        site: "cache = { enable = true }\naccess = { deny = [\"127.0.0.0/8\"] }\n",
        ..Group::default()
    };
    let peers = peers(&edges.urls[1], &edges.urls, "");
    edges.edges[1].reconfigure(&closed.toml(&origin, &peers));
    until(async || edges.edges[1].revision() == 3).await;
    let path = edges.path_of(1);
    assert_eq!(edges.client(0).get(&path).await.status, 200);
    assert_eq!(edges.metric(1, "requests").await, 1);
    for forged in ["", "1", "1795200010 http 00ff", "hit"] {
        let line = format!("cirrus-peer: {forged}\r\nx-forwarded-proto: https\r\n");
        let reply = edges.client(1).get_with(&path, &line).await;
        assert_eq!(reply.status, 403, "{forged}");
        assert_eq!(reply.header("cirrus-peer"), "");
        // It stays at the edge where nothing is closed.
        let reply = edges.client(0).get_with("/else", &line).await;
        assert_eq!(reply.header("cirrus-peer"), "");
    }
    assert_eq!(
        edges.metric(1, "requests").await,
        1 + u64::from(edges.owner("/else") == 1)
    );
    assert!(
        origin
            .asked()
            .iter()
            .all(|asked| asked.header("cirrus-peer").is_empty())
    );
}

/// An edge with another key is no peer.
#[tokio::test]
async fn another_key_is_nobodys() {
    let origin = counting().await;
    let group = Group::default();
    let edges = group.of(2, &origin).await;
    let peers = peers(&edges.urls[1], &edges.urls, "").replace("a-secret", "no-secret");
    edges.edges[1].reconfigure(&group.toml(&origin, &peers));
    until(async || edges.edges[1].revision() == 3).await;
    let path = edges.path_of(1);
    assert_eq!(edges.client(0).get(&path).await.status, 200);
    assert_eq!(edges.metric(1, "requests").await, 0);
    assert_eq!(edges.metric(0, "failures").await, 1);
    assert_eq!(edges.metric(0, "fallbacks").await, 1);
}

#[tokio::test]
async fn variants_and_what_surrogates_are_told_reach_the_peers() {
    let origin = Origin::new().get("*", |asked| {
        reply(asked.header("accept-language"))
            .with("vary", "accept-language")
            .with("cache-control", "no-store")
            .with("surrogate-control", "max-age=60")
            .with("surrogate-key", "words")
    });
    let origin = origin.run().await;
    let edges = Edges::new(&origin).await;
    let path = edges.path_of(0);
    for turn in 0..2 {
        for edge in 0..3 {
            for language in ["de", "fr"] {
                let lines = format!("accept-language: {language}\r\n");
                let reply = edges.client(edge).get_with(&path, &lines).await;
                assert_eq!(reply.text(), language);
                assert_eq!(reply.header("surrogate-control"), "");
                let did = reply.header("cache-status");
                assert_eq!(
                    did.contains("cirrus; hit; ttl=60") && turn == 1,
                    turn == 1,
                    "{did}"
                );
            }
        }
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_is_for_one_user_goes_to_the_origin() {
    let origin = counting().await;
    let edges = Edges::new(&origin).await;
    let path = edges.path_of(0);
    let reply = edges
        .client(1)
        .get_with(&path, "authorization: Basic YTpi\r\n")
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(edges.metric(0, "requests").await, 0);
}

#[tokio::test]
async fn slices_come_from_the_owner() {
    const SIZE: u64 = 5 * 65_536;
    let whole = pattern(SIZE);
    let bytes = whole.clone();
    let origin = Origin::new().get("*", move |asked| part(&bytes, &asked));
    let origin = origin.run().await;
    let group = Group {
        site: "cache = { enable = true, slice = \"64KiB\" }\n",
        ..Group::default()
    };
    let edges = group.of(3, &origin).await;
    let path = edges.path_of(0);
    for edge in [1, 2, 0] {
        let range = "range: bytes=70000-140000\r\n";
        let reply = edges.client(edge).get_with(&path, range).await;
        assert_eq!(reply.status, 206);
        assert!(reply.body == whole[70_000..=140_000], "{edge}");
        let reply = edges.client(edge).get(&path).await;
        assert!(reply.body == whole, "{edge}");
    }
    assert_eq!(origin.count(), 5, "each slice once");
    assert_eq!(edges.metric(1, "fallbacks").await, 0);
}

fn part(whole: &Bytes, asked: &Asked) -> Response {
    let range = asked.header("range");
    let (first, last) = range
        .strip_prefix("bytes=")
        .expect("a range")
        .split_once('-')
        .expect("a range");
    let (first, last): (usize, usize) = (
        first.parse().expect("a range"),
        last.parse().expect("a range"),
    );
    let range = format!("bytes {first}-{last}/{}", whole.len());
    reply(whole.slice(first..=last))
        .with_status(206)
        .with("content-range", &range)
        .with("etag", "\"1\"")
        .with("cache-control", "max-age=60")
}

#[tokio::test]
async fn a_purge_is_not_undone_by_a_peer_that_has_not_heard_of_it() {
    let origin = counting().await;
    let edges = Edges::new(&origin).await;
    let path = edges.path_of(0);
    let old = edges.text(1, &path).await;
    edges.clock.advance(secs(5));
    edges.purge(1, &path).await;
    let new = edges.text(1, &path).await;
    assert_ne!(new, old);
    assert_eq!(edges.metric(1, "fallbacks").await, 1);
    assert_eq!(edges.text(0, &path).await, old, "the owner's own");
    assert_eq!(edges.text(1, &path).await, new);
    // What the owner fetches later is new enough.
    edges.clock.advance(secs(61));
    let next = edges.text(0, &path).await;
    assert_eq!(edges.text(1, &path).await, next);
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn who_changes_something_sees_the_change() {
    let origin = counting().await;
    let edges = Edges::new(&origin).await;
    let path = edges.path_of(0);
    let old = edges.text(1, &path).await;
    edges.clock.advance(secs(5));
    assert_eq!(
        edges.client(1).ask("POST", &path, "", b"x").await.status,
        200
    );
    assert_ne!(edges.text(1, &path).await, old);
}

#[tokio::test]
async fn edges_that_follow_one_log_ask_each_other_right_after_a_purge() {
    let (origin, directory) = (counting().await, tempfile::tempdir().unwrap());
    let group = Group {
        log: Some(&directory),
        ..Group::default()
    };
    let edges = group.of(2, &origin).await;
    let path = edges.path_of(0);
    let old = edges.text(1, &path).await;
    edges.purge(1, &path).await;
    for edge in &edges.edges {
        until(async || metric(edge, "cirrus_cache_purge_log_position").await == 1).await;
    }
    let new = edges.text(1, &path).await;
    assert_ne!(new, old);
    assert_eq!(edges.text(0, &path).await, new);
    assert_eq!(origin.count(), 2);
    assert_eq!(edges.metric(1, "fallbacks").await, 0);
}

#[tokio::test]
async fn a_peer_that_is_behind_in_the_log_is_not_believed() {
    let (origin, directory) = (counting().await, tempfile::tempdir().unwrap());
    let group = Group {
        log: Some(&directory),
        ..Group::default()
    };
    let edges = group.of(1, &origin).await;
    // The other one follows no log at all.
    let loner = Group::default().edge(1, &origin, &edges.clock).await;
    let url = format!("http://{}", loner.address());
    let urls = [edges.urls[0].clone(), url.clone()];
    loner.reconfigure(&group.toml(&origin, &peers(&url, &urls, "")));
    let own = peers(&urls[0], &urls, "");
    edges.edges[0].reconfigure(&group.toml(&origin, &own));
    until(async || loner.revision() == 2 && edges.edges[0].revision() == 3).await;
    let both = Edges {
        urls: urls.to_vec(),
        ..edges
    };
    let path = both.path_of(1);
    assert_eq!(both.client(0).get(&path).await.status, 200);
    assert_eq!(both.metric(0, "fallbacks").await, 1);
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn the_owner_reads_once_for_a_crowd_on_all_edges() {
    let origin = counting().await;
    let edges = Arc::new(Edges::new(&origin).await);
    let path = edges.path_of(1);
    let mut crowd = JoinSet::new();
    for number in 0..60 {
        let (edges, path) = (Arc::clone(&edges), path.clone());
        crowd.spawn(async move { edges.text(number % 3, &path).await });
    }
    let bodies = crowd.join_all().await;
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(origin.count(), 1);
}
