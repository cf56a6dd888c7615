//! When the origin was last heard on a connection, and when it should be asked whether it is there.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::upstream::pool::Io;

/// Silence after which the origin is asked whether it is there, while requests are in flight.
const PING_AFTER: Duration = Duration::from_secs(30);

/// Between two questions in the same silence: gRPC servers take more than one in five minutes for an attack.
const PING_AGAIN: Duration = Duration::from_secs(305);

/// No question has been answered yet.
const NEVER: u64 = u64::MAX;

/// When the origin was last heard, and when it last answered that it is there.
#[derive(Debug)]
pub(super) struct Pulse {
    began: Instant,
    heard: AtomicU64,
    answered: AtomicU64,
}

/// A socket that notes when bytes come in.
pub(super) struct Heard {
    io: Io,
    pulse: Arc<Pulse>,
}

// === impl Pulse ===

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            answered: AtomicU64::new(NEVER),
        }
    }

    /// Milliseconds since the connection began.
    pub(super) fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn hear(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
    }

    /// The origin has answered a question.
    pub(super) fn answered(&self) {
        self.answered.store(self.now(), Ordering::Relaxed);
    }

    /// Whether it is time to ask.
    pub(super) fn wants_ping(&self) -> bool {
        let (heard, answered) = (
            self.heard.load(Ordering::Relaxed),
            self.answered.load(Ordering::Relaxed),
        );
        let now = self.now();
        let since = |then: u64| Duration::from_millis(now.saturating_sub(then));
        since(heard) >= PING_AFTER
            && (answered == NEVER || heard > answered || since(answered) >= PING_AGAIN)
    }
}

// === impl Heard ===

impl Heard {
    pub(super) fn new(io: Io, pulse: Arc<Pulse>) -> Self {
        Self { io, pulse }
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.hear();
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn after(pulse: &Pulse, secs: u64) -> bool {
        tokio::time::advance(Duration::from_secs(secs)).await;
        pulse.wants_ping()
    }

    #[tokio::test(start_paused = true)]
    async fn asks_into_a_silence_once_and_then_seldom() {
        let pulse = Pulse::new();
        tokio::time::advance(Duration::from_secs(1)).await;
        pulse.hear();
        assert!(!after(&pulse, 29).await);
        assert!(after(&pulse, 1).await);
        pulse.hear();
        pulse.answered();
        assert!(!after(&pulse, 300).await);
        assert!(after(&pulse, 5).await);
        pulse.answered();
        tokio::time::advance(Duration::from_secs(1)).await;
        pulse.hear();
        assert!(after(&pulse, 30).await, "a new silence");
    }
}
