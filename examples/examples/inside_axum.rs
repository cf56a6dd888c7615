//! The proxy inside somebody's axum app: the app answers its own routes, and everything else goes to the origin.
//!
//! Arguments: the origin's URL, the address to listen on.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use cirrus_cache::MemoryStore;
use cirrus_core::downstream::Connection;
use cirrus_core::{BoxError, Server};
use cirrus_discovery::{Fixed, proxy_to};
use tokio::net::TcpListener;
use tower::Layer;
use tower::util::MapRequestLayer;

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
    let local = listener.local_addr()?;
    let told = MapRequestLayer::new(move |request| with_connection(request, local));
    let app = Router::new()
        .route("/hello", get(async || "Hello from the app."))
        .fallback_service(told.layer(proxy));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tracing::info!(address = %local, "listening");
    axum::serve(listener, app)
        .with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}

/// Says whom a request came from, as the proxy wants to know it: origins are told in `X-Forwarded-For`.
fn with_connection(mut request: Request, local: SocketAddr) -> Request {
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(ConnectInfo(peer)) = client.copied() {
        let connection = Connection::plain(peer, local);
        request.extensions_mut().insert(Arc::new(connection));
    }
    request
}
