//! A client's socket, what was read ahead of it, and what is still to be written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite};

use super::decode::Framing;
use super::room::Room;
use crate::codec::chunked::{Chunked, Found};
use crate::codec::{Malformed, write};
use crate::error::BoxError;

/// How much is read at once while a head is looked for.
const HEAD_READ: usize = 4 * 1024;

/// How much is read at once of a body.
const BODY_READ: usize = 64 * 1024;

/// Content from this size on is written from where it lies instead of being copied behind the head.
pub(super) const COPIED: usize = 8 * 1024;

/// Pieces of content in one write.
const SLICES: usize = 16;

/// So much goes out in one write, unless the client has stopped reading.
const SHORT: usize = 64 * 1024;

/// A client's socket with its buffers. Shared by the connection, which writes, and the request's body, which reads;
/// both run on the same worker, so nobody waits for its lock.
pub(super) struct Link<IO> {
    pub(super) io: IO,
    pub(super) read: BytesMut,
    out: Vec<u8>,
    /// So much of `out` is written.
    written: usize,
    /// Content to be written behind `out`.
    tail: VecDeque<Bytes>,
    waiting: usize,
    room: Room,
    /// A client that ends its side has not left.
    half_close: bool,
    /// It has ended its side.
    has_ended: bool,
    /// Something was written since somebody last asked.
    has_moved: bool,
    pub(super) upload: Upload,
    /// How many requests have begun.
    pub(super) requests: u64,
}

/// The present request's body.
#[derive(Debug, Default)]
pub(super) struct Upload {
    state: State,
    /// The client waits to be told that it may send.
    expects: bool,
    /// Nobody will read the rest.
    pub(super) is_abandoned: bool,
    /// Whoever waits for the body's end to see whether the client is still there.
    owner: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// All of it has been read, or there is none.
    #[default]
    Done,
    Length(u64),
    Chunked(Chunked),
    /// It was not valid, or the client went away in its middle.
    Broken,
}

// === impl Link ===

impl<IO> Link<IO> {
    /// A socket of which `ahead` has been read already. With `half_close` a client may end its side and still be served.
    pub(super) fn new(io: IO, ahead: &[u8], half_close: bool, room: Room) -> Self {
        Self {
            io,
            read: BytesMut::from(ahead),
            out: Vec::new(),
            written: 0,
            tail: VecDeque::new(),
            waiting: 0,
            room,
            half_close,
            has_ended: false,
            has_moved: false,
            upload: Upload::default(),
            requests: 0,
        }
    }

    /// Where the next head goes.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Adds content behind everything that waits.
    pub(super) fn push(&mut self, content: Bytes) {
        self.waiting += content.len();
        if content.len() < COPIED && self.tail.is_empty() {
            self.out.extend_from_slice(&content);
        } else {
            self.tail.push_back(content);
        }
    }

    /// There is room for more content.
    pub(super) fn has_room(&self) -> bool {
        self.tail.len() < SLICES - 3 && self.room.is_left(self.waiting)
    }

    /// Adds content as a chunk (RFC 9112 §7.1).
    pub(super) fn push_chunk(&mut self, content: Bytes) {
        let mut line = Vec::with_capacity(18);
        write::chunk_size(&mut line, content.len());
        self.push_line(&line);
        self.push(content);
        self.push_line(b"\r\n");
    }

    /// Adds a few bytes behind everything that waits.
    pub(super) fn push_line(&mut self, line: &[u8]) {
        if self.tail.is_empty() {
            self.out.extend_from_slice(line);
        } else {
            self.waiting += line.len();
            self.tail.push_back(Bytes::copy_from_slice(line));
        }
    }

    /// What waits fits into a socket's buffer, which the client has not let fill up.
    pub(super) fn is_short(&self) -> bool {
        self.waiting <= SHORT && !self.room.is_taken()
    }

    /// Nothing is left to be written.
    pub(super) fn is_written(&self) -> bool {
        self.written == self.out.len() && self.tail.is_empty()
    }

    /// Something was written since the last call.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// An idle connection keeps no buffers.
    pub(super) fn shed(&mut self) {
        self.read = BytesMut::new();
        self.out = Vec::new();
        self.tail = VecDeque::new();
    }

    /// A request begins whose body ends like this. The body is returned if all of it is here already.
    pub(super) fn begin(&mut self, framing: Framing, expects: bool) -> Option<Bytes> {
        self.requests += 1;
        self.upload = Upload {
            state: match framing {
                Framing::None => State::Done,
                Framing::Length(length) => State::Length(length),
                Framing::Chunked => State::Chunked(Chunked::Size),
            },
            expects,
            ..Upload::default()
        };
        match framing {
            Framing::None => Some(Bytes::new()),
            Framing::Length(length) if self.read.len() as u64 >= length => {
                self.upload.state = State::Done;
                Some(self.read.split_to(length as usize).freeze())
            }
            _ => None,
        }
    }

