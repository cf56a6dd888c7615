//! The demo's origin: a small HTTP server on loopback.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::pages::Pages;
use crate::serve;

/// How long accepting rests after an error, which another try at once would meet again.
const REST: Duration = Duration::from_millis(50);

/// The demo's origin.
#[derive(Debug)]
pub(super) struct Origin {
    listener: TcpListener,
    address: SocketAddr,
}

// === impl Origin ===

impl Origin {
    /// On a free port of loopback.
    pub(super) async fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) fn url(&self) -> String {
        serve::url(self.address, false)
    }

    /// Serves for ever; dropped, it closes its connections.
    pub(super) async fn serve(self) -> Infallible {
        let pages = Arc::new(Pages::default());
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => { connections.spawn(connection(stream, Arc::clone(&pages))); }
                    Err(error) => {
                        tracing::warn!(%error, "the demo's origin cannot accept");
                        tokio::time::sleep(REST).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(stream: TcpStream, pages: Arc<Pages>) {
    let answer = service_fn(move |request| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(&request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection to the demo's origin broke");
    }
}
