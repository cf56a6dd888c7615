//! What each program promises.

use std::path::Path;
use std::sync::Arc;

use cirrus_core::testing::process::ConsulServer;
use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, certs, ports, reply};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::program::{Program, until};

const ANY: &str = "127.0.0.1:0";

/// Answers every path with a page that may be kept.
async fn origin() -> RunningOrigin {
    let page = |_| reply("page").with("cache-control", "max-age=60");
    Origin::new().get("*", page).run().await
}

/// Answers every path with its name, which nobody may keep.
async fn named(name: &'static str) -> RunningOrigin {
    Origin::new().get("*", move |_| reply(name)).run().await
}

/// The second of two requests does not reach the origin.
async fn caches(client: &mut Client, origin: &RunningOrigin) {
    let first = client.get("/cached").await;
    assert_eq!((first.status, first.text()), (200, "page"));
    let second = client.get("/cached").await;
    assert_eq!((second.status, second.text()), (200, "page"));
    let status = second.header("cache-status");
    assert!(status.starts_with("cirrus; hit"), "{status}");
    assert_eq!(origin.count(), 1);
}

/// A client that shakes hands for `name`, if it likes the certificate.
async fn secure(
    program: &mut Program,
    name: &'static str,
    pair: &certs::Pair,
) -> std::io::Result<Client> {
    let address = program.address().await;
    let config = certs::client_trusting(std::slice::from_ref(&pair.der), &[b"http/1.1"]);
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    Ok(Client::to(address).over(stream))
}

fn write_pair(directory: &Path, name: &str) -> certs::Pair {
    let pair = certs::for_names(&[name]);
    std::fs::write(directory.join(format!("{name}.pem")), &pair.chain_pem).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), &pair.key_pem).unwrap();
    pair
}

#[tokio::test]
async fn quickstart_caches_and_speaks_tls() {
    let (origin, directory) = (origin().await, TempDir::new().unwrap());
    let certs = directory.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let pair = write_pair(&certs, "shop.example");
    let config = format!(
        r#"
        certificates = {{ directory = "certs" }}
        listen = [{{ address = "{ANY}" }}, {{ address = "{ANY}", tls = true }}]
        site = [{{ hosts = ["shop.example"], cache = {{ enable = true }}, origin = [{{ url = "{}" }}] }}]
        "#,
        origin.url()
    );
    std::fs::write(directory.path().join("cirrus.toml"), config).unwrap();
    let mut program = Program::start_in(directory.path(), "quickstart", &[]);
    caches(&mut program.client().await, &origin).await;
    let mut client = secure(&mut program, "shop.example", &pair).await.unwrap();
    assert_eq!(client.get("/").await.text(), "page");
    assert_eq!(origin.asked()[1].header("x-forwarded-proto"), "https");
}

#[tokio::test]
async fn custom_layer_numbers_requests() {
    let origin = origin().await;
    let mut program = Program::start("custom_layer", &[&origin.url(), ANY]);
    let mut client = program.client().await;
    for number in ["1", "2"] {
        let reply = client.get("/").await;
        assert_eq!(
            (reply.text(), reply.header("x-request-id")),
            ("page", number.into())
        );
    }
    // The second was a hit: the layer is around the cache.
    let asked = origin.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("x-request-id"), "1");
}

#[tokio::test]
async fn custom_cache_store_keeps_responses() {
    let origin = origin().await;
    let mut program = Program::start("custom_cache_store", &[&origin.url(), ANY]);
    caches(&mut program.client().await, &origin).await;
}

#[tokio::test]
async fn custom_config_source_serves_what_is_typed() {
    let (one, two) = (named("one").await, named("two").await);
    let mut program = Program::start("custom_config_source", &[ANY]);
    let mut client = program.client().await;
    assert_eq!(client.get("/").await.status, 404);
    program
        .type_line(&format!("shop.example {}", one.url()))
        .await;
    until(&mut client, "/", "one").await;
    program.type_line("shop.example nowhere").await;
    program
        .type_line(&format!("shop.example {}", two.url()))
        .await;
    until(&mut client, "/", "two").await;
    program.ends_with_its_input().await;
}

