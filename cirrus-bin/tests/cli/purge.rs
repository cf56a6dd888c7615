//! `cirrus purge` and `cirrus prefetch`, against an edge that runs.

use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, reply};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Cirrus, cirrus, told, until};

/// Of `secret`.
const HASH: &str = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

struct Edge {
    directory: TempDir,
    cirrus: Cirrus,
    admin: String,
    client: Client,
    origin: RunningOrigin,
}

impl Edge {
    async fn start() -> Self {
        let origin = Origin::new()
            .get("/missing", |_| reply("").with_status(404))
            .get("*", |asked| {
                reply(asked.before.to_string())
                    .with("cache-control", "max-age=600")
                    .with("cache-tag", "page")
            });
        let (origin, directory) = (origin.run().await, tempfile::tempdir().unwrap());
        let text = format!(
            "listen = [{{ address = \"127.0.0.1:0\" }}]\n\
             admin = {{ address = \"127.0.0.1:0\", tokens = {{ ci = \"{HASH}\" }} }}\n\
             cache = {{ purge_log = {{ file = \"purges.log\", position = \"position\" }} }}\n\
             [[site]]\nhosts = [\"*\"]\ncache = {{ enable = true }}\norigin = [{{ url = \"{}\" }}]\n",
            origin.url()
        );
        std::fs::write(directory.path().join("cirrus.toml"), text).unwrap();
        std::fs::write(directory.path().join("token"), "secret\n").unwrap();
        let mut cirrus = Cirrus::start(directory.path(), &["run", "--config", "cirrus.toml"]);
        let client = Client::to(cirrus.address().await);
        let admin = cirrus.admin().await.to_string();
        Self {
            directory,
            cirrus,
            admin,
            client,
            origin,
        }
    }

    /// Runs the program in the edge's directory, with the token.
    fn told(&self, arguments: &[&str]) -> String {
        let mut command = cirrus(self.directory.path());
        command.args(arguments);
        command.args(["--admin", &self.admin, "--token-file", "token"]);
        told(&mut command)
    }

    async fn is_hit(&mut self, path: &str) -> bool {
        self.client
            .get(path)
            .await
            .header("cache-status")
            .contains("hit")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_what_it_is_told() {
    let mut edge = Edge::start().await;
    for arguments in [
        &["purge", "http://shop.example/a"][..],
        &["purge", "--prefix", "shop.example/a"],
        &["purge", "--tag", "page"],
        &["purge", "--host", "shop.example"],
        &["purge", "--all"],
    ] {
        edge.client.get("/a").await;
        assert!(edge.is_hit("/a").await);
        let told = edge.told(arguments);
        assert!(
            told.starts_with("status 0\n--- standard output\npurged"),
            "{told}"
        );
        assert!(!edge.is_hit("/a").await, "{arguments:?}");
    }
    let logged = edge.cirrus.logged("ci from ").await;
    assert!(
        logged.starts_with("127.0.0.1"),
        "who it was stands in the log: {logged}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_it_could_not_purge() {
    let edge = Edge::start().await;
    let told = edge.told(&["purge", "http://shop.example/a", "nonsense"]);
    assert!(told.starts_with("status 1"), "{told}");
    assert!(
        told.contains("failed  url    nonsense  (a whole URL is needed"),
        "{told}"
    );
    assert!(told.contains("1 of 2 could not be purged"), "{told}");
    let told = edge.told(&["purge", "--json", "--soft", "--tag", "a"]);
    let json = told.split("--- standard output\n").nth(1).unwrap();
    let json = json.split("--- standard error").next().unwrap();
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        (&json["soft"], &json["results"][0]["kind"]),
        (&true.into(), &"tag".into())
    );
    std::fs::write(edge.directory.path().join("token"), "wrong").unwrap();
    let told = edge.told(&["purge", "--all"]);
    assert!(told.contains("cirrus: a token is needed"), "{told}");
    let mut command = cirrus(edge.directory.path());
    command.args(["purge", "--all", "--admin", &edge.admin]);
    let told = crate::support::told(command.env("CIRRUS_TOKEN", "secret"));
    assert!(told.starts_with("status 0"), "{told}");
}

#[test]
fn says_that_nobody_listens() {
    let told = told(cirrus(".".as_ref()).args(["purge", "--all", "--admin", "127.0.0.1:1"]));
    assert!(
        told.contains("cannot reach the admin listener at 127.0.0.1:1"),
        "{told}"
    );
    assert!(told.contains("is the edge running"), "{told}");
    let nothing = crate::support::told(cirrus(".".as_ref()).arg("purge"));
    assert!(nothing.starts_with("status 2"), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_reaches_edges_that_run() {
    let mut edge = Edge::start().await;
    edge.client.get("/a").await;
    let purge = |log: &str| {
        let mut command = cirrus(edge.directory.path());
        told(command.args(["purge", "--tag", "page", "--log", log]))
    };
    assert!(purge("purges.log").contains("logged  tag    page"));
    assert!(purge("purge.log").contains("there is no such log"));
    until("the purge", async || {
        (!edge.is_hit("/a").await).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_a_list_beforehand() {
    let mut edge = Edge::start().await;
    let list = "# pages\nhttp://shop.example/a\n\nhttp://shop.example/b\n";
    std::fs::write(edge.directory.path().join("urls.txt"), list).unwrap();
    let told = edge.told(&["prefetch", "urls.txt", "http://shop.example/c"]);
    assert!(told.contains("status 0"), "{told}");
    assert!(
        told.contains("3 fetched, 3 stored, 0 there already, 0 failed, 3 bytes"),
        "{told}"
    );
    assert!(edge.is_hit("/b").await && edge.is_hit("/c").await);
    assert_eq!(edge.origin.count(), 3);
    let told = edge.told(&[
        "prefetch",
        "http://shop.example/a",
        "http://shop.example/missing",
    ]);
    assert!(told.starts_with("status 1"), "{told}");
    assert!(
        told.contains("failed  http://shop.example/missing  (status 404)"),
        "{told}"
    );
    assert!(
        edge.told(&["prefetch", "nowhere.txt"])
            .contains("nowhere.txt: No such file")
    );
}
