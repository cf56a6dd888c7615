//! Routes that ask only those of a cluster's endpoints that have certain labels.

use std::collections::BTreeSet;

use cirrus_core::testing::{Client, RunningOrigin, proxy};

use crate::balancing::origins;

/// Endpoints 0 and 1 have `version = "v1"`, 2 has `"v2"`, 3 has none.
fn cluster(origins: &[RunningOrigin]) -> String {
    let labels = [
        "version = \"v1\"",
        "version = \"v1\"",
        "version = \"v2\", canary = \"yes\"",
        "",
    ];
    let one = |(origin, labels): (&RunningOrigin, &&str)| {
        let url = origin.url();
        format!("[[cluster.origin]]\nurl = \"{url}\"\nlabels = {{ {labels} }}\n")
    };
    let all: String = origins.iter().zip(&labels).map(one).collect();
    format!("[[cluster]]\nname = \"shop\"\n{all}")
}

fn route(path: &str, subset: &str) -> String {
    format!("[[site.route]]\npath = \"{path}\"\ncluster = \"shop\"\nsubset = {{ {subset} }}\n")
}

/// Who answers.
async fn asked(proxy: &proxy::Running, path: &str) -> BTreeSet<String> {
    let mut client = Client::to(proxy.address());
    let mut seen = BTreeSet::new();
    for _ in 0..12 {
        seen.insert(client.get(path).await.text().to_owned());
    }
    seen
}

fn these(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_route_asks_those_with_its_labels() {
    let origins = origins(4).await;
    let toml = format!(
        "{}[[site]]\nhosts = [\"*\"]\ncluster = \"shop\"\n{}{}{}{}",
        cluster(&origins),
        route("/v1", "labels = { version = \"v1\" }"),
        route("/both", "labels = { version = \"v2\", canary = \"yes\" }"),
        route("/nobody", "labels = { version = \"v1\", canary = \"yes\" }"),
        route("/any", "labels = { version = \"v3\" }, fallback = \"any\"")
    );
    let proxy = proxy::new(&toml).run().await;
    assert_eq!(asked(&proxy, "/").await, these(&["0", "1", "2", "3"]));
    assert_eq!(asked(&proxy, "/v1").await, these(&["0", "1"]));
    assert_eq!(asked(&proxy, "/both").await, these(&["2"]));
    assert_eq!(asked(&proxy, "/any").await, these(&["0", "1", "2", "3"]));
    let nobody = Client::to(proxy.address()).get("/nobody").await;
    assert_eq!(nobody.status, 503);
    assert!(!nobody.header("retry-after").is_empty());
}

#[tokio::test]
async fn labels_change_while_running_and_what_is_out_is_passed_over() {
    let origins = origins(4).await;
    let toml = |cluster: &str| {
        let v1 = route("/v1", "labels = { version = \"v1\" }, fallback = \"any\"");
        format!("{cluster}[[site]]\nhosts = [\"*\"]\ncluster = \"shop\"\n{v1}")
    };
    let before = cluster(&origins);
    let proxy = proxy::new(&toml(&before)).run().await;
    assert_eq!(asked(&proxy, "/v1").await, these(&["0", "1"]));
    crate::canary::change(&proxy, &toml(&before.replacen("v1", "v9", 1))).await;
    assert_eq!(asked(&proxy, "/v1").await, these(&["1"]));
    // The only one left cannot be reached: the others stand in.
    origins[1].stop();
    let others = asked(&proxy, "/v1").await;
    assert_eq!(others, these(&["0", "2", "3"]));
}

#[tokio::test]
async fn shares_of_one_cluster_go_by_labels() {
    let origins = origins(4).await;
    let toml = |v1: u16, v2: u16| {
        let part = |version: &str, weight: u16| {
            format!(
                "{{ cluster = \"shop\", weight = {weight}, subset = {{ labels = {{ version = \"{version}\" }} }} }}"
            )
        };
        format!(
            "{}[[site]]\nhosts = [\"*\"]\n[[site.route]]\nsplit = [{}, {}]\n",
            cluster(&origins),
            part("v1", v1),
            part("v2", v2)
        )
    };
    let proxy = proxy::new(&toml(1, 0)).run().await;
    assert_eq!(asked(&proxy, "/").await, these(&["0", "1"]));
    crate::canary::change(&proxy, &toml(0, 1)).await;
    assert_eq!(asked(&proxy, "/").await, these(&["2"]));
}
