//! HTTP/2, with a client that chose it by ALPN or by prior knowledge.
//!
//! h2 speaks the protocol; what stands here is what a server in the open needs around it: each
//! stream is a task (`stream`), a client that does not read is given up, one that floods is told to
//! calm down (`frames`), and a WebSocket is bridged to origins that know it from HTTP/1.1 only
//! (`duplex`).

mod body;
mod duplex;
mod frames;
mod stream;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection as Server, Handshake};
use h2::{Reason, RecvStream};
use hyper::rt::Executor as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use super::activity::Activity;
use super::connection::Connection;
use crate::config::Limits;
use crate::server::{TaskExecutor, Worker};
#[cfg(fuzzing)]
pub use frames::fuzz::h2_frames;
use frames::{Flood, Watched};

/// What the streams of one connection have in common.
pub(super) struct Shared {
    pub(super) connection: Arc<Connection>,
    pub(super) activity: Arc<Activity>,
    pub(super) worker: Arc<Worker>,
    pub(super) limits: Limits,
}

/// A connection that is served, until either side ends it.
pub(super) struct Served<IO> {
    state: State<IO>,
    shared: Arc<Shared>,
    flood: Flood,
    /// How many requests may still come.
    left: u32,
    is_closing: bool,
    /// Until when a flooding client may take its farewell.
    farewell: Option<Pin<Box<Sleep>>>,
}

enum State<IO> {
    Handshake(Handshake<Watched<IO>, Bytes>),
    Open(Server<Watched<IO>, Bytes>),
}

/// How much of each stream's response waits in memory for a client that does not read.
const SEND_BUFFER: usize = 64 * 1024;

/// How much of one request's body, and of all on the connection, clients may send ahead of whoever
/// reads it.
const WINDOW: u32 = 1024 * 1024;

/// How long a flooding client may take to hear why it is left.
const FAREWELL: Duration = Duration::from_secs(1);

// === impl Served ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Served<IO> {
    pub(super) fn new(io: IO, shared: Shared) -> Self {
        let (limits, flood) = (shared.limits, Flood::default());
        let io = Watched::new(io, flood.clone(), Arc::clone(&shared.activity));
        let handshake = h2::server::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.header_bytes)
            .max_send_buffer_size(SEND_BUFFER)
            // A client may give up all it has at once; `frames` sees to how often.
            .max_pending_accept_reset_streams(limits.streams as usize)
            .enable_connect_protocol()
            .handshake(io);
        Self {
            state: State::Handshake(handshake),
            shared: Arc::new(shared),
            flood,
            left: limits.requests_per_connection,
            is_closing: false,
            farewell: None,
        }
    }

    /// Takes no new requests, and ends with the last response.
    pub(super) fn close(mut self: Pin<&mut Self>) {
        self.is_closing = true;
        if let State::Open(server) = &mut self.state {
            server.graceful_shutdown();
        }
    }

    fn begin(&mut self, request: http::Request<RecvStream>, respond: stream::Respond) {
        let task = stream::serve(request, respond, Arc::clone(&self.shared));
        TaskExecutor.execute(task);
        self.left = self.left.saturating_sub(1);
        if self.left == 0 && !self.is_closing {
            self.shared.worker.cells.worn.add(1);
            Pin::new(self).close();
        }
    }

    /// Tells a flooding client to calm down, and ends the connection.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Open(server) = &mut self.state else {
            return Poll::Ready(());
        };
        let farewell = self.farewell.get_or_insert_with(|| {
            server.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            Box::pin(tokio::time::sleep(FAREWELL))
        });
        if farewell.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        server.poll_closed(cx).map(drop)
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            let State::Open(server) = &mut self.state else {
                return Poll::Pending;
            };
            match ready!(server.poll_accept(cx)) {
                Some(Ok((request, respond))) => self.begin(request, respond),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Served<IO> {
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let State::Handshake(handshake) = &mut this.state
            && let Poll::Ready(server) = Pin::new(handshake).poll(cx)?
        {
            this.state = State::Open(server);
            if this.is_closing {
                Pin::new(&mut *this).close();
            }
        }
        if let Poll::Ready(result) = this.poll_open(cx) {
            return Poll::Ready(result);
        }
        if this.flood.has_come() {
            ready!(this.poll_farewell(cx));
            return Poll::Ready(Err(Reason::ENHANCE_YOUR_CALM.into()));
        }
        Poll::Pending
    }
}
