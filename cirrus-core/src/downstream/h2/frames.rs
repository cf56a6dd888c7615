//! Counts what a client has us do beneath requests: frames that are cheap to send, dear to handle,
//! and mean nothing.
//!
//! Only the nine bytes before each frame are looked at. h2 itself limits header blocks
//! (CONTINUATION), tiny DATA frames, and streams that are reset before they are seen; it does not
//! limit how often a client pings, changes its settings, moves its windows, or opens streams only
//! to reset them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::downstream::Activity;

/// Reads and writes beneath h2: notes what comes in, and whether what goes out finds room.
pub(super) struct Watched<IO> {
    io: IO,
    frames: Frames,
    budgets: Budgets,
    flood: Flood,
    activity: Arc<Activity>,
}

/// Whether a client has sent too much of something. Nothing is read any more from then on.
#[derive(Clone, Debug, Default)]
pub(super) struct Flood(Arc<AtomicBool>);

/// Finds the frames among the bytes that come in.
#[derive(Debug)]
struct Frames {
    header: [u8; HEADER],
    /// How much of the header is there.
    have: usize,
    /// What is left of the preface, or of a frame's payload.
    skip: usize,
}

/// What is known of a frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
}

/// How much of each kind a client may still send.
#[derive(Debug)]
struct Budgets {
    /// Streams given up. Netty takes 200 in 30 s; a browser that leaves a page gives up all of its
    /// streams at once.
    resets: Budget,
    /// SETTINGS and PING want an answer each. Envoy keeps up to 1000 of them waiting.
    answers: Budget,
    /// WINDOW_UPDATE; what goes out and what is asked earns more (Envoy: 10 for each DATA frame).
    windows: Budget,
    /// DATA without data. Envoy takes 1 in a row, Netty 2.
    empty: Budget,
    /// PRIORITY and whatever means nothing here.
    other: Budget,
}

/// Refills with time, but is not looked at unless it is empty.
#[derive(Debug)]
struct Budget {
    left: u32,
    most: u32,
    each_second: u32,
    filled: Instant,
}

const HEADER: usize = 9;
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

/// Bytes sent that earn a client another WINDOW_UPDATE, two of them being sent for each read at the
/// most.
const BYTES_A_WINDOW: usize = 512;

// === impl Frames ===

impl Default for Frames {
    fn default() -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            skip: PREFACE,
        }
    }
}

impl Frames {
    /// The next frame that begins in `bytes`; takes away what has been looked at.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        *bytes = &bytes[skipped..];
        let taken = (HEADER - self.have).min(bytes.len());
        let (head, rest) = bytes.split_at(taken);
        self.header[self.have..self.have + taken].copy_from_slice(head);
        self.have += taken;
        *bytes = rest;
        if self.have < HEADER {
            return None;
        }
        self.have = 0;
        let [a, b, c, kind, flags, ..] = self.header;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(Frame {
            length: self.skip,
            kind,
            flags,
        })
    }
}

// === impl Budgets ===

impl Budgets {
    fn new() -> Self {
        Self {
            resets: Budget::new(200, 20),
            answers: Budget::new(1000, 100),
            windows: Budget::new(1000, 100),
            empty: Budget::new(100, 10),
            other: Budget::new(1000, 100),
        }
    }

    /// Whether this frame is still within them.
    fn allow(&mut self, frame: Frame) -> bool {
        match frame.kind {
            DATA if frame.length == 0 && frame.flags & END_STREAM == 0 => self.empty.take(),
            DATA | CONTINUATION => true,
            HEADERS => {
                self.windows.earn(2);
                true
            }
            RST_STREAM => self.resets.take(),
            SETTINGS | PING => self.answers.take(),
            WINDOW_UPDATE => self.windows.take(),
            _ => self.other.take(),
        }
    }
}

// === impl Budget ===

impl Budget {
    fn new(most: u32, each_second: u32) -> Self {
        Self {
            left: most,
            most,
            each_second,
            filled: Instant::now(),
        }
    }