#[tokio::test]
async fn custom_discovery_follows_its_file() {
    let (one, two) = (named("one").await, named("two").await);
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("roster");
    std::fs::write(&file, format!("web {}\n", one.url())).unwrap();
    let mut program = Program::start("custom_discovery", &[file.to_str().unwrap(), ANY]);
    let mut client = program.client().await;
    until(&mut client, "/", "one").await;
    std::fs::write(&file, format!("web {}\nweb nowhere\n", two.url())).unwrap();
    until(&mut client, "/", "two").await;
}

#[tokio::test]
async fn custom_cert_provider_fetches_what_is_asked_for() {
    let (origin, directory) = (origin().await, TempDir::new().unwrap());
    let path = directory.path().to_str().unwrap();
    let mut program = Program::start("custom_cert_provider", &[&origin.url(), path, ANY]);
    // Nothing is there yet when it starts.
    let pair = write_pair(directory.path(), "shop.example");
    let mut client = secure(&mut program, "shop.example", &pair).await.unwrap();
    assert_eq!(client.get("/").await.text(), "page");
}

#[tokio::test]
async fn custom_cert_provider_refuses_other_names() {
    let (origin, directory) = (origin().await, TempDir::new().unwrap());
    let path = directory.path().to_str().unwrap();
    let mut program = Program::start("custom_cert_provider", &[&origin.url(), path, ANY]);
    let pair = write_pair(directory.path(), "shop.example");
    assert!(secure(&mut program, "other.example", &pair).await.is_err());
}

#[tokio::test]
async fn inside_axum_is_behind_the_apps_own_routes() {
    let origin = origin().await;
    let mut program = Program::start("inside_axum", &[&origin.url(), ANY]);
    let mut client = program.client().await;
    assert_eq!(client.get("/hello").await.text(), "Hello from the app.");
    assert_eq!(origin.count(), 0);
    caches(&mut client, &origin).await;
    assert_eq!(origin.asked()[0].header("x-forwarded-for"), "127.0.0.1");
}

