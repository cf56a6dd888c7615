//! Which HTTP a client without TLS speaks: HTTP/2 by prior knowledge begins with bytes that no
//! HTTP/1 request has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most that is read before the choice; a usual request's header, so that it costs no read
/// more.
const AHEAD: usize = 1024;

/// A stream of which the beginning has been read already. After that it costs one look at an empty
/// vector.
#[derive(Debug)]
pub(super) struct Rewind<IO> {
    io: IO,
    ahead: Vec<u8>,
}

// === impl Rewind ===

impl<IO> Rewind<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self {
            io,
            ahead: Vec::new(),
        }
    }
}

impl<IO> Rewind<IO> {
    /// The stream, and what has been read of it.
    pub(super) fn into_parts(self) -> (IO, Vec<u8>) {
        (self.io, self.ahead)
    }
}

impl<IO: AsyncRead + Unpin> Rewind<IO> {
    /// Whether it begins as HTTP/2. The first byte that differs decides, and so does the stream's
    /// end.
    ///
    /// # Cancel safety
    ///
    /// What was read is kept, and read again by whoever comes next.
    pub(super) async fn is_h2(&mut self) -> io::Result<bool> {
        loop {
            let seen = self.ahead.len().min(PREFACE.len());
            if self.ahead[..seen] != PREFACE[..seen] {
                return Ok(false);
            }
            if seen == PREFACE.len() {
                return Ok(true);
            }
            self.ahead.reserve(AHEAD);
            if self.io.read_buf(&mut self.ahead).await? == 0 {
                return Ok(false);
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewind<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let length = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..length]);
        if length == this.ahead.len() {
            this.ahead = Vec::new();
        } else {
            this.ahead.drain(..length);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rewind<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Whether bytes that come one by one are taken for HTTP/2, after how many that is known, and
    /// what is read then.
    async fn sniffed(bytes: &[u8]) -> (bool, usize, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(256);
        let mut rewind = Rewind::new(server);
        let mut sent = 0;
        let h2 = loop {
            tokio::select! {
                biased;
                h2 = rewind.is_h2() => break h2.unwrap(),
                () = tokio::task::yield_now() => {}
            }
            match bytes.get(sent..=sent) {
                Some(byte) => client.write_all(byte).await.unwrap(),
                None => client.shutdown().await.unwrap(),
            }
            sent = (sent + 1).min(bytes.len());
        };
        client.write_all(&bytes[sent..]).await.ok();
        drop(client);
        let mut read = Vec::new();
        rewind.read_to_end(&mut read).await.unwrap();
        (h2, sent, read)
    }

    #[tokio::test]
    async fn the_first_byte_that_differs_decides_and_nothing_is_lost() {
        for (bytes, h2, after) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], false, 1),
            (b"POST / HTTP/1.1\r\n\r\n", false, 2),
            (b"PROPFIND / HTTP/1.1\r\n\r\n", false, 3),
            (b"PRI * HTTP/1.1\r\n\r\n", false, 12),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", true, 24),
            (b"PRI *", false, 5),
        ] {
            let sniffed = sniffed(bytes).await;
            assert_eq!(sniffed, (h2, after, bytes.to_vec()));
        }
    }
}
