//! A health check of your own: an origin is up while it says so in a protocol of lines (`STATUS` → `READY`) on another
//! port. The log tells when it changes its mind, and so does `GET /api/v1/clusters` where there is an admin listener.
//!
//! Arguments: the origin's URL, the port of the line protocol, the address to listen on.

use std::sync::Arc;

use async_trait::async_trait;
use cirrus_core::config::{CheckConfig, CheckKind, ListenConfig, Period};
use cirrus_core::health::{Probe, Target};
use cirrus_core::{BoxError, Server};
use cirrus_discovery::{Fixed, proxy_to};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Asks `STATUS` and wants `READY`.
struct LineStatus;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [origin, port, listen] =
        cirrus_examples::arguments(["http://127.0.0.1:3000", "3001", "127.0.0.1:8080"]);
    let mut check = CheckConfig::default();
    check.kind = CheckKind::Custom;
    check.probe = Some("line_status".to_owned());
    check.port = Some(port.parse()?);
    check.interval = Period::secs(1);
    let mut config = proxy_to([origin.parse()?]);
    config.listen = vec![ListenConfig::plain(listen.parse()?)];
    for site in &mut config.site {
        Arc::make_mut(site).check = vec![check.clone()];
    }
    Server::builder()
        .config(Fixed::new(config))
        .probe("line_status", LineStatus)
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}

// === impl LineStatus ===

#[async_trait]
impl Probe for LineStatus {
    // No time limit here: the check has one.
    async fn probe(&self, target: &Target) -> Result<(), BoxError> {
        let mut stream = TcpStream::connect((target.url.host(), target.url.port())).await?;
        stream.write_all(b"STATUS\n").await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        match line.trim_end() {
            "READY" => Ok(()),
            // The reason stands in the log and in the admin API.
            other => Err(format!("it says {other:?}").into()),
        }
    }
}
