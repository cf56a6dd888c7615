//! Routes: which one is taken, and what those do that need no origin.

use cirrus_core::testing::{Client, Origin, proxy, reply};

use crate::site;

#[tokio::test]
async fn the_most_specific_route_wins() {
    let proxy = proxy::new(
        r#"
        [[site]]
        hosts = ["shop.example", "*.shop.example"]
        [[site.route]]
        respond = { body = "all" }
        [[site.route]]
        path = "/api/*"
        respond = { body = "prefix" }
        [[site.route]]
        path = "/api/users/{id}"
        respond = { body = "param" }
        [[site.route]]
        path = "/api/users/me"
        respond = { body = "exact" }
        [[site.route]]
        path = "*.jpg"
        respond = { body = "suffix" }
        [[site.route]]
        path = "/api/*"
        methods = ["DELETE"]
        respond = { body = "delete" }
        [[site.route]]
        path = "/api/*"
        query = { debug = "*" }
        respond = { body = "query" }
        [[site.route]]
        path = "/api/*"
        headers = { x-beta = "1" }
        respond = { body = "header" }
        [[site]]
        hosts = ["*"]
        [[site.route]]
        path = "/only"
        methods = ["GET"]
        respond = { status = 418, body = "teapot" }
        "#,
    )
    .run()
    .await;
    let mut client = Client::to(proxy.address());
    for (method, path, lines, body) in [
        ("GET", "/", "", "all"),
        ("GET", "/api", "", "prefix"),
        ("GET", "/api/x/y", "", "prefix"),
        ("GET", "/apis", "", "all"),
        ("GET", "/api/users/7", "", "param"),
        ("GET", "/api/users/me", "", "exact"),
        ("GET", "/pictures/cat.jpg", "", "suffix"),
        ("DELETE", "/api/x", "", "delete"),
        ("GET", "/api/x?debug=1", "", "query"),
        ("GET", "/api/x", "x-beta: 1\r\n", "header"),
        ("GET", "/api/x", "x-beta: 2\r\n", "prefix"),
    ] {
        assert_eq!(
            client.ask(method, path, lines, b"").await.text(),
            body,
            "{method} {path} {lines}"
        );
    }
    let mut below = Client::to(proxy.address()).host("a.b.shop.example");
    assert_eq!(below.get("/").await.text(), "all");
    let mut other = Client::to(proxy.address()).host("other.example");
    let response = other.get("/only").await;
    assert_eq!((response.status, response.text()), (418, "teapot"));
    assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(other.get("/").await.status, 404);
    let refused = other.ask("POST", "/only", "", b"x").await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, "GET, HEAD".into())
    );
}

#[tokio::test]
async fn redirects_fill_in_the_requests_parts() {
    let proxy = proxy::new(
        r#"
        [[site]]
        hosts = ["*"]
        [[site.route]]
        redirect = { to = "https://{host}{path}", status = 308 }
        [[site.route]]
        path = "/old/{id}/*"
        redirect = { to = "/new/{id}" }
        [[site.route]]
        path = "/open/*"
        redirect = { to = "{path}" }
        [[site.route]]
        path = "/evil.example"
        redirect = { to = "{path}" }
        [[site.route]]
        path = "/docs/*"
        redirect = { to = "{path}" }
        "#,
    )
    .run()
    .await;
    let mut client = Client::to(proxy.address());
    let response = client.get("/a?b=c").await;
    assert_eq!(
        (response.status, response.header("location")),
        (308, "https://shop.example/a?b=c".into())
    );
    let response = client.get("/old/7/x").await;
    assert_eq!(
        (response.status, response.header("location")),
        (302, "/new/7".into())
    );
    let response = client.get("//evil.example").await;
    assert_eq!(
        response.header("location"),
        "/evil.example",
        "never another host's address"
    );
    let response = client.get("//docs//x").await;
    assert_eq!(response.header("location"), "/docs//x");
}

#[tokio::test]
async fn files_are_served_from_their_directory_only() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("public")).unwrap();
    std::fs::create_dir(directory.path().join("public/sub")).unwrap();
    std::fs::write(directory.path().join("public/a.css"), "body{}").unwrap();
    std::fs::write(directory.path().join("public/sub/index.html"), "<p>").unwrap();
    std::fs::write(directory.path().join("secret"), "secret").unwrap();
    let toml = format!(
        "[[site]]\nhosts = [\"*\"]\n[[site.route]]\npath = \"/static/*\"\nfiles = {{ directory = \"{}\" }}\n",
        directory.path().join("public").display()
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    let response = client.get("/static/a.css").await;
    assert_eq!(
        (
            response.status,
            response.text(),
            response.header("content-type")
        ),
        (200, "body{}", "text/css".into())
    );
    let range = client
        .get_with("/static/a.css", "range: bytes=0-3\r\n")
        .await;
    assert_eq!((range.status, range.text()), (206, "body"));
    let validator = response.header("last-modified");
    let same = client
        .get_with(
            "/static/a.css",
            &format!("if-modified-since: {validator}\r\n"),
        )
        .await;
    assert_eq!(same.status, 304);
    let directory = client.get("/static/sub").await;
    assert_eq!(
        (directory.status, directory.header("location")),
        (307, "/static/sub/".into())
    );
    assert_eq!(client.get("/static/sub/").await.text(), "<p>");
    for outside in [
        "/static/..%2fsecret",
        "/static/%2e%2e/secret",
        "/static/missing",
        "/static//../secret",
    ] {
        assert_eq!(client.get(outside).await.status, 404, "{outside}");
    }
    assert_eq!(
        client.ask("POST", "/static/a.css", "", b"x").await.status,
        405
    );
}

#[tokio::test]
async fn files_have_one_address_which_routes_see() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("private")).unwrap();
    std::fs::write(directory.path().join("private/x"), "secret").unwrap();
    std::fs::write(directory.path().join("a b"), "open").unwrap();
    let path = directory.path().display();
    let proxy = proxy::new(&format!(
        "[[site]]\nhosts = [\"*\"]\n\
         [[site.route]]\npath = \"/private/*\"\nrespond = {{ status = 403 }}\n\
         [[site.route]]\npath = \"/*\"\nfiles = {{ directory = \"{path}\" }}\n"
    ))
    .run()
    .await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/a%20b").await.text(), "open");
    for way in [
        "/private/x",
        "/./private/x",
        "/%70rivate/x",
        "/private//x",
        "//private/x",
        "///private/x",
    ] {
        assert_eq!(client.get(way).await.status, 403, "{way}");
    }
    for way in ["//a%20b", "/private%2Fx", "/private%2fx", "/.%2Fprivate/x"] {
        assert_eq!(client.get(way).await.status, 404, "{way}");
    }
}

#[tokio::test]
async fn slashes_in_a_row_do_not_pass_a_route_by() {
    let origin = Origin::new().get("*", |_| reply("secret")).run().await;
    let toml = format!(
        "{}[[site.route]]\npath = \"/admin/*\"\nrespond = {{ status = 403 }}\n",
        site(&origin.url())
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    for path in [
        "/admin/x",
        "//admin/x",
        "/admin//x",
        "///admin",
        "/.//admin/x",
    ] {
        assert_eq!(client.get(path).await.status, 403, "{path}");
    }
    assert_eq!(client.get("//other//x").await.text(), "secret");
    assert_eq!(
        origin.asked()[0].target,
        "//other//x",
        "as the client wrote it"
    );
}
