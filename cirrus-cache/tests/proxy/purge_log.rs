//! Edges that follow a log of purges in a file, and whose store survives them.

use std::path::PathBuf;

use cirrus_cache::{FileLog, MemoryStore};
use cirrus_core::cache::{Purge, PurgeLog, Selection};
use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, proxy, reply};
use tempfile::TempDir;

use crate::{MIB, is_hit, metric, until};

/// What outlives an edge.
struct Site {
    directory: TempDir,
    origin: RunningOrigin,
    store: MemoryStore,
}

impl Site {
    async fn new() -> Self {
        let origin = Origin::new().get("*", |asked| {
            reply(asked.before.to_string())
                .with("cache-control", "max-age=600")
                .with("cache-tag", asked.target.trim_matches('/'))
        });
        let clock = proxy::new("").clock();
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            origin: origin.run().await,
            store: crate::store(&clock, 16 * MIB, MIB),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> FileLog {
        FileLog::open(self.path("log")).expect("a log")
    }

    /// An edge with a name, which goes on where the last one of this name was.
    async fn edge(&self, name: &str) -> proxy::Running {
        self.edge_with(name, self.store.clone()).await
    }

    async fn edge_with(&self, name: &str, store: MemoryStore) -> proxy::Running {
        let (log, file) = (self.log().keeping(self.path(name)), self.path("log"));
        let toml = format!(
            "[admin]\naddress = \"127.0.0.1:0\"\nopen = true\n\
             [cache]\npurge_log = {{ file = {file:?}, grace = \"0s\" }}\n\
             [[site]]\nhosts = [\"*\"]\ncache = {{ enable = true }}\norigin = [{{ url = \"{}\" }}]\n",
            self.origin.url()
        );
        let proxy = proxy::new(&toml);
        let proxy = proxy.with(|builder| builder.cache(store).purge_log(log));
        proxy.run().await
    }
}

fn tag(name: &str) -> Purge {
    Purge::hard(Selection::Tag(name.into()))
}

async fn fill(proxy: &proxy::Running, paths: &[&str]) {
    let mut client = Client::to(proxy.address());
    for path in paths {
        client.get(path).await;
    }
    assert!(hits(proxy, paths).await.iter().all(|hit| *hit));
}

async fn hits(proxy: &proxy::Running, paths: &[&str]) -> Vec<bool> {
    let mut client = Client::to(proxy.address());
    let mut hits = Vec::new();
    for path in paths {
        hits.push(is_hit(&client.get(path).await));
    }
    hits
}

#[tokio::test]
async fn an_edge_that_was_away_catches_up_before_it_serves() {
    let site = Site::new().await;
    let paths = ["/a", "/b", "/c"];
    let edge = site.edge("one").await;
    fill(&edge, &paths).await;
    edge.shutdown().await;
    site.log().append_blocking(&[tag("a"), tag("c")]).unwrap();
    let edge = site.edge("one").await;
    // The very first requests.
    assert_eq!(hits(&edge, &paths).await, [false, true, false]);
    assert_eq!(metric(&edge, "cirrus_cache_purge_log_position").await, 2);
    edge.shutdown().await;
    let edge = site.edge("one").await;
    assert_eq!(
        hits(&edge, &paths).await,
        [true; 3],
        "and does nothing twice"
    );
}

#[tokio::test]
async fn a_log_that_was_cut_drops_the_cache() {
    let site = Site::new().await;
    site.log().append_blocking(&[tag("x"), tag("y")]).unwrap();
    let edge = site.edge("one").await;
    fill(&edge, &["/a", "/b"]).await;
    edge.shutdown().await;
    let text = std::fs::read_to_string(site.path("log")).unwrap();
    let head = text.lines().next().unwrap();
    std::fs::write(site.path("log"), format!("{head}\n")).unwrap();
    let edge = site.edge("one").await;
    assert_eq!(hits(&edge, &["/a", "/b"]).await, [false, false]);
    edge.shutdown().await;
    // Nobody knows how far an edge was that has lost its position.
    std::fs::remove_file(site.path("one")).unwrap();
    let edge = site.edge("one").await;
    assert_eq!(hits(&edge, &["/a", "/b"]).await, [false, false]);
}

#[tokio::test]
async fn what_one_edge_purges_is_purged_on_all() {
    let site = Site::new().await;
    let clock = proxy::new("").clock();
    let one = site.edge("one").await;
    let other = site
        .edge_with("other", crate::store(&clock, 16 * MIB, MIB))
        .await;
    let paths = ["/a", "/b"];
    fill(&one, &paths).await;
    fill(&other, &paths).await;
    let json = "content-type: application/json\r\n";
    let mut operator = Client::to(one.admin()).host("localhost");
    let body = br#"{"tags":["a"]}"#;
    let done = operator
        .ask("POST", "/api/v1/cache/purge", json, body)
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.text().contains("\"purged\""), "{}", done.text());
    assert_eq!(hits(&one, &paths).await, [false, true], "at once");
    until(async || metric(&other, "cirrus_cache_purge_log_position").await == 1).await;
    assert_eq!(hits(&other, &paths).await, [false, true]);
    // By a program beside them.
    site.log().append(&[tag("b")]).await.unwrap();
    for edge in [&one, &other] {
        until(async || metric(edge, "cirrus_cache_purge_log_position").await == 2).await;
        assert_eq!(hits(edge, &["/b"]).await, [false]);
    }
}

#[tokio::test]
async fn what_is_stored_is_not_used_while_the_log_cannot_be_read() {
    let site = Site::new().await;
    let edge = site.edge("one").await;
    fill(&edge, &["/a"]).await;
    let whole = std::fs::read(site.path("log")).unwrap();
    std::fs::write(site.path("log"), "no log at all\n").unwrap();
    until(async || metric(&edge, "cirrus_cache_purge_log_fenced").await == 1).await;
    assert_eq!(hits(&edge, &["/a"]).await, [false]);
    // It was asked for after the fence had closed, so no missed purge can concern it.
    assert_eq!(hits(&edge, &["/a"]).await, [true]);
    std::fs::write(site.path("log"), whole).unwrap();
    until(async || metric(&edge, "cirrus_cache_purge_log_fenced").await == 0).await;
    assert_eq!(hits(&edge, &["/a"]).await, [true]);
}
