//! One connection, shared by the requests that are on it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use http::Request;

use super::pulse::{Heard, Pulse};
use super::sessions::Origin;
use super::{CONNECTION_WINDOW, MAX_STREAMS, SEND_BUFFER, STREAM_WINDOW};
use crate::cache::Scheme;
use crate::server::Drain;
use crate::upstream::h1::MAX_HEAD;
use crate::upstream::pool::{IDLE_TIME, Io};

/// Between two looks at a connection.
const LOOK: Duration = Duration::from_secs(5);

/// How long the origin may take to answer that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection, shared by the requests that are on it. When nobody has it any more, it is closed.
pub(super) struct Session {
    sender: SendRequest<Bytes>,
    scheme: Scheme,
    pulse: Arc<Pulse>,
    streams: AtomicUsize,
    /// It has carried a request before.
    used: AtomicBool,
    /// Takes no further requests, though it might seem so.
    retired: AtomicBool,
    /// When it last became idle, as [`Pulse::now`] says.
    rested: AtomicU64,
}

/// Room for one request on a connection; gives it back when it is dropped.
pub(crate) struct Lease {
    session: Arc<Session>,
    sender: SendRequest<Bytes>,
    /// The connection has carried a request before: the origin may close it under us.
    pub(crate) reused: bool,
}

/// The work of a connection: frames go both ways, and somebody looks whether the origin is still there.
pub(super) struct Work {
    connection: Connection<Heard, Bytes>,
    pings: PingPong,
    session: Weak<Session>,
    pulse: Arc<Pulse>,
}

// === impl Session ===

impl Session {
    /// Speaks HTTP/2 on a fresh connection. The origin has confirmed it then, and has said how many requests it takes.
    pub(super) async fn open(io: Io, scheme: Scheme) -> io::Result<(Arc<Self>, Work)> {
        let pulse = Arc::new(Pulse::new());
        let io = Heard::new(io, Arc::clone(&pulse));
        let (sender, mut connection) = settings().handshake(io).await.map_err(not_spoken)?;
        let Some(mut pings) = connection.ping_pong() else {
            return Err(io::Error::other("the connection cannot be looked after"));
        };
        // Its settings come before its answer.
        tokio::select! {
            answered = pings.ping(Ping::opaque()) => { answered.map_err(not_spoken)?; }
            ended = &mut connection => {
                return Err(ended.err().map_or_else(|| io::ErrorKind::UnexpectedEof.into(), not_spoken));
            }
        }
        let session = Arc::new(Self {
            sender,
            scheme,
            pulse: Arc::clone(&pulse),
            streams: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            rested: AtomicU64::new(pulse.now()),
        });
        let work = Work {
            connection,
            pings,
            session: Arc::downgrade(&session),
            pulse,
        };
        Ok((session, work))
    }

    /// Whether it takes further requests, now or later.
    pub(super) fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !self.retired.load(Ordering::Relaxed)
            && !matches!(self.sender.clone().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Whether one more request may go on it now.
    pub(super) fn has_room(&self) -> bool {
        let most = self.sender.current_max_send_streams().min(MAX_STREAMS);
        self.streams() < most
    }

    /// Room for a request, whether there is any or not.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Lease {
            session: Arc::clone(self),
            sender: self.sender.clone(),
            reused: self.used.swap(true, Ordering::Relaxed),
        }
    }

    /// How many requests are on it.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    fn is_stale(&self) -> bool {
        let rested = self.rested.load(Ordering::Relaxed);
        let idle = Duration::from_millis(self.pulse.now().saturating_sub(rested));
        self.streams() == 0 && idle >= IDLE_TIME
    }
}

fn settings() -> Builder {
    let mut settings = Builder::new();
    settings
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buffer_size(SEND_BUFFER)
        .initial_max_send_streams(MAX_STREAMS);
    settings
}

fn not_spoken(error: h2::Error) -> io::Error {
    if error.is_io() {
        let kind = error.get_io().map_or(io::ErrorKind::Other, io::Error::kind);
        return io::Error::new(kind, error);
    }
    let message = format!("the origin does not speak HTTP/2: {error}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

// === impl Lease ===

impl Lease {
    /// Sends a request's header.
    ///
    /// # Errors
    ///
    /// Nothing was sent then.
    pub(super) fn send(
        &mut self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.sender.send_request(request, ends)
    }

    /// The scheme as the origin sees it.
    pub(super) fn scheme(&self) -> Scheme {
        self.session.scheme
    }

    /// Lets no further requests on the connection; those that are on it go on.
    pub(super) fn retire(&self) {
        self.session.retired.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let session = &self.session;
        if session.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            session.rested.store(session.pulse.now(), Ordering::Relaxed);
        }
    }
}

// === impl Work ===

impl Work {
    /// Until the connection ends, the origin is gone, or the time for draining is over.
    pub(super) async fn run(self, origin: Weak<Origin>, drain: Drain) {
        let Self {
            connection,
            mut pings,
            session,
            pulse,
        } = self;
        tokio::select! {
            ended = connection => match ended {
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "a connection to an origin broke"),
            },
            () = gone(&mut pings, &session, &pulse, &origin) => {
                tracing::debug!("an origin does not answer any more");
            }
            () = drain.over() => {}
        }
        if let (Some(origin), Some(session)) = (origin.upgrade(), session.upgrade()) {
            origin.forget(&session);
        }
    }
}

/// Resolves when the origin does not answer any more; lets go of the connection once it has been idle for too long.
async fn gone(pings: &mut PingPong, session: &Weak<Session>, pulse: &Pulse, origin: &Weak<Origin>) {
    loop {
        tokio::time::sleep(LOOK).await;
        // Without anybody who has it, it is about to end by itself.
        let Some(held) = session.upgrade() else {
            return std::future::pending().await;
        };
        if held.is_stale()
            && let Some(origin) = origin.upgrade()
        {
            origin.forget_idle(&held);
        }
        if held.streams() == 0 || !pulse.wants_ping() {
            continue;
        }
        drop(held);
        match tokio::time::timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => pulse.answered(),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
