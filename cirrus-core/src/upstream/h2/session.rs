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

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;
    use tokio::time::Instant;

    use super::*;

    /// A session, its work, and its origin's side, which has confirmed it.
    async fn opened() -> (Arc<Session>, Work, h2::server::Connection<TcpStream, Bytes>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (there, _) = listener.accept().await.unwrap();
        let serve = async {
            let mut there = h2::server::handshake(there).await.unwrap();
            let confirmed = std::future::poll_fn(|cx| match there.poll_closed(cx) {
                // It has answered everything that was asked so far.
                Poll::Pending => Poll::Ready(()),
                Poll::Ready(_) => panic!("closed"),
            });
            confirmed.await;
            there
        };
        let open = Session::open(Io::Tcp(here), Scheme::Http);
        tokio::pin!(open);
        let mut there = tokio::select! {
            there = serve => there,
            _ = &mut open => panic!("nobody has confirmed it"),
        };
        let (session, work) = tokio::select! {
            opened = &mut open => opened.unwrap(),
            _ = std::future::poll_fn(|cx| there.poll_closed(cx)) => panic!("closed"),
        };
        (session, work, there)
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_does_not_answer_any_more_is_found_out() {
        let (session, work, _there) = opened().await;
        let _lease = session.lease();
        let begun = Instant::now();
        work.run(Weak::new(), Drain::default()).await;
        let took = begun.elapsed().as_secs();
        assert!((40..50).contains(&took), "{took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed() {
        let (session, work, mut there) = opened().await;
        let origin = Arc::new(Origin::default());
        origin.add(session);
        let mut serving = JoinSet::new();
        serving.spawn(async move { while there.accept().await.is_some() {} });
        let begun = Instant::now();
        work.run(Arc::downgrade(&origin), Drain::default()).await;
        let took = begun.elapsed();
        assert!(took >= IDLE_TIME && took < IDLE_TIME + 2 * LOOK, "{took:?}");
    }

    #[tokio::test]
    async fn the_end_of_draining_ends_it() {
        let (session, work, _there) = opened().await;
        let _lease = session.lease();
        let drain = Drain::default();
        drain.end();
        work.run(Weak::new(), drain).await;
    }
}
