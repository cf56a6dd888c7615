//! The configuration changes while traffic flows.

use std::time::Duration;

use cirrus_core::testing::{Client, Origin, proxy, reply};

use crate::{nowhere, site};

async fn until(proxy: &proxy::Running, revision: u64) {
    let reached = async {
        while proxy.revision() < revision {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached)
        .await
        .unwrap();
}

fn fixed(body: &str) -> String {
    format!("[[site]]\nhosts = [\"*\"]\n[[site.route]]\nrespond = {{ body = \"{body}\" }}\n")
}

#[tokio::test]
async fn a_new_configuration_takes_effect_on_open_connections() {
    let proxy = proxy::new(&fixed("one")).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/").await.text(), "one");
    proxy.reconfigure(&fixed("two"));
    until(&proxy, 2).await;
    assert_eq!(client.get("/").await.text(), "two");
}

#[tokio::test]
async fn a_configuration_with_faults_changes_nothing_and_is_reported() {
    let proxy = proxy::new(&fixed("one")).run().await;
    proxy.reconfigure("[[site]]\nhosts = [\"a\"]\ncluster = \"none\"\n[[site]]\nhosts = [\"a\"]\ncluster = \"none\"\n");
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let refused = async {
        loop {
            let config: serde_json::Value =
                serde_json::from_str(admin.get("/api/v1/config").await.text()).unwrap();
            if !config["refused"].is_null() {
                return config;
            }
        }
    };
    let config = tokio::time::timeout(Duration::from_secs(20), refused)
        .await
        .unwrap();
    assert_eq!(config["revision"], 1);
    assert_eq!(
        config["refused"]["faults"].as_array().unwrap().len(),
        3,
        "{config:#}"
    );
    assert_eq!(Client::to(proxy.address()).get("/").await.text(), "one");
    assert!(
        admin
            .get("/metrics")
            .await
            .text()
            .contains("cirrus_config_rejected_total 1")
    );
    proxy.reconfigure(&fixed("two"));
    until(&proxy, 2).await;
    let config: serde_json::Value =
        serde_json::from_str(admin.get("/api/v1/config").await.text()).unwrap();
    assert!(config["refused"].is_null(), "a good one wipes it away");
}

#[tokio::test]
async fn nothing_starts_with_faults() {
    let error = proxy::new("[[site]]\nhosts = [\"*\"]\n")
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the site serves nothing"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let proxy = proxy::new(&fixed("one")).run().await;
    let toml = format!(
        "[[listen]]\naddress = \"{}\"\n{}",
        proxy.address(),
        fixed("two")
    );
    let error = proxy::new(&toml).start().await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "cannot listen on {}: another program listens there; stop it, or choose another port",
            proxy.address()
        )
    );
}

#[tokio::test]
async fn health_survives_a_change_elsewhere() {
    let toml = |extra: &str| {
        format!(
            "[[site]]\nhosts = [\"*\"]\nhealth = {{ failures = 1, eject = \"1h\" }}\n[[site.origin]]\nurl = \"{}\"\n[[site.origin]]\nurl = \"{}\"\n{extra}",
            "http://127.0.0.1:1", "http://127.0.0.1:2"
        )
    };
    let proxy = proxy::new(&toml("")).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(client.get("/").await.status, 503);
    proxy.reconfigure(&toml(
        "[[site]]\nhosts = [\"other\"]\n[[site.route]]\nrespond = {}\n",
    ));
    until(&proxy, 2).await;
    assert_eq!(client.get("/").await.status, 503, "still out");
    proxy.reconfigure(&toml("[site.upstream_headers]\nx = \"1\"\n").replace(
        "[site.upstream_headers]\nx = \"1\"\n",
        "[[site.route]]\npath = \"/x\"\nrespond = {}\n",
    ));
    until(&proxy, 3).await;
    assert_eq!(
        client.get("/").await.status,
        503,
        "still out, though its own site was compiled again"
    );
}

#[tokio::test]
async fn requests_go_on_while_the_configuration_changes() {
    let origin = Origin::new().get("*", |_| reply("ok")).run().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let mut client = Client::to(proxy.address());
    let mut revision = 1;
    for round in 0..50 {
        proxy.reconfigure(&format!(
            "{}[[site]]\nhosts = [\"h{round}.example\"]\n[[site.origin]]\nurl = \"{}\"\n",
            site(&origin.url()),
            nowhere()
        ));
        assert_eq!(client.get("/").await.text(), "ok");
        revision += 1;
        until(&proxy, revision).await;
        assert_eq!(client.get("/").await.text(), "ok");
    }
}

#[tokio::test]
async fn what_would_break_every_message_is_refused() {
    for (toml, why) in [
        (
            "[[site.route]]\nrespond = { body = \"hello\", headers = { content-length = \"2\" } }\n",
            "cannot be set",
        ),
        (
            "upstream_headers = { transfer-encoding = \"x\" }\n[[site.route]]\nrespond = {}\n",
            "cannot be set",
        ),
        (
            "upstream_headers = { host = \"a b\" }\n[[site.route]]\nrespond = {}\n",
            "not a host",
        ),
        (
            "origin = [{ url = \"https://a.example\", sni = \"a b\" }]\n",
            "not a name",
        ),
        (
            "origin = [{ url = \"http://[::ffff:127.0.0.1]:7\" }]\n[[listen]]\naddress = \"127.0.0.1:7\"\n",
            "in a circle",
        ),
        (
            "origin = [{ url = \"http://a.example\" }]\n[[listen]]\naddress = \"127.0.0.1:7\"\n[[listen]]\naddress = \"0.0.0.0:7\"\n",
            "listens there already",
        ),
    ] {
        let error = proxy::new(&format!("[[site]]\nhosts = [\"*\"]\n{toml}"))
            .start()
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{toml}: {error}");
    }
}
