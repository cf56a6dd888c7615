//! `consul_gateway`: two datacentres, joined over WAN.

use cirrus_core::testing::certs::Authority;
use cirrus_core::testing::process::ConsulServer;
use cirrus_core::testing::{Asked, Client, Describe, Origin, RunningOrigin, reply};
use tempfile::TempDir;

use crate::support::{Cirrus, until};

/// The program in front of a Consul.
struct Edge {
    cirrus: Cirrus,
    directory: TempDir,
}

// === impl Edge ===

impl Edge {
    fn start(consul: &ConsulServer, gateway: &str) -> Self {
        let consul = format!("address = \"{}\"", consul.address());
        Self::with(&consul, &gateway_of(gateway), &[])
    }

    /// With a `[consul]` of these lines, this configuration behind it, and this environment.
    fn with(consul: &str, config: &str, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config =
            format!("listen = [{{ address = \"127.0.0.1:0\" }}]\n[consul]\n{consul}\n{config}");
        std::fs::write(directory.path().join("cirrus.toml"), config).unwrap();
        Self {
            cirrus: run(&directory, environment),
            directory,
        }
    }

    /// Killed, and begun anew.
    fn restart(&mut self) {
        self.cirrus = run(&self.directory, &[]);
    }

    async fn client(&mut self) -> Client {
        Client::to(self.cirrus.address().await)
    }
}

fn run(directory: &TempDir, environment: &[(&str, &str)]) -> Cirrus {
    let arguments = ["run", "--config", "cirrus.toml"];
    Cirrus::start_with(directory.path(), &arguments, environment)
}

/// A site that is nothing but the gateway.
fn gateway_of(gateway: &str) -> String {
    let route = format!("[[site.route]]\npath = \"/*\"\nconsul_gateway = {{ {gateway} }}");
    format!("[[site]]\nhosts = [\"*\"]\n{route}")
}

/// Says its name, and what it was asked for.
async fn origin(name: &'static str) -> RunningOrigin {
    let answer = move |asked: Asked| {
        let body = asked.body.as_deref().unwrap_or_default();
        let body = String::from_utf8_lossy(body);
        reply(format!("{name} {} {} {body}", asked.method, asked.target))
            .with("x-origin", &asked.header("x-client"))
            .with("set-cookie", "a=1")
    };
    Origin::new().get("*", answer).run().await
}

fn register(consul: &ConsulServer, service: &str, origin: &RunningOrigin, status: &str) {
    consul.register(service, &origin.address().to_string(), status);
}

async fn until_status(client: &mut Client, path: &str, status: u16) {
    until(path, async || {
        let response = client.get(path).await;
        (response.status == status).then_some(())
    })
    .await;
}

