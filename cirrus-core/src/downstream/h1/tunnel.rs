//! A connection that speaks another protocol from here on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::Link;

/// The bytes of a connection after a switch of protocols, those that were read ahead first.
pub(super) struct Tunnel<IO>(Arc<Mutex<Link<IO>>>);

// === impl Tunnel ===

impl<IO> Tunnel<IO> {
    pub(super) fn new(link: Arc<Mutex<Link<IO>>>) -> Self {
        Self(link)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tunnel<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut link = self.0.lock();
        if link.read.is_empty() {
            return Pin::new(&mut link.io).poll_read(cx, buf);
        }
        let ahead = link.read.len().min(buf.remaining());
        buf.put_slice(&link.read[..ahead]);
        link.read.advance(ahead);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Tunnel<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.lock().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().io).poll_shutdown(cx)
    }
}