    fn take(&mut self) -> bool {
        if self.left == 0 {
            let earned = self.filled.elapsed().as_millis() * u128::from(self.each_second) / 1000;
            self.left = self.most.min(u32::try_from(earned).unwrap_or(u32::MAX));
            if self.left == 0 {
                return false;
            }
            self.filled = Instant::now();
        }
        self.left -= 1;
        true
    }

    /// More than time gives; what is earned is not lost, but does not grow without end either.
    fn earn(&mut self, more: usize) {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(more).min(1 << 20);
    }
}

// === impl Flood ===

impl Flood {
    pub(super) fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn came(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// === impl Watched ===

impl<IO> Watched<IO> {
    pub(super) fn new(io: IO, flood: Flood, activity: Arc<Activity>) -> Self {
        Self {
            io,
            frames: Frames::default(),
            budgets: Budgets::new(),
            flood,
            activity,
        }
    }

    fn is_within_budgets(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(frame) = self.frames.next(&mut bytes) {
            if !self.budgets.allow(frame) {
                return false;
            }
        }
        true
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.activity.blocked(),
            Poll::Ready(Ok(length)) => {
                self.activity.unblocked();
                self.budgets.windows.earn(length.div_ceil(BYTES_A_WINDOW));
            }
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.flood.has_come() {
            return Poll::Pending;
        }
        let start = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if this.is_within_budgets(&buf.filled()[start..]) {
            return Poll::Ready(Ok(()));
        }
        // Whoever polls the connection looks at the flood next, and says farewell.
        this.flood.came();
        buf.set_filled(start);
        Poll::Pending
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.wrote(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.wrote(&written);
        written
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

#[cfg(fuzzing)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const fn frame(length: usize, kind: u8, flags: u8) -> Frame {
        Frame {
            length,
            kind,
            flags,
        }
    }

    fn written(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = vec![b'p'; PREFACE];
        for frame in frames {
            bytes.extend_from_slice(&(frame.length as u32).to_be_bytes()[1..]);
            bytes.extend_from_slice(&[frame.kind, frame.flags, 0, 0, 0, 1]);
            bytes.resize(bytes.len() + frame.length, 0xff);
        }
        bytes
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_come(
            frames in proptest::collection::vec((0usize..300, any::<u8>(), any::<u8>()), 0..20),
            piece in 1usize..50,
        ) {
            let frames: Vec<_> = frames.into_iter().map(|(a, b, c)| frame(a, b, c)).collect();
            let (mut parser, mut found) = (Frames::default(), Vec::new());
            for mut bytes in written(&frames).chunks(piece) {
                found.extend(std::iter::from_fn(|| parser.next(&mut bytes)));
                prop_assert!(bytes.is_empty());
            }
            prop_assert_eq!(found, frames);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_means_nothing_is_taken_for_a_while() {
        for (frame, most, each_second) in [
            (frame(4, RST_STREAM, 0), 200, 20),
            (frame(8, PING, 0), 1000, 100),
            (frame(0, SETTINGS, 0), 1000, 100),
            (frame(4, WINDOW_UPDATE, 0), 1000, 100),
            (frame(0, DATA, 0), 100, 10),
            (frame(5, 2, 0), 1000, 100),
        ] {
            let mut budgets = Budgets::new();
            let mut sent = || (0..100_000).take_while(|_| budgets.allow(frame)).count();
            assert_eq!(sent(), most, "{frame:?}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(sent(), each_second, "{frame:?}");
            tokio::time::advance(Duration::from_secs(3600)).await;
            assert_eq!(sent(), most, "{frame:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_means_something_is_always_taken() {
        let mut budgets = Budgets::new();
        for frame in [
            frame(100, DATA, 0),
            frame(0, DATA, END_STREAM),
            frame(10, HEADERS, 0),
        ] {
            assert!((0..100_000).all(|_| budgets.allow(frame)));
        }
        // A download earns its window updates.
        assert!((0..100_000).all(|_| {
            budgets.windows.earn(2);
            budgets.allow(frame(4, WINDOW_UPDATE, 0))
        }));
    }
}
