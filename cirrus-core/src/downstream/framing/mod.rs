//! What may be read in two ways never reaches the HTTP/1 parser.
//!
//! hyper repairs some of it silently: of `Transfer-Encoding` and `Content-Length` it takes one, a repeated length it
//! drops, a bare line feed it takes for a line's end. Whoever stands before or behind us may repair it otherwise, and
//! then two requests are seen where one was sent. So [`Guard`] follows the raw bytes with [`Machine`] and hands on only
//! what has one reading.
//!
//! Whatever is refused is cut off right before its first wrong byte, so that hyper has neither a whole header nor a whole
//! body from it. In a header, the responses before it go out first; then the guard itself answers 400 and ends the
//! connection. In a body, the body breaks off: the origin sees an aborted request, and the client gets 400 from the
//! engine unless a response had begun.
//!
//! A request that asks for an upgrade is the last one that is read until the engine has answered it: what comes behind
//! it is held back. If the answer is 101 it is passed through as it is, and nothing is guarded any more; otherwise it is
//! the next request, and guarded as ever.

mod machine;
mod turn;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use machine::{Machine, Refused};
use turn::Next;
pub(super) use turn::Turn;

/// Reads requests beneath hyper and lets through only those that have one reading.
pub(super) struct Guard<IO> {
    io: IO,
    mode: Mode,
    machine: Machine,
    turn: Arc<Turn>,
    /// What came behind a request for an upgrade and could not be handed on yet.
    held: Vec<u8>,
}

/// What happens to the bytes that come in.
enum Mode {
    /// They are followed.
    Guarding,
    /// They wait for the answer to a request for an upgrade.
    Waiting,
    /// They belong to another protocol.
    Passing,
    /// They are over: a body was refused.
    Broken(&'static str),
    /// They are over: a header was refused.
    Refused(Farewell),
}

/// The way of a refused header's answer.
struct Farewell {
    why: &'static str,
    /// hyper waits for the rest of the header: every response before it has been made.
    is_due: bool,
    /// What is still to be written; `None` once all has been said.
    answer: Option<(Vec<u8>, usize)>,
}

/// The most that is read ahead while an upgrade is not decided.
const HELD: usize = 4096;

/// The most that is thrown away before the connection ends: closing a socket with bytes unread could take the answer
/// away from the client again.
const DISCARDED: usize = 256 * 1024;

// === impl Guard ===

impl<IO> Guard<IO> {
    pub(super) fn new(io: IO, turn: Arc<Turn>) -> Self {
        Self {
            io,
            mode: Mode::Guarding,
            machine: Machine::default(),
            turn,
            held: Vec::new(),
        }
    }

    /// Follows what was read from `start` on, and cuts off what hyper must not see.
    fn follow(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        let new = &mut buf.filled_mut()[start..];
        match self.machine.feed(new) {
            Ok(None) => {}
            Ok(Some(end)) => {
                self.turn.wait();
                self.mode = Mode::Waiting;
                self.held.splice(..0, new[end..].iter().copied());
                buf.set_filled(start + end);
            }
            Err(Refused { at, why }) => {
                let keep = self.refuse(why, new, at);
                buf.set_filled(start + keep);
            }
        }
    }

    /// How much of `new` may still be handed on.
    fn refuse(&mut self, why: &'static str, new: &mut [u8], at: usize) -> usize {
        self.held = Vec::new();
        if self.machine.is_in_body() {
            self.mode = Mode::Broken(why);
            return at;
        }
        self.mode = Mode::Refused(Farewell::new(why));
        if self.machine.is_before_head() {
            // hyper must have the beginning of a header in its hands: only then its next read is for the rest of it, and
            // not a look whether the client is still there while an earlier response is on its way.
            new[at] = b'X';
            return at + 1;
        }
        at
    }

    /// Learns what became of a request for an upgrade.
    fn look(&mut self, cx: &mut Context<'_>) {
        match self.turn.next(cx) {
            Next::Undecided => {}
            Next::Request => self.mode = Mode::Guarding,
            Next::Tunnel => self.mode = Mode::Passing,
        }
    }

    /// Hands on what was held back.
    fn release(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.held.len().min(buf.remaining());
        let start = buf.filled().len();
        buf.put_slice(&self.held[..length]);
        self.held.drain(..length);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        if matches!(self.mode, Mode::Guarding) {
            self.follow(buf, start);
        }
    }
}

impl<IO: AsyncRead + Unpin> Guard<IO> {
    /// Looks only for the client's end while an upgrade is not decided.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            return Poll::Pending;
        }
        let mut bytes = [0; HELD];
        let mut buf = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        if buf.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.held.extend_from_slice(buf.filled());
        Poll::Pending
    }

    /// Throws away what has come already, without waiting for more.
    fn discard(&mut self, cx: &mut Context<'_>) {
        let mut bytes = [0; HELD];
        for _ in 0..DISCARDED / HELD {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                _ => return,
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> Guard<IO> {
    /// Answers a refused header, once hyper has written everything before it.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Mode::Refused(farewell) = &mut self.mode else {
            return Poll::Ready(Ok(()));
        };
        let Some((answer, written)) = farewell.answer.as_mut().filter(|_| farewell.is_due) else {
            return Poll::Ready(Ok(()));
        };
        while *written < answer.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &answer[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        farewell.answer = None;
        // hyper waits for a read.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guard<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        loop {
            if matches!(this.mode, Mode::Waiting) {
                this.look(cx);
            }
            match &mut this.mode {
                Mode::Waiting => return this.poll_held(cx),
                Mode::Broken(why) => {
                    this.turn.refuse();
                    return Poll::Ready(Err(malformed(why)));
                }
                Mode::Refused(farewell) => {
                    this.turn.refuse();
                    farewell.is_due = true;
                    if farewell.answer.is_some() {
                        // hyper flushes before it sleeps; the answer follows upon that.
                        return Poll::Pending;
                    }
                    let why = farewell.why;
                    this.discard(cx);
                    return Poll::Ready(Err(malformed(why)));
                }
                Mode::Guarding | Mode::Passing if !this.held.is_empty() => this.release(buf),
                Mode::Passing => return Pin::new(&mut this.io).poll_read(cx, buf),
                Mode::Guarding => {
                    ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
                    if buf.filled().len() == start {
                        return Poll::Ready(Ok(()));
                    }
                    this.follow(buf, start);
                }
            }
            // Nothing is left of it if the first byte was wrong already; that must not look like the client's end.
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
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

    /// hyper flushes only when it has nothing left to write.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.poll_farewell(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

// === impl Farewell ===

impl Farewell {
    fn new(why: &'static str) -> Self {
        let text = format!("400 Bad Request: {why}\n");
        let length = text.len();
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
             cache-control: no-store\r\ncontent-length: {length}\r\n\r\n{text}"
        );
        Self {
            why,
            is_due: false,
            answer: Some((answer.into_bytes(), 0)),
        }
    }
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
