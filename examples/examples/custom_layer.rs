//! A tower layer of your own: every request gets a number, which its origin and its client are told.
//!
//! Arguments: the origin's URL, the address to listen on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use cirrus_cache::MemoryStore;
use cirrus_core::config::ListenConfig;
use cirrus_core::{BoxError, Request, Response, Server};
use cirrus_discovery::{Fixed, proxy_to};
use http::{HeaderName, HeaderValue};
use tower::{Layer, Service};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Numbers requests.
#[derive(Clone, Default)]
struct RequestIdLayer {
    last: Arc<AtomicU64>,
}

/// Numbers requests on their way to `inner`.
#[derive(Clone)]
struct RequestId<S> {
    inner: S,
    last: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [origin, listen] = cirrus_examples::arguments(["http://127.0.0.1:3000", "127.0.0.1:8080"]);
    let mut config = proxy_to([origin.parse()?]);
    config.listen = vec![ListenConfig::plain(listen.parse()?)];
    Server::builder()
        .config(Fixed::new(config))
        .cache(MemoryStore::sized(64 << 20))
        // Several of them may be added; the first is the outermost.
        .layer(RequestIdLayer::default())
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}

// === impl RequestIdLayer ===

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestId<S>;

    fn layer(&self, inner: S) -> RequestId<S> {
        RequestId {
            inner,
            last: Arc::clone(&self.last),
        }
    }
}

// === impl RequestId ===

impl<S> Service<Request> for RequestId<S>
where
    S: Service<Request, Response = Response, Future: Send + 'static>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let id = HeaderValue::from(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        request.headers_mut().insert(REQUEST_ID, id.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            // In place of the one that the cache has kept from the request that was answered first.
            response.headers_mut().insert(REQUEST_ID, id);
            Ok(response)
        })
    }
}
