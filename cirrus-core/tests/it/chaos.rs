//! Endpoints die, fall silent and come back under load. Clients notice nothing.

use std::net::SocketAddr;
use std::time::Duration;

use cirrus_core::testing::{Client, Forwarder, Load, Origin, RunningOrigin, ports, proxy, reply};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::upstream::metric;

/// The longest that anything is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// At the most: a slow machine has less, and what is asserted does not depend on it.
const PER_SECOND: u32 = 2000;
const CLIENTS: u32 = 32;

async fn origin(name: &'static str, address: SocketAddr) -> RunningOrigin {
    let origin = Origin::new().get("*", move |_| reply(name));
    origin.run_at(address).await
}

async fn three() -> [RunningOrigin; 3] {
    [
        origin("a", ports::free()).await,
        origin("b", ports::free()).await,
        origin("c", ports::free()).await,
    ]
}

fn cluster(rules: &str, addresses: &[SocketAddr]) -> String {
    let list: String = addresses
        .iter()
        .map(|at| format!("[[cluster.origin]]\nurl = \"http://{at}\"\n"))
        .collect();
    format!(
        "[[cluster]]\nname = \"shop\"\n{rules}\n{list}[[site]]\nhosts = [\"*\"]\ncluster = \"shop\"\n"
    )
}

async fn until_up(proxy: &proxy::Running, wanted: [bool; 3]) {
    let mut admin = Client::to(proxy.admin()).host("localhost");
    let waiting = async {
        loop {
            let told = admin.get("/api/v1/clusters/shop").await;
            let told: Value = serde_json::from_str(told.text()).unwrap();
            let endpoints = told["endpoints"].as_array().unwrap();
            if endpoints.iter().map(|one| &one["up"]).eq(&wanted) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, waiting).await.expect("up and down in time");
}

/// How large a share of the next answers is this one's, in percent.
async fn share(load: &Load, name: &str) -> usize {
    let of = |load: &Load| {
        let answers = load.answers();
        let all: usize = answers.values().sum();
        (answers.get(name).copied().unwrap_or(0), all)
    };
    let before = of(load);
    load.rounds(10).await;
    let after = of(load);
    (after.0 - before.0) * 100 / (after.1 - before.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_dies_and_comes_back_slowly() {
    let origins = three().await;
    let addresses = origins.each_ref().map(RunningOrigin::address);
    let eject = Duration::from_secs(1);
    let rules = "retry = { attempts = 3, back_off = \"1ms\", budget_min = 1000 }\n\
                 health = { failures = 3, eject = \"1s\", max_eject = \"1s\" }\n\
                 balance = { slow_start = \"8s\" }";
    let proxy = proxy::new(&cluster(rules, &addresses)).run().await;
    let load = Load::on(proxy.address(), CLIENTS, PER_SECOND);
    load.rounds(10).await;

    origins[1].stop();
    let died = Instant::now();
    until_up(&proxy, [true, false, true]).await;
    assert!(died.elapsed() < Duration::from_secs(20));
    assert!(metric(&proxy, "cirrus_upstream_ejections_total").await >= 1.0);
    load.rounds(10).await;
    assert!(!load.answers().is_empty());

    let reborn = origin("b again", addresses[1]).await;
    let came = async {
        while reborn.count() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, came).await.expect("it is asked again");
    assert!(died.elapsed() >= eject, "it was left alone for its time");
    let first = share(&load, "b again").await;
    let whole = async { while share(&load, "b again").await < 28 {} };
    timeout(LIMIT, whole).await.expect("its share grows");
    assert!(first < 25, "{first} % at once");
    until_up(&proxy, [true; 3]).await;
    assert_eq!(load.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_is_cut_off_and_comes_back() {
    let origins = three().await;
    let network = Forwarder::to(origins[1].address()).await;
    let [first, _, last] = origins.each_ref().map(RunningOrigin::address);
    let rules = "retry = { on = [\"connect\", \"reset\", \"timeout\"], attempts = 3, back_off = \"1ms\", \
                 per_try_timeout = \"200ms\", budget_min = 1000 }\n\
                 health = { gateway_errors = 3, eject = \"1s\", max_eject = \"1s\" }";
    let text = cluster(rules, &[first, network.address(), last]);
    let proxy = proxy::new(&text).run().await;
    let load = Load::on(proxy.address(), 8, 400);
    load.rounds(10).await;
    for silent in [true, false] {
        match silent {
            true => network.cut(),
            false => network.refuse(),
        }
        until_up(&proxy, [true, false, true]).await;
        load.rounds(10).await;
        network.heal();
        let before = origins[1].count();
        let back = async {
            while origins[1].count() < before + 10 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, back).await.expect("it is asked again");
        until_up(&proxy, [true; 3]).await;
    }
    assert_eq!(load.end().await, [""; 0]);
}
