//! Connections between requests cost little more than their sockets.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::server::TlsStream;

use super::Broken;
use super::session::Session;

/// A client's socket that can be waited for without a buffer.
pub(in crate::downstream) trait Socket:
    AsyncRead + AsyncWrite + Unpin + Send + 'static
{
    /// Ready when there may be something to read, or the end.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Socket for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl<S: Socket> Socket for Box<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_readable(cx)
    }
}

/// What it holds back from an earlier read has been read by the time a connection is parked.
impl<S: Socket> Socket for TlsStream<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_readable(cx)
    }
}

impl<IO: Socket> Session<IO> {
    /// Waits without buffers for the client's next word, until `deadline`. `false` is the end.
    pub(super) async fn park(&self, deadline: Instant) -> Result<bool, Broken> {
        self.link.lock().shed();
        tokio::select! {
            biased;
            readable = poll_fn(|cx| self.link.lock().io.poll_readable(cx)) => {
                readable?;
                Ok(true)
            }
            () = sleep_until(deadline) => Err(Broken::Silent),
            () = self.worker.drain.begun() => Ok(false),
        }
    }
}
