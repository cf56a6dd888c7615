//! The engine as its users see it: real sockets, a real origin, bytes in and bytes out.

#![allow(clippy::unwrap_used, reason = "what a test does not get, fails it")]

mod access;
mod access_log;
mod actions;
mod admin;
mod balancing;
mod canary;
mod chaos;
mod compression;
mod conditions;
mod config;
mod connections;
mod cors;
mod drain;
mod errors;
mod forwarding;
mod framing;
mod gateway;
mod grpc;
mod guard;
mod h2_frames;
mod headers;
mod health;
mod http2;
mod inherited;
mod limits;
mod origin_http2;
mod origin_tls;
mod plug;
mod probes;
mod proxy_protocol;
mod registry;
mod retries;
mod rewrite;
mod shaping;
mod subsets;
mod upgrade;
mod upstream;
mod websocket;

use cirrus_core::testing::{Client, RunningOrigin, ports, proxy};

/// A proxy without a cache, and a client of it.
async fn before(origin: &RunningOrigin) -> (proxy::Running, Client) {
    let proxy = proxy::new(&site(&origin.url())).run().await;
    let client = Client::to(proxy.address());
    (proxy, client)
}

/// A site for every host with one origin.
fn site(url: &str) -> String {
    format!("[[site]]\nhosts = [\"*\"]\n[[site.origin]]\nurl = \"{url}\"\n")
}

/// An address where nobody listens.
fn nowhere() -> String {
    format!("http://{}", ports::free())
}
