//! What is left of a connection, or of a stream on it, once HTTP has been switched for another
//! protocol.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The client's side of a tunnel that may begin: there as soon as the response that switches
/// protocols is on its way.
///
/// Codecs put it into the extensions of requests that may switch; whoever answers such a switch
/// takes it from there.
#[derive(Clone)]
pub(crate) struct Upgrade(Arc<Mutex<Option<Pending>>>);

type Pending = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

// === impl Upgrade ===

impl Upgrade {
    /// What a codec of ours promises.
    pub(crate) fn new(
        future: impl Future<Output = io::Result<Box<dyn Io>>> + Send + 'static,
    ) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(future)))))
    }

    /// What hyper promises, here or in an embedder's own server.
    pub(crate) fn from_hyper(upgrade: OnUpgrade) -> Self {
        Self::new(async {
            let upgraded = upgrade.await.map_err(io::Error::other)?;
            Ok(Box::new(TokioIo::new(upgraded)) as Box<dyn Io>)
        })
    }

    /// What was promised with this request, by a codec of ours or by hyper.
    pub(crate) fn of<B>(request: &mut http::Request<B>) -> Self {
        let ours = request.extensions_mut().remove::<Self>();
        ours.unwrap_or_else(|| Self::from_hyper(hyper::upgrade::on(request)))
    }

    /// Waits for it.
    ///
    /// # Errors
    ///
    /// The connection broke, the switch was not sent after all, or somebody has it already.
    pub(crate) async fn ready(self) -> io::Result<Box<dyn Io>> {
        let pending = self.0.lock().take();
        match pending {
            Some(pending) => pending.await,
            None => Err(io::Error::other("the tunnel has been given away")),
        }
    }
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upgrade")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_given_away_once() {
        let (near, _far) = tokio::io::duplex(8);
        let upgrade = Upgrade::new(async { Ok(Box::new(near) as Box<dyn Io>) });
        let again = upgrade.clone();
        assert!(upgrade.ready().await.is_ok());
        assert!(again.ready().await.is_err());
    }

    #[tokio::test]
    async fn is_an_error_where_nothing_was_promised() {
        let mut request = http::Request::new(());
        assert!(Upgrade::of(&mut request).ready().await.is_err());
    }
}
