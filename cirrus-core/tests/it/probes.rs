//! Checks against the real servers: what is well passes, what stands still or is gone does not, and comes back.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use cirrus_core::testing::process::{MariaDbServer, PostgresServer, RedisServer};
use cirrus_core::testing::proxy;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

use crate::health::{checked, cluster, is_judged, looked, reason, until};

async fn watched(address: SocketAddr, check: &str) -> proxy::Running {
    let text = cluster(&[format!("http://{address}")], "", &checked(check));
    proxy::new(&text).run().await
}

#[tokio::test]
async fn postgres_is_well_stands_still_goes_and_comes_back() {
    let mut server = PostgresServer::start();
    let proxy = watched(server.address(), "kind = \"postgres\"").await;
    until(&proxy, |shown| looked(shown, true)).await;
    server.pause();
    let shown = until(&proxy, |shown| looked(shown, false)).await;
    assert_eq!(reason(&shown), "no answer within 500ms");
    server.resume();
    until(&proxy, |shown| looked(shown, true)).await;
    server.kill();
    until(&proxy, |shown| looked(shown, false)).await;
    server.restart();
    until(&proxy, |shown| looked(shown, true)).await;
}

#[tokio::test]
async fn mariadb_is_well_stands_still_goes_and_comes_back() {
    let mut server = MariaDbServer::start();
    let proxy = watched(server.address(), "kind = \"mysql\"").await;
    until(&proxy, |shown| looked(shown, true)).await;
    server.pause();
    let shown = until(&proxy, |shown| looked(shown, false)).await;
    assert_eq!(reason(&shown), "no answer within 500ms");
    server.resume();
    until(&proxy, |shown| looked(shown, true)).await;
    server.kill();
    until(&proxy, |shown| looked(shown, false)).await;
    server.restart();
    until(&proxy, |shown| looked(shown, true)).await;
}

#[tokio::test]
async fn one_database_is_not_taken_for_another() {
    let (postgres, maria) = (PostgresServer::start(), MariaDbServer::start());
    let redis = RedisServer::with(&["--requirepass", "secret"]);
    let url = |address: SocketAddr| format!("http://{address}");
    is_judged(&url(redis.address()), "kind = \"redis\"", true).await;
    is_judged(&url(postgres.address()), "kind = \"mysql\"", false).await;
    is_judged(&url(maria.address()), "kind = \"postgres\"", false).await;
    is_judged(&url(maria.address()), "kind = \"redis\"", false).await;
}

#[tokio::test]
async fn a_grpc_server_says_how_its_services_are() {
    let (health, service) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(service);
    let mut serving = JoinSet::new();
    serving.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    health
        .set_service_status("shop", ServingStatus::Serving)
        .await;
    let check = "kind = \"grpc\"\nservice = \"shop\"\ninitial = \"down\"";
    let proxy = watched(address, check).await;
    until(&proxy, |shown| looked(shown, true)).await;
    health
        .set_service_status("shop", ServingStatus::NotServing)
        .await;
    let shown = until(&proxy, |shown| looked(shown, false)).await;
    assert_eq!(reason(&shown), "NOT_SERVING");
    health
        .set_service_status("shop", ServingStatus::Serving)
        .await;
    until(&proxy, |shown| looked(shown, true)).await;
    let url = format!("http://{address}");
    is_judged(&url, "kind = \"grpc\"\nservice = \"unheard-of\"", false).await;
    is_judged(&url, "kind = \"grpc\"", true).await;
    serving.abort_all();
    until(&proxy, |shown| looked(shown, false)).await;
}

#[tokio::test]
async fn a_script_has_its_user_its_directory_its_time_and_room_for_a_few_words() {
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let script = |more: &str, text: &str| {
        let check = checked(&format!(
            "kind = \"script\"\ncommand = [\"/bin/sh\", \"-c\", '{text}']\n{more}"
        ));
        let text = cluster(&[crate::nowhere()], "", &check);
        format!("[server]\nworkers = 1\nallow_scripts = true\n{text}")
    };
    let home = directory.path().display();
    let there = script(
        &format!("directory = \"{home}\""),
        &format!("test $PWD = {home}"),
    );
    let proxy = proxy::new(&there).run().await;
    until(&proxy, |shown| looked(shown, true)).await;
    // It never ends by itself, whatever it is told.
    proxy.reconfigure(&script("", "trap : TERM INT; while :; do sleep 1; done"));
    let shown = until(&proxy, |shown| looked(shown, false)).await;
    assert_eq!(reason(&shown), "no answer within 500ms");
    proxy.reconfigure(&script(
        "",
        "head -c 300000 /dev/zero | tr \"\\\\0\" x >&2; exit 1",
    ));
    let shown = until(&proxy, |shown| {
        reason(shown).starts_with("exit status: 1") && looked(shown, false)
    })
    .await;
    assert!(reason(&shown).len() < 200, "{}", reason(&shown).len());
    if rustix::process::getuid().is_root() {
        proxy.reconfigure(&script("user = \"nobody\"", "test $(id -un) = nobody"));
        until(&proxy, |shown| looked(shown, true)).await;
    }
}
