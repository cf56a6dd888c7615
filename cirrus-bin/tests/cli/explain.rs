//! `cirrus explain`: what a configuration makes of a request.

use crate::support::{cirrus, told};

const SHOP: &str = r#"
    [[site]]
    hosts = ["shop.example", "www.shop.example"]
    origin = [{ url = "http://127.0.0.1:3000" }]
    rate_limit = [{ rate = "10/s" }]
    compression = {}

    [site.cache]
    enable = true
    key = { query = { drop = ["utm_*"] }, sort_query = true, cookies = ["lang"], host = "shop.example" }
    bypass = { cookies = ["session*"], paths = ["/basket"] }

    [[site.route]]
    path = "/api/*"
    cluster = "api"
    cache = { enable = false }
    compression = { enable = false }

    [[site.route]]
    path = "/old"
    redirect = { to = "/new" }

    [[site.route]]
    path = "/only"
    methods = ["POST"]
    respond = { status = 204 }

    [[cluster]]
    name = "api"
    origin = [{ url = "http://127.0.0.1:3001" }]
"#;

fn explained(config: &str, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cirrus.toml"), config).unwrap();
    let mut command = cirrus(directory.path());
    command.args(["explain", "--config", "cirrus.toml"]);
    let told = told(command.args(arguments));
    told.replace(&format!("{}/", directory.path().display()), "DIRECTORY/")
}

fn shop(arguments: &[&str]) -> String {
    explained(SHOP, arguments)
}

#[test]
fn a_request_that_may_be_cached() {
    let url = "https://www.shop.example/x?utm_source=a&page=2&id=1";
    insta::assert_snapshot!(shop(&[url, "-H", "Cookie: lang=de"]));
}

#[test]
fn requests_that_are_not_looked_up() {
    let asks: [&[&str]; 5] = [
        &["http://shop.example/", "-H", "Cookie: session_id=1"],
        &["http://shop.example/basket"],
        &["http://shop.example/", "-H", "Cache-Control: no-store"],
        &["http://shop.example/x?b&a", "-X", "POST"],
        &["http://shop.example/api/x"],
    ];
    insta::assert_snapshot!(asks.map(shop).join("\n"));
}

#[test]
fn requests_that_are_answered_at_once() {
    let asks: [&[&str]; 5] = [
        &["http://shop.example/old"],
        &["http://other.example/"],
        &["http://shop.example/only"],
        &["http://shop.example/", "-H", "Host: x y"],
        &["http://shop.example/a/../../b"],
    ];
    insta::assert_snapshot!(asks.map(shop).join("\n"));
}

#[test]
fn as_json() {
    insta::assert_snapshot!(shop(&["--json", "https://shop.example/x?id=1"]));
}

#[test]
fn what_cannot_be_explained() {
    let faulty = explained("sites = 1\n", &["http://shop.example/"]);
    let asks: [&[&str]; 3] = [
        &["shop.example"],
        &["http://shop.example/", "-H", "Cookie"],
        &["http://shop.example/", "-X", "G T"],
    ];
    insta::assert_snapshot!(format!("{faulty}\n{}", asks.map(shop).join("\n")));
}
