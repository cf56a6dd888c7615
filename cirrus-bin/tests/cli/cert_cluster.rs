//! Two processes that share one Redis server: one dies in the middle of an order.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use cirrus_core::testing::ports;
use cirrus_core::testing::process::{PebbleServer, RedisServer};
use serde_json::Value;

use crate::support::{Cirrus, cirrus, told, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_node_was_killed_is_taken_over() {
    let (pebble, redis) = (PebbleServer::start(), RedisServer::start());
    // The authority reaches somebody who never says anything: the order hangs until it loses patience.
    let silent = TcpListener::bind(pebble.http()).unwrap();
    let first = directory(&pebble, &redis, ports::free());
    let mut dying = Cirrus::start(first.path(), &["run", "--config", "cirrus.toml"]);
    dying.admin().await;
    let lock = ["EXISTS", "cdn:acme:lock:shop.example"];
    let tokens = || {
        redis.ask(&[
            "EVAL",
            "return #redis.call('KEYS', 'cdn:acme:token:*')",
            "0",
        ])
    };
    until("the order is under way", async || {
        (redis.ask(&lock) == ":1" && tokens() == ":1").then_some(())
    })
    .await;
    dying.signal("KILL");
    dying.ended().await;
    assert_eq!(redis.ask(&lock), ":1", "nobody was left to give it back");
    drop(silent);

    let second = directory(&pebble, &redis, pebble.http());
    let mut heir = Cirrus::start(second.path(), &["run", "--config", "cirrus.toml"]);
    let admin = heir.admin().await.to_string();
    let show = || show(second.path(), &admin);
    until("the heir waits", async || {
        (show()["not_after"].is_null() && redis.ask(&lock) == ":1").then_some(())
    })
    .await;
    // What is left of the minute that the lease has: nobody should wait for that here.
    let _ = redis.ask(&["PEXPIRE", "cdn:acme:lock:shop.example", "100"]);
    let shown = until("a certificate", async || {
        Some(show()).filter(|shown| !shown["not_after"].is_null())
    })
    .await;
    assert_eq!(
        (&shown["failures"], &shown["names"][0]),
        (&0.into(), &"shop.example".into())
    );
    until("the lease is given back", async || {
        (redis.ask(&lock) == ":0").then_some(())
    })
    .await;
}

/// With a configuration whose edge answers challenges at `http`.
fn directory(pebble: &PebbleServer, redis: &RedisServer, http: SocketAddr) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "admin = {{ address = \"127.0.0.1:0\", open = true }}\n\
         [[listen]]\naddress = \"{http}\"\n[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
         [[site]]\nhosts = [\"*\"]\n[[site.route]]\nrespond = {{ status = 204 }}\n\
         [certificates.acme]\nagree_to_terms = true\nredis = {{ url = \"{}\" }}\n\
         [[certificates.acme.authority]]\nname = \"pebble\"\nurl = \"{}\"\nca = \"root.pem\"\n\
         [[certificates.acme.certificate]]\nnames = [\"shop.example\"]\n",
        redis.url(),
        pebble.url(),
    );
    std::fs::write(directory.path().join("cirrus.toml"), text).unwrap();
    std::fs::write(directory.path().join("root.pem"), pebble.root()).unwrap();
    directory
}

fn show(directory: &Path, admin: &str) -> Value {
    let mut command = cirrus(directory);
    let arguments = ["cert", "show", "shop.example", "--json", "--admin", admin];
    let told = told(command.args(arguments));
    let json = told.split("--- standard output\n").nth(1).unwrap();
    let json = json.split("--- standard error").next().unwrap();
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {told}"))
}
