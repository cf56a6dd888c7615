//! One line for every request, written by the time the server has ended.

use cirrus_core::testing::{Client, Origin, proxy, reply};

use crate::site;

async fn lines(format: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("access.log");
    let origin = Origin::new().get("/a", |_| reply("12345")).run().await;
    let log = format!(
        "[access_log]\nformat = \"{format}\"\nfile = \"{}\"\n",
        file.display()
    );
    let proxy = proxy::new(&format!("{log}{}", site(&origin.url())))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    client
        .get_with(
            "/a?x=1",
            "user-agent: test \"1\"\r\nreferer: http://b.example/\r\n",
        )
        .await;
    client.get("/missing").await;
    client.get("/%zz").await;
    proxy.shutdown().await;
    std::fs::read_to_string(file).unwrap()
}

#[tokio::test]
async fn as_json() {
    let text = lines("json").await;
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{text}");
    let first = &lines[0];
    for (field, value) in [
        ("peer", "127.0.0.1"),
        ("host", "shop.example"),
        ("method", "GET"),
        ("target", "/a?x=1"),
        ("version", "HTTP/1.1"),
        ("scheme", "http"),
        ("site", "*"),
        ("cache", "none"),
        ("user_agent", "test \"1\""),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    assert_eq!(
        (&first["status"], &first["sent"], &first["complete"]),
        (&200.into(), &5.into(), &true.into())
    );
    assert!(first["seconds"].as_f64().unwrap() >= first["upstream_seconds"].as_f64().unwrap());
    assert_eq!(lines[1]["status"], 404);
    assert_eq!(
        (&lines[2]["status"], &lines[2]["error"]),
        (&400.into(), &"http_request_error".into())
    );
}

#[tokio::test]
async fn as_apache_and_nginx_write_it() {
    let text = lines("combined").await;
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("127.0.0.1 - - [2"), "{first}");
    let end = "\"GET /a?x=1 HTTP/1.1\" 200 5 \"http://b.example/\" \"test \\\"1\\\"\"";
    assert!(first.ends_with(end), "{first}");
    assert_eq!(text.lines().count(), 3);
}
