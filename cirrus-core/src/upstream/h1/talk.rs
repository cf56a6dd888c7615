//! One request and its response on one connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::MAX_HEAD;
use super::body::ResponseBody;
use super::decode::{self, Form, ResponseHead};
use super::encode::{self, Framing};
use super::framing;
use crate::body::{Body, Response};
use crate::codec::lines::HeaderLines;
use crate::codec::{Malformed, write};
use crate::error::BoxError;
use crate::middleware::Claims;
use crate::upstream::pool::{Home, Io, Wire};

/// How much is read at once: enough for most responses in one call, and few calls for the large ones.
const FIRST_READ: usize = 8 * 1024;
const NEXT_READ: usize = 64 * 1024;

/// What is asked for. The body goes beside it, since it can be sent only once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    /// Path and query, or whatever the request line shall name.
    pub(crate) target: &'a str,
    /// End-to-end fields, with `Host`.
    pub(crate) headers: &'a HeaderMap,
    /// What origins are told about who asks, if that is not among the fields.
    pub(crate) claims: Option<&'a Claims>,
    /// What becomes of the response's header.
    pub(crate) form: Form,
    /// It asks for another protocol: the origin may switch (RFC 9110 §7.8).
    pub(crate) switches: bool,
}

/// What came of a request.
pub(crate) enum Answer {
    /// A response, and when its header was there; its body brings the connection home.
    Response(Response, Instant),
    /// From now on the connection speaks another protocol. What was read ahead is the origin's first word in it.
    Switched(Response, Box<Wire>),
}

/// How long the origin may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// From the last byte of the request to the response's header.
    pub(crate) first_byte: Duration,
    /// Between two reads of the body.
    pub(crate) idle: Duration,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) why: Why,
    /// The origin sent not a single byte.
    pub(crate) silent: bool,
    /// The request's body, if nothing of it was taken yet: it can be sent again.
    pub(crate) body: Option<Box<Body>>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Why {
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the origin closed the connection without a response")]
    Closed,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("no response in time")]
    Late,
    #[error("the client stopped sending in the middle of its request")]
    Stalled,
    #[error("the request's body broke off: {0}")]
    Upload(BoxError),
    /// In HTTP/2: nothing was done about the request, whatever it was.
    #[error("the origin did not take the request")]
    Untaken,
    /// In HTTP/2: this request alone went wrong, or the protocol was broken.
    #[error("the origin broke the exchange off: {0}")]
    Reset(h2::Error),
}

/// A request on its way. Dropped before the response's end it closes the connection.
pub(crate) struct Talk {
    pub(super) wire: Box<Wire>,
    switches: bool,
    form: Form,
    /// The origin has sent something, an interim response perhaps.
    heard: bool,
    /// Heads and chunk lines still to be written.
    out: BytesMut,
    /// Content still to be written after `out`.
    chunk: Bytes,
    upload: Upload,
    /// When bytes last went to the origin.
    progress: Instant,
    /// Bytes have waited for room on the way to the origin.
    held: bool,
}

/// The request's body.
struct Upload {
    body: Body,
    framing: Framing,
    /// A chunk has been written but for the line end behind it.
    open_chunk: bool,
    /// Something was taken from the body: it cannot be sent again.
    touched: bool,
    state: Sending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// More of the body may come.
    Body,
    /// What is left in the buffers is the last.
    Rest,
    /// Everything is written.
    Done,
    /// The origin takes no more; it may have answered already.
    Refused,
}

// === impl Failed ===

impl Failed {
    /// The client's own body broke off before anything was sent.
    pub(crate) fn upload(error: BoxError) -> Self {
        Self {
            why: Why::Upload(error),
            silent: true,
            body: None,
        }
    }
}

// === impl Talk ===

impl Talk {
    /// Sends the request and waits for the response's header. Interim responses are consumed (RFC 9110 §15.2).
    pub(crate) async fn exchange(
        wire: Box<Wire>,
        head: Head<'_>,
        body: Body,
        times: Times,
        home: Home,
    ) -> Result<Answer, Failed> {
        let mut talk = Self::new(wire, head, body);
        match talk.receive(times.first_byte).await {
            Ok(response) if response.status == StatusCode::SWITCHING_PROTOCOLS => {
                Ok(talk.switch(response))
            }
            Ok(response) => talk.respond(head.method, response, times, home),
            Err(why) => Err(talk.failed(why)),
        }
    }

    fn new(wire: Box<Wire>, head: Head<'_>, body: Body) -> Self {
        let framing = Framing::of(head.method, body.size_hint().exact());
        let mut out = BytesMut::new();
        encode::head(&mut out, &head, framing);
        let empty = matches!(framing, Framing::None | Framing::Length(0));
        let state = if empty { Sending::Rest } else { Sending::Body };
        let progress = wire.taken;
        let upload = Upload {
            body,
            framing,
            open_chunk: false,
            touched: false,
            state,
        };
        Self {
            wire,
            switches: head.switches,
            form: head.form,
            heard: false,
            out,
            chunk: Bytes::new(),
            upload,
            progress,
            held: false,
        }
    }

