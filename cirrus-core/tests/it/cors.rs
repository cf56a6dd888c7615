//! Scripts of other origins: who may read what.

use cirrus_core::config::{Abilities, Config, Format, check};
use cirrus_core::testing::{Client, Describe, Origin, Reply, RunningOrigin, proxy, reply};

use crate::{nowhere, site};

const CREDENTIALS: &str = r#"
[site.cors]
origins = ["https://a.example", "https://*.b.example:8443"]
methods = ["GET", "DELETE"]
headers = ["x-token", "content-type"]
expose = ["x-total"]
credentials = true
max_age = "10m"
"#;

async fn origin() -> RunningOrigin {
    Origin::new()
        .get("*", |_| {
            reply("content")
                .with("access-control-allow-origin", "https://evil.example")
                .with("access-control-allow-credentials", "true")
                .with("access-control-expose-headers", "x-secret")
        })
        .run()
        .await
}

/// The fields that a browser decides by.
fn verdict(reply: &Reply) -> [String; 4] {
    [
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-expose-headers",
        "vary",
    ]
    .map(|name| reply.header(name))
}

#[tokio::test]
async fn only_known_origins_are_named() {
    let origin = origin().await;
    let proxy = proxy::new(&format!("{}{CREDENTIALS}", site(&origin.url())))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    for asking in [
        "https://a.example",
        "https://x.b.example:8443",
        "https://x.y.b.example:8443",
    ] {
        let reply = client.get_with("/", &format!("origin: {asking}\r\n")).await;
        assert_eq!(
            verdict(&reply),
            [asking, "true", "x-total", "Origin"],
            "{asking}"
        );
    }
    for asking in [
        "http://a.example",
        "https://a.example:444",
        "https://a.example.evil.example",
        "https://b.example:8443",
        "https://x.b.example",
        "https://evilb.example:8443",
        "https://x/.b.example:8443",
        "https://.b.example:8443",
        "https://A.example",
        "null",
        "*",
        "",
    ] {
        let reply = client.get_with("/", &format!("origin: {asking}\r\n")).await;
        assert_eq!((reply.status, reply.text()), (200, "content"));
        assert_eq!(verdict(&reply), ["", "", "", "Origin"], "{asking}");
    }
    let reply = client.get("/").await;
    assert_eq!(verdict(&reply), ["", "", "", "Origin"], "nobody asks");
}

#[tokio::test]
async fn preflights_are_answered_here() {
    let origin = origin().await;
    let proxy = proxy::new(&format!("{}{CREDENTIALS}", site(&origin.url())))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    let lines = "origin: https://a.example\r\naccess-control-request-method: DELETE\r\naccess-control-request-headers: x-token\r\n";
    let reply = client.ask("OPTIONS", "/x", lines, b"").await;
    assert_eq!((reply.status, reply.text()), (204, ""));
    assert_eq!(verdict(&reply), ["https://a.example", "true", "", "Origin"]);
    assert_eq!(reply.header("access-control-allow-methods"), "GET, DELETE");
    assert_eq!(
        reply.header("access-control-allow-headers"),
        "x-token, content-type"
    );
    assert_eq!(reply.header("access-control-max-age"), "600");
    let lines = "origin: https://evil.example\r\naccess-control-request-method: DELETE\r\n";
    let reply = client.ask("OPTIONS", "/x", lines, b"").await;
    assert_eq!(reply.status, 204);
    assert_eq!(verdict(&reply), ["", "", "", "Origin"]);
    assert_eq!(reply.header("access-control-allow-methods"), "");
    assert_eq!(origin.count(), 0, "no preflight is sent on");
    for lines in [
        "",
        "origin: https://a.example\r\n",
        "access-control-request-method: GET\r\n",
    ] {
        assert_eq!(
            client.ask("OPTIONS", "/x", lines, b"").await.status,
            200,
            "{lines}"
        );
    }
    assert_eq!(origin.count(), 3, "other OPTIONS requests are the origin's");
}

#[tokio::test]
async fn everybody_may_read_what_is_for_everybody() {
    let origin = origin().await;
    let cors = "[site.cors]\norigins = [\"*\"]\nheaders = [\"*\"]\n";
    let proxy = proxy::new(&format!("{}{cors}", site(&origin.url())))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    for lines in ["", "origin: https://a.example\r\n", "origin: null\r\n"] {
        let reply = client.get_with("/", lines).await;
        assert_eq!(verdict(&reply), ["*", "", "", ""], "{lines}");
    }
    let lines = "origin: https://a.example\r\naccess-control-request-method: PUT\r\n";
    let reply = client.ask("OPTIONS", "/", lines, b"").await;
    assert_eq!(reply.header("access-control-allow-headers"), "*");
    assert_eq!(reply.header("access-control-allow-methods"), "");
}

#[tokio::test]
async fn scripts_may_read_errors_and_ask_for_what_no_route_answers() {
    let proxy = proxy::new(&format!(
        r#"
        [[site]]
        hosts = ["*"]
        cors = {{ origins = ["https://a.example"], methods = ["PUT"] }}
        [[site.route]]
        path = "/down"
        methods = ["PUT"]
        origin = [{{ url = "{}" }}]
        [[site.route]]
        path = "/own"
        cors = {{ origins = ["https://b.example"] }}
        respond = {{ body = "own" }}
        "#,
        nowhere()
    ))
    .run()
    .await;
    let mut client = Client::to(proxy.address());
    let ours = "origin: https://a.example\r\n";
    for (method, path, status) in [
        ("PUT", "/down", 502),
        ("GET", "/none", 404),
        ("GET", "/down", 405),
    ] {
        let reply = client.ask(method, path, ours, b"").await;
        assert_eq!(reply.status, status);
        assert_eq!(
            reply.header("access-control-allow-origin"),
            "https://a.example",
            "{path}"
        );
    }
    let lines = format!("{ours}access-control-request-method: PUT\r\n");
    let reply = client.ask("OPTIONS", "/down", &lines, b"").await;
    assert_eq!(
        (reply.status, reply.header("access-control-allow-methods")),
        (204, "PUT".into())
    );
    let own = client.get_with("/own", ours).await;
    assert_eq!(
        verdict(&own),
        ["", "", "", "Origin"],
        "a route's table replaces its site's"
    );
}

#[test]
fn wildcards_and_credentials_do_not_go_together() {
    let faults = |cors: &str| {
        let text = format!("{}[site.cors]\n{cors}\n", site("http://127.0.0.1:1"));
        match Config::parse(&text, Format::Toml) {
            Ok((config, _)) => check(&config, Abilities::default()).to_string(),
            Err(faults) => faults.to_string(),
        }
    };
    for (cors, place) in [
        ("origins = [\"*\"]\ncredentials = true", "cors.origins"),
        ("headers = [\"*\"]\ncredentials = true", "cors.headers"),
        ("expose = [\"*\"]\ncredentials = true", "cors.expose"),
        ("max_age = \"25h\"", "cors.max_age"),
        ("origins = [\"a.example\"]", "not an origin"),
        ("origins = [\"https://a.example/\"]", "not an origin"),
        ("origins = [\"https://a.*.example\"]", "not an origin"),
        ("origins = [\"https://*\"]", "not an origin"),
    ] {
        let faults = faults(cors);
        assert!(faults.contains(place), "{cors}\n{faults}");
    }
    assert_eq!(
        faults("origins = [\"HTTPS://A.example:443\"]\ncredentials = true"),
        ""
    );
    let route = "origins = []\n[[site.route]]\nmethods = [\"GET\"]\nrespond = {}\ncors = {}";
    assert!(faults(route).contains("preflights"), "{}", faults(route));
}