    fn forget_written(&mut self) {
        self.out.clear();
        self.written = 0;
        self.waiting = 0;
        self.room.wait(0);
    }
}

impl<IO: AsyncRead + Unpin> Link<IO> {
    /// Reads more into the buffer; 0 is the client's end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let size = match self.upload.state {
            State::Length(left) => left.clamp(HEAD_READ as u64, BODY_READ as u64) as usize,
            State::Chunked(_) => BODY_READ,
            State::Done | State::Broken => HEAD_READ,
        };
        if self.read.capacity() - self.read.len() < size / 4 {
            self.read.reserve(size);
        }
        tokio_util::io::poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read)
    }

    /// Ready when the client has ended its side. What it sends meanwhile is kept, up to a head's size.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.upload.is_open() {
            // The body's reader hears of it; two cannot wait for one socket.
            self.upload.owner = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while self.read.len() < HEAD_READ && !self.has_ended {
            match ready!(self.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) if self.half_close => self.has_ended = true,
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

impl<IO: AsyncWrite + Unpin> Link<IO> {
    /// Writes what waits; ready when all of it has gone.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let Poll::Ready(count) = self.poll_write_once(cx)? else {
                self.room.wait(self.waiting);
                return Poll::Pending;
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        self.forget_written();
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let head = &self.out[self.written..];
        if self.tail.is_empty() {
            return Pin::new(&mut self.io).poll_write(cx, head);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        slices[0] = IoSlice::new(head);
        let mut count = 1;
        for (slice, content) in slices[1..].iter_mut().zip(&self.tail) {
            *slice = IoSlice::new(content);
            count += 1;
        }
        let from = usize::from(head.is_empty());
        Pin::new(&mut self.io).poll_write_vectored(cx, &slices[from..count])
    }

    fn advance(&mut self, count: usize) {
        self.has_moved = true;
        let head = count.min(self.out.len() - self.written);
        self.written += head;
        let mut rest = count - head;
        while rest > 0 {
            let Some(first) = self.tail.front_mut() else {
                return;
            };
            let now = rest.min(first.len());
            first.advance(now);
            rest -= now;
            // What has gone waits no longer, though more of it does.
            self.waiting -= now;
            if first.is_empty() {
                self.tail.pop_front();
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Link<IO> {
    /// The next piece of the request's body.
    pub(super) fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.take_content() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if !self.upload.is_open() => return Poll::Ready(None),
                Ok(None) => {}
                Err(malformed) => return Poll::Ready(Some(Err(self.upload.broken(malformed)))),
            }
            if std::mem::take(&mut self.upload.expects) {
                self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            // Of no use to wait for it: if it cannot be written, nothing will come either.
            if !self.is_written() {
                let _ = self.poll_write(cx);
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Some(Err(self.upload.cut_off()))),
                Ok(_) => {}
                Err(error) => {
                    self.upload.end(State::Broken);
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
    }

    fn take_content(&mut self) -> Result<Option<Frame<Bytes>>, Malformed> {
        match &mut self.upload.state {
            State::Done | State::Broken => Ok(None),
            State::Length(_) if self.read.is_empty() => Ok(None),
            State::Length(left) => {
                let now = (*left).min(self.read.len() as u64);
                *left -= now;
                if *left == 0 {
                    self.upload.end(State::Done);
                }
                Ok(Some(Frame::data(self.read.split_to(now as usize).freeze())))
            }
            State::Chunked(chunked) => match chunked.decode(&mut self.read)? {
                Found::Data(data) => Ok(Some(Frame::data(data))),
                Found::More => Ok(None),
                Found::End(trailers) => {
                    self.upload.end(State::Done);
                    Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
                }
            },
        }
    }
}

// === impl Upload ===

impl Upload {
    /// The response has begun: from now on `100 Continue` would stand in its middle. Whether the client was still waiting
    /// for it; then nobody knows whether it sends the body.
    pub(super) fn answered(&mut self) -> bool {
        std::mem::take(&mut self.expects)
    }

    /// More of it is to come.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// It was read to its end: the next request can follow.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How much is to come, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.state {
            State::Done | State::Broken => Some(0),
            State::Length(left) => Some(left),
            State::Chunked(_) => None,
        }
    }

    fn end(&mut self, state: State) {
        self.state = state;
        if let Some(owner) = self.owner.take() {
            owner.wake();
        }
    }

    fn broken(&mut self, malformed: Malformed) -> BoxError {
        self.end(State::Broken);
        io::Error::new(io::ErrorKind::InvalidData, malformed).into()
    }

    fn cut_off(&mut self) -> BoxError {
        self.end(State::Broken);
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the client went away in the middle of its request",
        )
        .into()
    }
}
