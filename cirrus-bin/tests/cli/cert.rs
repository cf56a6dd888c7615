//! `cirrus cert`, against an edge that gets its certificates from Pebble.

use std::os::unix::fs::PermissionsExt;

use cirrus_core::testing::certs;
use cirrus_core::testing::process::PebbleServer;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Cirrus, cirrus, told, until};

/// Of `secret`.
const HASH: &str = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

struct Edge {
    directory: TempDir,
    /// Dropped, it ends.
    _cirrus: Cirrus,
    admin: String,
    pebble: PebbleServer,
}

impl Edge {
    async fn start() -> Self {
        let (pebble, directory) = (PebbleServer::start(), tempfile::tempdir().unwrap());
        let text = format!(
            "admin = {{ address = \"127.0.0.1:0\", tokens = {{ ci = \"{HASH}\" }} }}\n\
             [[listen]]\naddress = \"{}\"\n[[listen]]\naddress = \"{}\"\ntls = true\n\
             [[site]]\nhosts = [\"*\"]\n[[site.route]]\nrespond = {{ status = 204 }}\n\
             [certificates.acme]\nagree_to_terms = true\n\
             [[certificates.acme.authority]]\nname = \"pebble\"\nurl = \"{}\"\nca = \"root.pem\"\n\
             [[certificates.acme.certificate]]\nnames = [\"shop.example\", \"www.shop.example\"]\n",
            pebble.http(),
            pebble.tls(),
            pebble.url(),
        );
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("cirrus.toml"), text).unwrap();
        std::fs::write(file("root.pem"), pebble.root()).unwrap();
        std::fs::write(file("token"), "secret\n").unwrap();
        let mut cirrus = Cirrus::start(directory.path(), &["run", "--config", "cirrus.toml"]);
        let admin = cirrus.admin().await.to_string();
        Self {
            directory,
            _cirrus: cirrus,
            admin,
            pebble,
        }
    }

    /// Runs `cirrus cert` in the edge's directory.
    fn told(&self, arguments: &[&str]) -> String {
        let mut command = cirrus(self.directory.path());
        command.arg("cert").args(arguments);
        told(command.args(["--admin", &self.admin, "--token-file", "token"]))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let told = self.told(&[arguments, &["--json"]].concat());
        let json = told.split("--- standard output\n").nth(1).unwrap();
        let json = json.split("--- standard error").next().unwrap();
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {told}"))
    }

    /// Until the edge has obtained what its configuration wants.
    async fn obtained(&self) -> Value {
        until("a certificate", async || {
            let shown = self.json(&["show", "shop.example"]);
            (!shown["not_after"].is_null()).then_some(shown)
        })
        .await
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_shows_and_renews() {
    let edge = Edge::start().await;
    let before = edge.obtained().await;
    assert_eq!(before["authority"], "pebble");
    assert_eq!(before["names"][1], "www.shop.example");
    assert_eq!(before["key"], Value::Null, "nobody has asked for it");
    let list = edge.told(&["list"]);
    assert!(list.contains("shop.example  acme"), "{list}");
    assert!(list.contains("  good\n"), "{list}");
    let shown = edge.told(&["show", "www.shop.example"]);
    assert!(shown.contains("name       shop.example\n"), "{shown}");

    let told = edge.told(&["renew", "www.shop.example"]);
    assert!(told.starts_with("status 0"), "{told}");
    assert!(told.contains("done    www.shop.example"), "{told}");
    let after = edge.json(&["show", "shop.example"]);
    assert_ne!(before["chain"], after["chain"]);
    assert!(after["next_renewal"].as_u64() > after["last_attempt"].as_u64());

    let told = edge.told(&["renew", "other.example"]);
    assert!(told.starts_with("status 1"), "{told}");
    assert!(
        told.contains("there is no certificate `other.example`"),
        "{told}"
    );
    assert!(told.contains("1 of 1 failed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn issues_what_is_asked_for() {
    let edge = Edge::start().await;
    edge.obtained().await;
    let told = edge.json(&["issue", "A.one.example", "b.one.example"]);
    assert_eq!(told["results"][0]["result"], "done", "{told}");
    let shown = edge.json(&["show", "a.one.example"]);
    assert_eq!(shown["names"][1], "b.one.example");
    // No HTTP-01 for wildcards, and no DNS to write to.
    let told = edge.told(&["issue", "*.two.example"]);
    assert!(told.starts_with("status 1"), "{told}");
    assert!(told.contains("offers no http-01"), "{told}");
    let told = edge.told(&["issue", "../../etc/passwd"]);
    assert!(told.contains("is no DNS name"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_and_exports() {
    let edge = Edge::start().await;
    edge.obtained().await;
    let pair = certs::for_names(&["own.example"]);
    let file = |name: &str| edge.directory.path().join(name);
    std::fs::write(file("own.pem"), &pair.chain_pem).unwrap();
    std::fs::write(file("own.key"), &pair.key_pem).unwrap();
    let told = edge.told(&["import", "own.pem", "own.key"]);
    assert!(told.contains("name       own.example\n"), "{told}");
    let other = certs::for_names(&["other.example"]);
    std::fs::write(file("other.key"), &other.key_pem).unwrap();
    let told = edge.told(&["import", "own.pem", "other.key"]);
    assert!(told.starts_with("status 1"), "{told}");
    let told = edge.told(&["import", "own.pem", "nowhere.key"]);
    assert!(told.contains("nowhere.key: No such file"), "{told}");

    let export = ["export", "own.example", "--output", "chain.out"];
    assert!(edge.told(&export).starts_with("status 0"));
    assert!(!edge.file("chain.out").contains("PRIVATE KEY"));
    assert!(edge.told(&export).contains("chain.out: File exists"));
    edge.told(&["export", "own.example", "--key", "--output", "all.out"]);
    assert_eq!(edge.file("all.out"), pair.key_pem + &pair.chain_pem);
    let mode = file("all.out").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn revokes() {
    let edge = Edge::start().await;
    let before = edge.obtained().await;
    let told = edge.told(&["revoke", "shop.example", "--compromised"]);
    assert!(told.contains("done    shop.example"), "{told}");
    let after = edge.json(&["show", "shop.example"]);
    assert_ne!(before["chain"], after["chain"], "it is replaced");

    edge.told(&["issue", "once.example"]);
    let told = edge.told(&["revoke", "once.example"]);
    assert!(told.contains("done    once.example"), "{told}");
    let told = edge.told(&["show", "once.example"]);
    assert!(
        told.contains("there is no certificate `once.example`"),
        "{told}"
    );
    drop(edge.pebble);
}

#[tokio::test(flavor = "multi_thread")]
async fn says_that_there_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let text = "listen = [{ address = \"127.0.0.1:0\" }]\nadmin = { address = \"127.0.0.1:0\", open = true }\n\
                [[site]]\nhosts = [\"*\"]\n[[site.route]]\nrespond = { status = 204 }\n";
    std::fs::write(directory.path().join("cirrus.toml"), text).unwrap();
    let mut edge = Cirrus::start(directory.path(), &["run", "--config", "cirrus.toml"]);
    let admin = edge.admin().await.to_string();
    let ask = |arguments: &[&str]| {
        let mut command = cirrus(directory.path());
        command.arg("cert").args(arguments);
        told(command.args(["--admin", &admin]))
    };
    assert!(ask(&["list"]).contains("there are no certificates in memory"));
    let told = ask(&["export", "a.example", "--key"]);
    assert!(told.contains("even where `open = true`"), "{told}");
    let told = ask(&["issue", "a.example"]);
    assert!(told.contains("this edge has no `[certificates]`"), "{told}");
}
