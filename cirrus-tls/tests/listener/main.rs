//! Listeners with TLS, as clients see them: rustls, h2, curl and OpenSSL.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod choice;
mod client;
mod drain;
mod foreign;
mod http2;
mod mutual;
mod plain;
mod sites;
mod strength;
mod swap;

use std::time::Duration;

use cirrus_core::downstream::CertProvider;
use cirrus_core::testing::{RunningOrigin, proxy};

/// A listener with TLS before one origin, for every host.
async fn listener(origin: &RunningOrigin, certs: impl CertProvider) -> proxy::Running {
    described(&origin.url(), certs).run().await
}

fn described(url: &str, certs: impl CertProvider) -> proxy::Proxy {
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
         [[site]]\nhosts = [\"*\"]\norigin = [{{ url = \"{url}\" }}]\n"
    );
    proxy::new(&toml).with(|builder| builder.certs(certs))
}

/// What it gives, within 20 s.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, work)
        .await
        .expect("an end in time")
}