async fn until_says(client: &mut Client, path: &str, text: &str) {
    until(text, async || {
        let response = client.get(path).await;
        (response.text().trim_end() == text).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_service_of_two_datacentres_is_served() {
    let one = ConsulServer::start("dc1");
    let two = ConsulServer::joined("dc2", &one);
    let (near, far, sick) = (
        origin("near").await,
        origin("far").await,
        origin("sick").await,
    );
    register(&one, "pay", &near, "passing");
    register(&two, "pay", &far, "passing");
    register(&two, "sick", &sick, "critical");
    register(&one, "admin-db", &near, "passing");
    let mut edge = Edge::start(&one, r#"deny = ["consul", "admin-*"]"#);
    let mut client = edge.client().await;

    let text = |reply: cirrus_core::testing::Reply| (reply.status, reply.text().to_owned());
    let get = async |client: &mut Client, path: &str| text(client.get(path).await);
    assert_eq!(
        get(&mut client, "/dc1/pay/a").await,
        (200, "near GET /a ".into())
    );
    assert_eq!(
        get(&mut client, "/dc2/pay").await,
        (200, "far GET / ".into())
    );
    let odd = "/dc2/pay//x%2Fy/%C3%BC;v=1?q=%2F&&r=a+b";
    let seen = "far GET //x%2Fy/%C3%BC;v=1?q=%2F&&r=a+b ";
    assert_eq!(get(&mut client, odd).await, (200, seen.into()));
    let posted = client
        .ask("POST", "/dc1/pay/form?x", "X-Client: me\r\n", b"the body")
        .await;
    assert_eq!(
        (posted.header("x-origin"), posted.header("set-cookie")),
        ("me".into(), "a=1".into())
    );
    assert_eq!(text(posted), (200, "near POST /form?x the body".into()));

    for unknown in [
        "/dc1/nobody/x",
        "/dc3/pay/x",
        "/dc1/consul/",
        "/dc1/admin-db/",
        "/",
        "/dc1",
        "/dc1/p%2Fy/",
    ] {
        assert_eq!(client.get(unknown).await.status, 404, "{unknown}");
    }
    let nobody = client.get("/dc2/sick/x").await;
    assert_eq!(nobody.status, 503);
    assert!(!nobody.header("retry-after").is_empty());
    assert_eq!(sick.count(), 0);

    // What is born, heals and moves is served without anybody saying so.
    register(&two, "sick", &sick, "passing");
    until_says(&mut client, "/dc2/sick/x", "sick GET /x").await;
    register(&one, "nobody", &near, "passing");
    until_says(&mut client, "/dc1/nobody/x", "near GET /x").await;
    register(&one, "pay", &far, "passing");
    one.deregister("pay", &near.address().to_string());
    until_says(&mut client, "/dc1/pay/x", "far GET /x").await;
    // It was known, and so it stays for a while; Consul may only have forgotten.
    one.deregister("pay", &far.address().to_string());
    assert_eq!(client.get("/dc1/pay/x").await.status, 200);
}

#[tokio::test]
async fn datacentres_stand_in_for_each_other() {
    let one = ConsulServer::start("dc1");
    let two = ConsulServer::joined("dc2", &one);
    let (near, far) = (origin("near").await, origin("far").await);
    register(&one, "pay", &near, "critical");
    register(&two, "pay", &far, "passing");
    let mut edge = Edge::start(&one, r#"failover = ["dc1", "dc2"]"#);
    let mut client = edge.client().await;
    assert_eq!(client.get("/dc1/pay/x").await.text(), "far GET /x ");
    assert_eq!(client.get("/dc3/pay/x").await.status, 404);
    register(&one, "pay", &near, "passing");
    until_says(&mut client, "/dc1/pay/x", "near GET /x").await;
    register(&one, "pay", &near, "critical");
    until_says(&mut client, "/dc1/pay/x", "far GET /x").await;
    register(&two, "pay", &far, "critical");
    until_status(&mut client, "/dc1/pay/x", 503).await;
}

#[tokio::test]
async fn what_consul_said_last_is_served_while_it_is_down_paused_or_empty() {
    let mut consul = ConsulServer::start("dc1");
    let (old, new) = (origin("old").await, origin("new").await);
    register(&consul, "pay", &old, "passing");
    let mut edge = Edge::start(&consul, "");
    let mut client = edge.client().await;
    assert_eq!(client.get("/dc1/pay/x").await.status, 200);
    consul.pause();
    assert_eq!(client.get("/dc1/pay/x").await.text(), "old GET /x ");
    consul.resume();
    consul.kill();
    for _ in 0..50 {
        assert_eq!(client.get("/dc1/pay/x").await.text(), "old GET /x ");
    }
    assert_eq!(
        client.get("/dc1/other/x").await.status,
        503,
        "nobody can say"
    );
    consul.restart();
    // It has lost everything.
    until_status(&mut client, "/dc1/other/x", 404).await;
    assert_eq!(client.get("/dc1/pay/x").await.text(), "old GET /x ");
    register(&consul, "pay", &new, "passing");
    until_says(&mut client, "/dc1/pay/x", "new GET /x").await;
}

#[tokio::test]
async fn consul_is_spoken_to_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let authority = Authority::new();
    let server = authority.issue(&["server.dc1.consul"]);
    let (consul, address) = ConsulServer::secure("dc1", path, &authority, &server);
    let edge = authority.issue(&["edge"]);
    std::fs::write(path.join("edge.pem"), &edge.chain_pem).unwrap();
    std::fs::write(path.join("edge.key"), &edge.key_pem).unwrap();
    let origin = origin("near").await;
    register(&consul, "pay", &origin, "passing");
    let table = format!(
        "address = \"https://{address}\"\nserver_name = \"server.dc1.consul\"\n\
         ca = \"{path}/ca.pem\"\ncertificate = \"{path}/edge.pem\"\nkey = \"{path}/edge.key\"",
        path = path.display()
    );
    let mut edge = Edge::with(&table, &gateway_of(""), &[]);
    let mut client = edge.client().await;
    assert_eq!(client.get("/dc1/pay/x").await.text(), "near GET /x ");
}

#[tokio::test]
async fn the_environment_has_the_token_unless_it_is_written() {
    let acl = r#"-hcl=acl { enabled = true default_policy = "deny" tokens { master = "root" agent = "root" } }"#;
    let consul = ConsulServer::with("dc1", &[acl]);
    let address = format!("address = \"{}\"", consul.address());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "root\n").unwrap();
    let file = file.path().to_str().unwrap();
    let written = format!("{address}\ntoken = \"root\"");
    // Consul knows itself, though not as a server of HTTP: whoever may see it gets an error of the gateway's.
    for (table, environment, status) in [
        (&address, ("CONSUL_HTTP_TOKEN", "root"), 502),
        (&address, ("CONSUL_HTTP_TOKEN_FILE", file), 502),
        (&address, ("CONSUL_HTTP_TOKEN", ""), 404),
        (&written, ("CONSUL_HTTP_TOKEN", "nobody"), 502),
    ] {
        let mut edge = Edge::with(table, &gateway_of(""), &[environment]);
        // Consul leads before it knows its own tokens.
        until_status(&mut edge.client().await, "/dc1/consul/", status).await;
    }
}

#[tokio::test]
async fn an_edge_starts_with_consul_down_and_serves() {
    let mut consul = ConsulServer::start("dc1");
    let (old, new) = (origin("old").await, origin("new").await);
    register(&consul, "pay", &old, "passing");
    let config = "[discovery]\nstate = \"state\"\n\
                  [[cluster]]\nname = \"pay\"\nservice = \"consul://dc1/pay\"\n\
                  [[site]]\nhosts = [\"*\"]\ncluster = \"pay\"\n";
    let address = format!("address = \"{}\"", consul.address());
    let mut edge = Edge::with(&address, config, &[]);
    let mut client = edge.client().await;
    until_says(&mut client, "/x", "old GET /x").await;
    let state = edge.directory.path().join("state");
    until("the endpoints are on the disk", async || {
        let mut files = std::fs::read_dir(&state).unwrap().flatten();
        files.find(|file| file.path().extension().is_some_and(|end| end == "json"))
    })
    .await;
    consul.kill();
    edge.restart();
    let mut client = edge.client().await;
    assert_eq!(
        client.get("/x").await.text(),
        "old GET /x ",
        "the very first"
    );
    consul.restart();
    register(&consul, "pay", &new, "passing");
    until_says(&mut client, "/x", "new GET /x").await;
}