#[tokio::test]
async fn hyper_only_serves_several_connections() {
    let origin = origin().await;
    let mut program = Program::start("hyper_only", &[&origin.url(), ANY]);
    let address = program.address().await;
    let mut first = Client::to(address);
    caches(&mut first, &origin).await;
    assert_eq!(origin.asked()[0].header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(Client::to(address).get("/cached").await.text(), "page");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn custom_probe_asks_in_its_own_protocol() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let origin = origin().await;
    let status = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let port = status.local_addr().unwrap().port().to_string();
    let mut program = Program::start("custom_probe", &[&origin.url(), &port, ANY]);
    let mut client = program.client().await;
    let (mut stream, _) = status.accept().await.unwrap();
    let mut line = String::new();
    let (reader, mut writer) = stream.split();
    BufReader::new(reader).read_line(&mut line).await.unwrap();
    assert_eq!(line, "STATUS\n");
    writer.write_all(b"READY\n").await.unwrap();
    assert_eq!(client.get("/").await.text(), "page");
}

#[tokio::test]
async fn consul_gateway_serves_what_consul_knows() {
    let (one, two) = (named("one").await, named("two").await);
    let consul = ConsulServer::start("dc1");
    consul.register("first", &one.address().to_string(), "passing");
    let address = consul.address().to_string();
    let mut program = Program::start("consul_gateway", &[&address, ANY]);
    let mut client = program.client().await;
    assert_eq!(client.get("/dc1/first/a").await.text(), "one");
    assert_eq!(client.get("/dc1/consul/").await.status, 404);
    assert_eq!(client.get("/dc1/second/").await.status, 404);
    consul.register("second", &two.address().to_string(), "passing");
    until(&mut client, "/dc1/second/a", "two").await;
}

#[tokio::test]
async fn dynamic_registry_asks_whoever_announces_itself() {
    let (one, two) = (named("one").await, named("two").await);
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("registry.json");
    let (file, admin) = (file.to_str().unwrap(), ports::free());
    let arguments = [ANY, &admin.to_string(), file];
    let start = || Program::start("dynamic_registry", &arguments);
    let mut program = start();
    let mut client = program.client().await;
    let mut admin = Client::to(admin).host("localhost");
    assert_eq!(client.get("/").await.status, 503);
    let at = "/api/v1/registry/web/endpoints/blue";
    let url = format!("\"{}\"", one.url());
    let put = admin.ask("PUT", at, "", url.as_bytes()).await;
    assert_eq!(put.status, 201, "{}", put.text());
    until(&mut client, "/", "one").await;
    let port = two.address().port();
    let add = format!("/add?no=2&ip=127.0.0.1&port={port}");
    assert_eq!(admin.get(&add).await.status, 200);
    until(&mut client, "/", "two").await;
    let got = admin.get("/get?no=2").await;
    assert_eq!(got.text(), format!("127.0.0.1:{port}\n"));
    assert_eq!(admin.ask("DELETE", at, "", b"").await.status, 200);
    // The next one begins with what this one was told.
    program.kill().await;
    let mut program = start();
    let mut client = program.client().await;
    until(&mut client, "/", "two").await;
}

#[tokio::test]
async fn canary_moves_users_and_never_back() {
    let (old, new) = (named("old").await, named("new").await);
    let mut program = Program::start("canary", &[&old.url(), &new.url(), ANY]);
    let mut client = program.client().await;
    let mut before = users_of_the_new(&mut client).await;
    assert!((1..40).contains(&before.len()), "5 of 100: {before:?}");
    for share in ["60", "100"] {
        program.type_line(share).await;
        program.says("a new configuration is in force").await;
        let moved = users_of_the_new(&mut client).await;
        assert!(before.iter().all(|user| moved.contains(user)), "{share}");
        before = moved;
    }
    assert_eq!(before.len(), 200);
    program.type_line("0").await;
    program.says("a new configuration is in force").await;
    assert!(users_of_the_new(&mut client).await.is_empty());
    let tester = client.ask("GET", "/", "X-Version: new\r\n", b"").await;
    assert_eq!(tester.text(), "new");
    program.ends_with_its_input().await;
}

/// Which of two hundred users get the new version.
async fn users_of_the_new(client: &mut Client) -> Vec<u32> {
    let mut users = Vec::new();
    for user in 0..200 {
        let cookie = format!("Cookie: user={user}\r\n");
        if client.ask("GET", "/", &cookie, b"").await.text() == "new" {
            users.push(user);
        }
    }
    users
}

#[tokio::test]
async fn local_ca_is_trusted_after_a_restart_too() {
    let (origin, directory) = (origin().await, TempDir::new().unwrap());
    let at = directory.path().join("ca").display().to_string();
    for _ in 0..2 {
        let mut program = Program::start("local_ca", &[&origin.url(), &at, ANY]);
        let address = program.address().await;
        let root = std::fs::read(directory.path().join("ca/root.pem")).unwrap();
        let root = CertificateDer::from_pem_slice(&root).unwrap();
        let config = certs::client_trusting(&[root], &[b"http/1.1"]);
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("shop.example").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await.unwrap();
        let mut client = Client::to(address).over(stream);
        assert_eq!(client.get("/").await.text(), "page");
    }
}

#[tokio::test]
async fn mtls_gateway_lets_nobody_in_without_a_certificate() {
    let (origin, directory) = (origin().await, TempDir::new().unwrap());
    let pair = write_pair(directory.path(), "shop.example");
    let ca = directory.path().join("ca");
    std::fs::write(&ca, certs::Authority::new().pem()).unwrap();
    let (certs, ca) = (
        directory.path().display().to_string(),
        ca.display().to_string(),
    );
    let mut program = Program::start("mtls_gateway", &[&origin.url(), &certs, &ca, ANY]);
    let mut client = secure(&mut program, "shop.example", &pair).await.unwrap();
    // With TLS 1.3 a client hears of it behind the handshake.
    client
        .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
        .await;
    assert!(client.is_closed().await);
    assert_eq!(origin.count(), 0);
}