    fn failed(self, why: Why) -> Failed {
        let silent = !self.heard;
        let body = (!self.upload.touched).then(|| Box::new(self.upload.body));
        Failed { why, silent, body }
    }

    /// The response's header, in time.
    async fn receive(&mut self, limit: Duration) -> Result<ResponseHead, Why> {
        let mut timer = self.wire.timer(limit);
        let received = poll_fn(|cx| {
            if let Poll::Ready(head) = self.poll_head(cx) {
                return Poll::Ready(head);
            }
            while timer.as_mut().poll(cx).is_ready() {
                // The limit begins with the last byte sent: a long upload is not the origin's delay.
                let late = self.progress + limit;
                if late <= Instant::now() {
                    return Poll::Ready(Err(self.late()));
                }
                timer.as_mut().reset(late);
            }
            Poll::Pending
        })
        .await;
        self.wire.keep_timer(timer);
        received
    }

    /// Who is late: the origin, unless it is still waiting for the client's next bytes.
    fn late(&self) -> Why {
        if self.upload.state == Sending::Body && !self.has_pending() {
            Why::Stalled
        } else {
            Why::Late
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Why>> {
        // Whether it is done or not: an origin may answer before it has read everything.
        let _ = self.poll_send(cx)?;
        loop {
            if !self.wire.read.is_empty() {
                match decode::head(&mut self.wire.read, self.form)? {
                    Some(head) if head.status.is_informational() => {
                        if head.status == StatusCode::SWITCHING_PROTOCOLS && self.switches {
                            return Poll::Ready(Ok(head));
                        }
                        if head.status == StatusCode::SWITCHING_PROTOCOLS {
                            return Poll::Ready(Err(Malformed(
                                "a switch of protocols nobody asked for",
                            )
                            .into()));
                        }
                        continue;
                    }
                    Some(head) => return Poll::Ready(Ok(head)),
                    None => {}
                }
            }
            if ready!(self.poll_fill(cx, FIRST_READ))? == 0 {
                return Poll::Ready(Err(Why::Closed));
            }
            self.heard = true;
        }
    }

    /// Reads more into the buffer; 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        size: usize,
    ) -> Poll<io::Result<usize>> {
        let buffer = &mut self.wire.read;
        let mut io = Pin::new(&mut self.wire.io);
        if buffer.capacity() == 0 && size <= FIRST_READ {
            return poll_first_read(io.as_mut(), cx, buffer);
        }
        if buffer.capacity() - buffer.len() < size / 4 {
            buffer.reserve(size);
        }
        tokio_util::io::poll_read_buf(io.as_mut(), cx, buffer)
    }

    /// How much to read at once for a body of which so much is still to come.
    pub(super) fn read_size(left: Option<u64>) -> usize {
        left.map_or(NEXT_READ, |left| {
            usize::try_from(left)
                .unwrap_or(NEXT_READ)
                .clamp(FIRST_READ, NEXT_READ)
        })
    }

    /// Drives the upload; ready when nothing more is to be sent.
    ///
    /// An origin that closes its receiving side may have answered before: that is for the reader to find out.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Why>> {
        loop {
            match self.upload.state {
                Sending::Done | Sending::Refused => return Poll::Ready(Ok(())),
                Sending::Body | Sending::Rest if self.has_pending() => {
                    let Poll::Ready(written) = self.poll_write(cx) else {
                        self.held = true;
                        return Poll::Pending;
                    };
                    match written {
                        // Otherwise the head is all there is, and it went out at once.
                        Ok(()) if self.held || self.upload.touched => {
                            self.progress = Instant::now();
                        }
                        Ok(()) => {}
                        Err(_) => self.upload.state = Sending::Refused,
                    }
                }
                Sending::Body => match self.poll_body(cx) {
                    Poll::Ready(taken) => taken.map_err(Why::Upload)?,
                    Poll::Pending => {
                        // TLS may hold back what it has taken; the origin may be waiting for it.
                        if let Poll::Ready(Err(_)) = Pin::new(&mut self.wire.io).poll_flush(cx) {
                            self.upload.state = Sending::Refused;
                            continue;
                        }
                        return Poll::Pending;
                    }
                },
                Sending::Rest => {
                    if ready!(Pin::new(&mut self.wire.io).poll_flush(cx)).is_err() {
                        self.upload.state = Sending::Refused;
                        continue;
                    }
                    self.upload.state = Sending::Done;
                }
            }
        }
    }

    fn has_pending(&self) -> bool {
        !self.out.is_empty() || !self.chunk.is_empty()
    }

