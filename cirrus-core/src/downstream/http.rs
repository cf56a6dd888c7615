//! HTTP/1.1 and HTTP/2 on one connection.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{self, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::activity::{Activity, Patience};
use super::connection::Connection;
use super::framing::{Guard, Turn};
use crate::body::{Body, Response};
use crate::server::{Admission, Drain, TaskExecutor, Worker};

/// Serves the requests of one connection until either side ends it.
///
/// It ends by itself when the client is silent for too long, after the response in flight once draining begins,
/// and at once when the time for draining is over.
pub(crate) async fn serve<IO>(
    io: IO,
    h2: bool,
    connection: Arc<Connection>,
    admission: Admission,
    worker: Arc<Worker>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = worker.engine.live.now().limits;
    let patience = Patience {
        header: limits.header_time,
        idle: limits.idle_time,
    };
    let activity = Arc::new(Activity::new(patience, admission));

    let turn = Arc::new(Turn::default());

    let service = service_fn({
        let (worker, activity) = (Arc::clone(&worker), Arc::clone(&activity));
        let turn = Arc::clone(&turn);
        move |request: http::Request<Incoming>| {
            let is_awaited = Turn::is_awaited(&request);
            let answer = worker.answer(&connection, &activity, request.map(Body::from));
            let turn = Arc::clone(&turn);
            async move {
                let mut response = answer.await;
                if is_awaited {
                    turn.decide(response.status());
                }
                if turn.is_refused() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<Response, Infallible>(response)
            }
        }
    });
    let result = if h2 {
        let served = http2::Builder::new(TaskExecutor)
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.header_bytes)
            .max_send_buf_size(SEND_BUFFER)
            .serve_connection(TokioIo::new(io), service);
        watch(
            served,
            http2::Connection::graceful_shutdown,
            &activity,
            &worker.drain,
        )
        .await
    } else {
        let io = Heard {
            io,
            activity: Arc::clone(&activity),
            blocked: false,
        };
        let served = http1::Builder::new()
            // Its timer would be made anew for every request; `watch` has one for the connection.
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes as usize)
            .serve_connection(TokioIo::new(Guard::new(io, Arc::clone(&turn))), service)
            // Ends with the response that switches protocols; the tunnel goes on by itself.
            .with_upgrades();
        watch(
            served,
            http1::UpgradeableConnection::graceful_shutdown,
            &activity,
            &worker.drain,
        )
        .await
    };
    if turn.is_refused() {
        worker.cells.malformed.add(1);
    }
    match result {
        Ok(()) => {}
        Err(Broken::Silent) => worker.cells.timed_out.add(1),
        Err(Broken::Drained) => {
            tracing::debug!("closed a connection: the time for draining is over");
        }
        Err(Broken::Http(error)) => {
            if !turn.is_refused() && (error.is_parse() || error.is_parse_too_large()) {
                worker.cells.malformed.add(1);
            }
            tracing::debug!(%error, "a connection broke");
        }
    }
}

/// How much of each HTTP/2 stream's response waits in memory for a client that does not read.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a silent client's connection stays open after it has been told that it ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a connection ended before its time.
enum Broken {
    /// The client said nothing for too long.
    Silent,
    /// The time for draining is over.
    Drained,
    /// The protocol was broken.
    Http(hyper::Error),
}

/// Drives a connection, with one timer for all its waits.
async fn watch<C>(
    served: C,
    close: fn(Pin<&mut C>),
    activity: &Activity,
    drain: &Drain,
) -> Result<(), Broken>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut served = pin!(served);
    let mut timer = pin!(tokio::time::sleep_until(activity.next_look()));
    let (mut closing, mut farewell) = (false, false);
    loop {
        tokio::select! {
            biased;
            result = served.as_mut() => return if farewell { Err(Broken::Silent) } else { result.map_err(Broken::Http) },
            () = drain.begun(), if !closing => {
                closing = true;
                close(served.as_mut());
            }
            () = drain.over(), if closing => return Err(Broken::Drained),
            () = timer.as_mut() => {
                let silent = activity.deadline().is_some_and(|deadline| deadline <= Instant::now());
                if silent && farewell {
                    return Err(Broken::Silent);
                }
                if silent {
                    // HTTP/2 clients are told before they are left; whoever is silent then too has had their chance.
                    farewell = true;
                    close(served.as_mut());
                    timer.as_mut().reset(Instant::now() + FAREWELL);
                } else {
                    timer.as_mut().reset(activity.next_look());
                }
            }
        }
    }
}

pin_project_lite::pin_project! {
    /// Tells when bytes come in.
    struct Heard<IO> {
        #[pin]
        io: IO,
        activity: Arc<Activity>,
        // The last write found no room.
        blocked: bool,
    }
}

impl<IO: AsyncRead> AsyncRead for Heard<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buf.filled().len();
        let read = this.io.poll_read(cx, buf);
        if buf.filled().len() > before {
            this.activity.heard();
        }
        read
    }
}

/// A slow client takes what was still to be written.
fn moved(blocked: &mut bool, activity: &Activity, written: &Poll<io::Result<usize>>) {
    if written.is_pending() {
        *blocked = true;
    } else if std::mem::take(blocked) {
        activity.moved();
    }
}

impl<IO: AsyncWrite> AsyncWrite for Heard<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = this.io.poll_write(cx, buf);
        moved(this.blocked, this.activity, &written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = this.io.poll_write_vectored(cx, bufs);
        moved(this.blocked, this.activity, &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }
}
