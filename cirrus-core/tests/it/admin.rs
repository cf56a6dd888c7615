//! What operators see.

use cirrus_core::metrics::names;
use cirrus_core::testing::{Client, Origin, proxy, reply};

use crate::{before, site};

#[tokio::test]
async fn answers_health_and_status() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let (proxy, _) = before(&origin).await;
    let mut admin = Client::to(proxy.admin()).host("localhost");
    assert_eq!(
        (
            admin.get("/healthz").await.text(),
            admin.get("/readyz").await.text()
        ),
        ("ok\n", "ready\n")
    );
    let config: serde_json::Value =
        serde_json::from_str(admin.get("/api/v1/config").await.text()).unwrap();
    assert_eq!(
        (&config["revision"], &config["refused"]),
        (&1.into(), &serde_json::Value::Null)
    );
    assert_eq!(config["config"]["site"][0]["hosts"][0], "*");
    let status: serde_json::Value =
        serde_json::from_str(admin.get("/api/v1/status").await.text()).unwrap();
    assert_eq!(
        (&status["workers"], &status["clusters"][0]["up"]),
        (&1.into(), &1.into())
    );
    assert_eq!(admin.get("/nothing").await.status, 404);
    assert_eq!(admin.ask("POST", "/metrics", "", b"").await.status, 405);
}

#[tokio::test]
async fn counts_what_happens() {
    let origin = Origin::new().get("/", |_| reply("12345")).run().await;
    let (proxy, mut client) = before(&origin).await;
    client.get("/").await;
    client.get("/").await;
    client.get("/missing").await;
    Client::to(proxy.address()).send(b"nonsense\r\n\r\n").await;
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let page = admin.get("/metrics").await;
    let text = page.text();
    assert!(
        page.header("content-type")
            .starts_with("application/openmetrics-text")
    );
    for line in [
        r#"cirrus_requests_total{site="*",status="2xx",cache="none"} 2"#,
        r#"cirrus_requests_total{site="*",status="4xx",cache="none"} 1"#,
        r#"cirrus_response_body_bytes_total{site="*"} 10"#,
        r#"cirrus_cluster_endpoints{cluster="site *",state="up"} 1"#,
        "cirrus_request_duration_seconds_count 3",
        "cirrus_upstream_duration_seconds_count 3",
        "cirrus_config_revision 1",
        "cirrus_requests_in_flight 0",
    ] {
        assert!(
            text.lines()
                .any(|one| one == line || one == format!("{line}.0")),
            "{line} in\n{text}"
        );
    }
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn every_metric_is_there_and_explained() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let page = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    let manual = include_str!("../../../docs/operations.md");
    for metric in names::ALL {
        let cache = metric.name.starts_with("cirrus_cache_");
        assert!(
            cache || page.text().contains(&format!("# HELP {} ", metric.name)),
            "{} in the exposition",
            metric.name
        );
        assert!(
            manual.contains(&format!("`{}", metric.name)),
            "{} in docs/operations.md",
            metric.name
        );
    }
}

/// A page in a browser that has its own name resolve to this machine.
#[tokio::test]
async fn answers_to_no_name_but_localhost() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let (proxy, _) = before(&origin).await;
    for (host, status) in [
        ("evil.example", 421),
        ("127.0.0.1:9145", 200),
        ("[::1]", 200),
        ("LOCALHOST:1", 200),
    ] {
        let response = Client::to(proxy.admin())
            .host(host)
            .get("/api/v1/config")
            .await;
        assert_eq!(response.status, status, "{host}");
    }
}

#[test]
fn who_may_change_things_is_never_in_doubt() {
    use cirrus_core::config::{Abilities, Config, Format, check};
    let faults = |admin: &str, cache: &str| {
        let toml = format!(
            "[admin]\n{admin}\n[[site]]\nhosts = [\"*\"]\n\
             cache = {{ enable = true{cache} }}\norigin = [{{ url = \"http://127.0.0.1:1\" }}]\n"
        );
        match Config::parse(&toml, Format::Toml) {
            Ok((config, _)) => check(&config, Abilities::default()).to_string(),
            Err(faults) => faults.to_string(),
        }
    };
    let hash = format!("sha256:{}", "a".repeat(64));
    let tokens = format!("tokens = {{ ci = \"{hash}\" }}");
    let (local, open) = ("address = \"127.0.0.1:1\"", "address = \"0.0.0.0:1\"");
    let keys = format!(", purge = {{ keys = {{ ci = \"{hash}\" }} }}");
    assert_eq!(faults(&format!("{open}\n{tokens}"), &keys), "");
    assert_eq!(faults(&format!("{local}\nopen = true"), ""), "");
    for (admin, cache, expected) in [
        (open.to_owned(), "", "give `admin.tokens`"),
        (format!("{open}\nopen = true"), "", "give `admin.tokens`"),
        (
            format!("{local}\nopen = true\n{tokens}"),
            "",
            "so it is not open",
        ),
        (format!("{local}\ntokens = {{ ci = \"x\" }}"), "", "sha256:"),
        (local.to_owned(), ", purge = {}", "anybody could purge"),
        (
            local.to_owned(),
            ", purge = { allow = [\"x\"] }",
            "purge.allow",
        ),
    ] {
        let found = faults(&admin, cache);
        assert!(found.contains(expected), "{expected} in {found}");
    }
}