    /// Writes head and content in one call where the socket can.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = Pin::new(&mut self.wire.io);
        let written = ready!(match (self.out.is_empty(), self.chunk.is_empty()) {
            (_, true) => io.as_mut().poll_write(cx, &self.out),
            (true, false) => io.as_mut().poll_write(cx, &self.chunk),
            (false, false) => {
                let slices = [io::IoSlice::new(&self.out), io::IoSlice::new(&self.chunk)];
                io.as_mut().poll_write_vectored(cx, &slices)
            }
        })?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let head = written.min(self.out.len());
        self.out.advance(head);
        self.chunk.advance(written - head);
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the request's body into the buffers.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let frame = ready!(Pin::new(&mut self.upload.body).poll_frame(cx));
        self.upload.touched = true;
        let chunked = self.upload.framing == Framing::Chunked;
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(self.queue(data)),
                Err(frame) => {
                    let trailers = frame.into_trailers().ok().filter(|_| chunked);
                    self.end_upload(trailers.as_ref())?;
                }
            },
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => self.end_upload(None)?,
        }
        Poll::Ready(Ok(()))
    }

    fn queue(&mut self, data: Bytes) -> Result<(), BoxError> {
        match &mut self.upload.framing {
            Framing::Chunked => {
                self.close_chunk();
                write::chunk_size(&mut self.out, data.len());
                self.upload.open_chunk = true;
            }
            Framing::Length(left) => {
                *left = left
                    .checked_sub(data.len() as u64)
                    .ok_or("the request's body is longer than it says")?;
            }
            Framing::None => return Err("the request has a body that it does not announce".into()),
        }
        self.chunk = data;
        Ok(())
    }

    /// The line end behind a chunk goes out with what follows it, so that the content itself is never copied.
    fn close_chunk(&mut self) {
        if std::mem::take(&mut self.upload.open_chunk) {
            self.out.extend_from_slice(b"\r\n");
        }
    }

    fn end_upload(&mut self, trailers: Option<&HeaderMap>) -> Result<(), BoxError> {
        match self.upload.framing {
            Framing::Chunked => {
                self.close_chunk();
                write::last_chunk(&mut self.out, trailers);
            }
            Framing::Length(left) if left > 0 => {
                return Err("the request's body is shorter than it says".into());
            }
            Framing::Length(_) | Framing::None => {}
        }
        self.upload.state = Sending::Rest;
        Ok(())
    }

    /// The connection may carry another request once this response has been read to its end.
    pub(super) fn is_clean(&self) -> bool {
        self.upload.state == Sending::Done && self.wire.read.is_empty()
    }

    /// The connection is given away with what the origin has already said in the other protocol.
    fn switch(self, head: ResponseHead) -> Answer {
        let mut response = Response::default();
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Answer::Switched(response, self.wire)
    }

    /// This much of what was read. Mostly that is all, and the buffer itself becomes it.
    fn content(&mut self, length: usize) -> Bytes {
        let buffer = &mut self.wire.read;
        if buffer.len() == length {
            std::mem::take(buffer).freeze()
        } else {
            buffer.split_to(length).freeze()
        }
    }

    fn respond(
        mut self,
        method: &Method,
        head: ResponseHead,
        times: Times,
        home: Home,
    ) -> Result<Answer, Failed> {
        let framing = match framing::framing(method, &head) {
            Ok(framing) => framing,
            Err(malformed) => return Err(self.failed(malformed.into())),
        };
        let reusable = framing::keeps_alive(&head);
        let now = Instant::now();
        let body = match framing {
            // All there already: no state machine, and the connection is free at once.
            framing::Framing::Length(length) if self.wire.read.len() as u64 >= length => {
                let content = self.content(length as usize);
                if reusable && self.is_clean() {
                    home.put(self.wire, now);
                }
                Body::full(content)
            }
            _ => Body::stream(ResponseBody::new(self, framing, reusable, times.idle, home)),
        };
        let body = match head.lines {
            Some(lines) => body.with_lines(HeaderLines::Relayed(lines)),
            None => body,
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        if head.status == StatusCode::NO_CONTENT {
            // It must not say how long nothing is (RFC 9110 §8.6).
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        Ok(Answer::Response(response, now))
    }
}

/// Reads by way of memory that every connection of this thread uses: as long as nothing comes, a connection that waits
/// has no buffer, and then one of the right size.
fn poll_first_read(
    io: Pin<&mut Io>,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    thread_local! {
        static ROOM: RefCell<[u8; FIRST_READ]> = const { RefCell::new([0; FIRST_READ]) };
    }
    ROOM.with_borrow_mut(|room| {
        let mut read = ReadBuf::new(room);
        ready!(io.poll_read(cx, &mut read))?;
        buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}

/// Reads nothing: only tells whether the connection has ended or speaks out of turn while it is idle.
pub(crate) fn is_quiet(wire: &mut Wire) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let io = Pin::new(&mut wire.io);
    // Readiness is known from the reactor's last turn: no system call unless something has happened.
    io.poll_read(&mut cx, &mut buffer).is_pending()
}

const _: () = assert!(FIRST_READ <= MAX_HEAD);
