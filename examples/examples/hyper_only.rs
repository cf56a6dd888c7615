//! The proxy behind an accept loop of your own, with nothing but hyper.
//!
//! Arguments: the origin's URL, the address to listen on.

use cirrus_cache::MemoryStore;
use cirrus_core::downstream::Connection;
use cirrus_core::server::Proxy;
use cirrus_core::{BoxError, Server};
use cirrus_discovery::{Fixed, proxy_to};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [origin, listen] = cirrus_examples::arguments(["http://127.0.0.1:3000", "127.0.0.1:8080"]);
    let proxy = Server::builder()
        .config(Fixed::new(proxy_to([origin.parse()?])))
        .cache(MemoryStore::sized(64 << 20))
        .build()
        .await?;
    let listener = TcpListener::bind(&listen).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    tokio::select! {
        ended = accept(listener, proxy) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Accepts for ever. Dropped, it ends its connections.
async fn accept(listener: TcpListener, proxy: Proxy) -> Result<(), BoxError> {
    let local = listener.local_addr()?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted?,
            Some(_) = connections.join_next() => continue,
        };
        // Origins are told of this peer, and the scheme is part of every cache key.
        connections.spawn(serve(stream, proxy.on(Connection::plain(peer, local))));
    }
}

async fn serve(stream: TcpStream, proxy: Proxy) {
    let served = http1::Builder::new()
        // Without a timer, hyper has no limits of time.
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), proxy)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection broke off: {error}");
    }
}
