//! The origin is asked for another path than the client asked for.

use cirrus_core::config::{Abilities, Config, Format, check};
use cirrus_core::testing::{Client, Describe, Origin, proxy, reply};

#[tokio::test]
async fn the_path_is_rewritten_and_the_query_kept() {
    let origin = Origin::new()
        .get("*", |_| reply("").with("location", "/origin"))
        .run()
        .await;
    let url = origin.url();
    let proxy = proxy::new(&format!(
        r#"
        [[site]]
        hosts = ["*"]
        [[site.route]]
        path = "/api/*"
        rewrite = {{ strip_prefix = "/api" }}
        origin = [{{ url = "{url}" }}]
        [[site.route]]
        path = "/both/*"
        rewrite = {{ strip_prefix = "/both", add_prefix = "/v2/" }}
        origin = [{{ url = "{url}" }}]
        [[site.route]]
        path = "/user/{{id}}/*"
        rewrite = {{ path = "/u/{{id}}/of/{{host}}" }}
        origin = [{{ url = "{url}" }}]
        [[site.route]]
        rewrite = {{ path = "/tenant{{path}}" }}
        origin = [{{ url = "{url}" }}]
        "#
    ))
    .run()
    .await;
    let mut client = Client::to(proxy.address());
    let cases = [
        ("/api/users?a=/api&b", "/users?a=/api&b"),
        ("/api", "/"),
        ("/api?x", "/?x"),
        ("/api/%2e%2e/api/x", "/x"),
        ("/api/a%2fb", "/a%2Fb"),
        ("/api//x", "//x"),
        ("/api/%252e%252e/x", "/%252e%252e/x"),
        ("/both/x?q", "/v2/x?q"),
        ("/both", "/v2/"),
        ("/user/7/x/y?q=1", "/u/7/of/shop.example?q=1"),
        ("/user/a%2F..%2Fb/", "/u/a%2F..%2Fb/of/shop.example"),
        ("/apis?", "/tenant/apis?"),
    ];
    for (path, _) in cases {
        let reply = client.get(path).await;
        assert_eq!(
            (reply.status, reply.header("location")),
            (200, "/origin".into()),
            "{path}"
        );
    }
    let asked: Vec<_> = origin
        .asked()
        .into_iter()
        .map(|asked| asked.target)
        .collect();
    assert_eq!(asked, cases.map(|(_, target)| target.to_owned()));
    assert_eq!(client.get("/api/../../x").await.status, 400);
    assert_eq!(origin.count(), cases.len());
}

fn faults(route: &str) -> String {
    let text = format!("[[site]]\nhosts = [\"*\"]\n[[site.route]]\n{route}\n");
    match Config::parse(&text, Format::Toml) {
        Ok((config, _)) => check(&config, Abilities::default()).to_string(),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn what_would_be_no_path_is_a_fault() {
    let to = "origin = [{ url = \"http://127.0.0.1:1\" }]";
    for (rewrite, message) in [
        ("{}", "changes nothing"),
        ("{ path = \"/a\", add_prefix = \"/b\" }", "whole path"),
        ("{ strip_prefix = \"/a/*\" }", "without stars"),
        ("{ add_prefix = \"/a/{b}\" }", "without stars"),
        ("{ add_prefix = \"a\" }", "begins with"),
        ("{ path = \"a\" }", "\"/v2{path}\""),
        ("{ path = \"/a?b=c\" }", "query"),
        ("{ path = \"/a/../b\" }", "resolved"),
        ("{ path = \"/a/*\" }", "star"),
        ("{ path = \"/{id}\" }", "nothing of that name"),
        ("{ path = \"/{\" }", "never closed"),
    ] {
        let faults = faults(&format!("{to}\nrewrite = {rewrite}"));
        assert!(faults.contains(message), "{rewrite}\n{faults}");
    }
    let clash = format!("path = \"/{{host}}\"\n{to}\nrewrite = {{ path = \"/{{host}}\" }}");
    assert!(faults(&clash).contains("another name"));
    let faults = faults("respond = {}\nrewrite = { path = \"/a\" }");
    assert!(faults.contains("asks none"), "{faults}");
}
