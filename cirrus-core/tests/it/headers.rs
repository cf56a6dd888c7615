//! Header fields that a configuration changes, towards the origin and towards the client.

use cirrus_core::config::{Config, Format};
use cirrus_core::testing::{Client, Describe, Origin, proxy, reply};

use crate::{nowhere, site};

#[tokio::test]
async fn the_origin_gets_what_the_route_makes_of_a_request() {
    let origin = Origin::new().get("*", |_| reply("")).run().await;
    let url = origin.url();
    let proxy = proxy::new(&format!(
        r#"
        [[site]]
        hosts = ["*"]
        upstream_headers = {{ x-site = "1", x-both = "site" }}
        [site.request_headers]
        remove = ["cookie", "x-forwarded-for"]
        set = {{ x-both = "edited", host = "inside.example" }}
        add = {{ x-list = "more" }}
        [[site.origin]]
        url = "{url}"
        [[site.route]]
        path = "/own/*"
        request_headers = {{ set = {{ x-route = "yes" }} }}
        origin = [{{ url = "{url}" }}]
        "#
    ))
    .run()
    .await;
    let mut client = Client::to(proxy.address());
    client
        .get_with("/", "cookie: a=1\r\nx-list: one\r\nx-both: client\r\n")
        .await;
    client.get_with("/own/", "cookie: a=1\r\n").await;
    let asked = origin.asked();
    let of = |index: usize, name: &str| asked[index].header(name);
    assert_eq!(of(0, "cookie"), "");
    assert_eq!(of(0, "x-forwarded-for"), "", "edits have the last word");
    assert_eq!(of(0, "x-site"), "1");
    assert_eq!(of(0, "x-both"), "edited");
    assert_eq!(of(0, "x-list"), "one, more");
    assert_eq!(of(0, "host"), "inside.example");
    assert_eq!(of(1, "x-route"), "yes");
    assert_eq!(of(1, "x-site"), "1");
    assert_eq!(
        of(1, "cookie"),
        "a=1",
        "a route's table replaces its site's"
    );
    assert_eq!(of(1, "x-both"), "site");
}

#[tokio::test]
async fn every_response_to_a_client_is_changed_errors_too() {
    let origin = Origin::new()
        .get("/", |_| {
            reply("")
                .with("server", "origin/1")
                .with("x-many", "1")
                .with("x-many", "2")
                .with("vary", "accept")
        })
        .run()
        .await;
    let proxy = proxy::new(&format!(
        r#"
        [[site]]
        hosts = ["shop.example"]
        [site.response_headers]
        remove = ["server", "x-many"]
        set = {{ strict-transport-security = "max-age=1", report-to = '{{"a":[1]}}' }}
        add = {{ vary = "x-a", x-many = "3" }}
        [[site.route]]
        path = "/"
        origin = [{{ url = "{}" }}]
        [[site.route]]
        path = "/down"
        origin = [{{ url = "{}" }}]
        [[site.route]]
        path = "/get"
        methods = ["GET"]
        respond = {{ body = "fixed" }}
        [[site.route]]
        path = "/plain"
        response_headers = {{ set = {{ x-route = "1" }} }}
        respond = {{ body = "fixed" }}
        "#,
        origin.url(),
        nowhere()
    ))
    .run()
    .await;
    let mut client = Client::to(proxy.address());
    let ok = client.get("/").await;
    assert_eq!(ok.header("server"), "");
    assert_eq!(ok.header("x-many"), "3");
    assert_eq!(ok.header("vary"), "accept, x-a");
    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/down", 502),
        ("GET", "/get", 200),
        ("POST", "/get", 405),
        ("GET", "/nothing", 404),
    ] {
        let reply = client.ask(method, path, "", b"").await;
        assert_eq!(reply.status, status, "{path}");
        let hsts = reply.header("strict-transport-security");
        assert_eq!(hsts, "max-age=1", "{method} {path}");
        assert_eq!(reply.header("report-to"), "{\"a\":[1]}");
    }
    let refused = client.ask("POST", "/get", "", b"").await;
    assert_eq!(refused.header("allow"), "GET, HEAD");
    let own = client.get("/plain").await;
    assert_eq!(own.header("x-route"), "1");
    assert_eq!(own.header("strict-transport-security"), "");
}

fn faults(table: &str) -> String {
    let text = format!("{}{table}\n", site("http://127.0.0.1:1"));
    let config = match Config::parse(&text, Format::Toml) {
        Ok((config, _)) => config,
        Err(faults) => return faults.to_string(),
    };
    cirrus_core::config::check(&config, cirrus_core::config::Abilities::default()).to_string()
}

#[test]
fn fields_that_belong_to_a_message_cannot_be_changed() {
    for (table, place) in [
        (
            "[site.request_headers]\nset = { connection = \"close\" }",
            "request_headers.set.connection",
        ),
        (
            "[site.request_headers]\nremove = [\"x\", \"Via\"]",
            "request_headers.remove[1]",
        ),
        (
            "[site.request_headers]\nadd = { host = \"b\" }",
            "request_headers.add.host",
        ),
        (
            "[site.request_headers]\nremove = [\"CDN-Loop\"]",
            "request_headers.remove[0]",
        ),
        (
            "[site.request_headers]\nset = { host = \"a b\" }",
            "request_headers.set.host",
        ),
        (
            "[site.response_headers]\nadd = { content-length = \"1\" }",
            "response_headers.add.content-length",
        ),
        (
            "[site.response_headers]\nset = { X-A = \"1\", x-a = \"2\" }",
            "x-a",
        ),
        (
            "[[site.route]]\npath = \"/a\"\nrespond = {}\nrequest_headers = {}",
            "route[0].request_headers",
        ),
    ] {
        let faults = faults(table);
        assert!(faults.contains(place), "{table}\n{faults}");
    }
    let good =
        "[site.response_headers]\nremove = [\"server\"]\nset = { a = \"1\" }\nadd = { a = \"2\" }";
    assert_eq!(faults(good), "");
}
