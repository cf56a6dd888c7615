//! HTTP/1.1 or HTTP/2 on one connection: which one, and for how long.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::activity::{Activity, Patience};
use super::connection::Connection;
use super::framing::{Guard, Turn};
use super::h2::{self, Served};
use super::sniff::Rewind;
use crate::body::{Body, Response};
use crate::config::Limits;
use crate::server::{Admission, Drain, Worker};

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Whichever the client begins with.
    Either,
}

/// Serves the requests of one connection until either side ends it.
///
/// It ends by itself when the client is silent for too long, after the response in flight once
/// draining begins, and at once when the time for draining is over.
pub(crate) async fn serve<IO>(
    io: IO,
    version: Version,
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
        send: limits.send_time,
    };
    let activity = Arc::new(Activity::new(
        patience,
        limits.requests_per_connection,
        admission,
    ));
    let mut io = Rewind::new(io);
    let h2 = match version {
        Version::Http1 => false,
        Version::Http2 => true,
        Version::Either => match choose(&mut io, &activity, &worker.drain).await {
            Some(h2) => h2,
            None => return worker.cells.timed_out.add(1),
        },
    };
    if h2 {
        serve_h2(io, connection, activity, worker, limits).await;
    } else {
        serve_h1(io, connection, activity, worker, limits).await;
    }
}

/// Whether the client begins with HTTP/2; `None` if it says nothing for too long.
async fn choose<IO>(io: &mut Rewind<IO>, activity: &Activity, drain: &Drain) -> Option<bool>
where
    IO: AsyncRead + Unpin,
{
    let limit = activity.deadline().unwrap_or_else(Instant::now);
    tokio::select! {
        biased;
        // What broke here breaks again where it is heard of.
        h2 = io.is_h2() => Some(h2.unwrap_or(false)),
        () = tokio::time::sleep_until(limit) => None,
        () = drain.begun() => Some(false),
    }
}

async fn serve_h2<IO>(
    io: IO,
    connection: Arc<Connection>,
    activity: Arc<Activity>,
    worker: Arc<Worker>,
    limits: Limits,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let shared = h2::Shared {
        connection,
        activity: Arc::clone(&activity),
        worker: Arc::clone(&worker),
        limits,
    };
    let served = Served::new(io, shared);
    match watch(served, Served::close, &activity, &worker.drain).await {
        Err(Broken::Http(error)) => {
            count_h2(&error, &worker);
            tracing::debug!(%error, "a connection broke");
        }
        result => ended(result, &worker),
    }
}

/// What h2 itself takes for a flood counts as one, and every other wrong of the client's as
/// malformed.
fn count_h2(error: &::h2::Error, worker: &Worker) {
    match error.reason() {
        Some(::h2::Reason::ENHANCE_YOUR_CALM) if !error.is_remote() => {
            worker.cells.http2_floods.add(1);
        }
        Some(_) if error.is_library() => worker.cells.malformed.add(1),
        _ => {}
    }
}

async fn serve_h1<IO>(
    io: IO,
    connection: Arc<Connection>,
    activity: Arc<Activity>,
    worker: Arc<Worker>,
    limits: Limits,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let turn = Arc::new(Turn::default());

    let service = service_fn({
        let (worker, activity) = (Arc::clone(&worker), Arc::clone(&activity));
        let turn = Arc::clone(&turn);
        move |request: http::Request<Incoming>| {
            let is_awaited = Turn::is_awaited(&request);
            let request = request.map(|body| limits.pace.keep(Body::from(body), &worker.cells));
            let answer = worker.answer(&connection, &activity, request);
            let turn = Arc::clone(&turn);
            let (worker, activity) = (Arc::clone(&worker), Arc::clone(&activity));
            async move {
                let mut response = answer.await;
                if is_awaited {
                    turn.decide(response.status());
                }
                // A switch of protocols ends HTTP on it anyway.
                let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                let is_worn = activity.is_worn() && !switches;
                if is_worn {
                    worker.cells.worn.add(1);
                }
                if turn.is_refused() || is_worn {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<Response, Infallible>(response)
            }
        }
    });
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
    let result = watch(
        served,
        http1::UpgradeableConnection::graceful_shutdown,
        &activity,
        &worker.drain,
    )
    .await;
    if turn.is_refused() {
        worker.cells.malformed.add(1);
    }
    if let Err(Broken::Http(error)) = &result
        && !turn.is_refused()
        && (error.is_parse() || error.is_parse_too_large())
    {
        worker.cells.malformed.add(1);
    }
    ended(result, &worker);
}

/// Counts how a connection ended.
fn ended<E: Display>(result: Result<(), Broken<E>>, worker: &Worker) {
    match result {
        Ok(()) => {}
        Err(Broken::Silent) => worker.cells.timed_out.add(1),
        Err(Broken::Stalled) => worker.cells.stalled.add(1),
        Err(Broken::Drained) => {
            tracing::debug!("closed a connection: the time for draining is over");
        }
        Err(Broken::Http(error)) => tracing::debug!(%error, "a connection broke"),
    }
}

/// How long a silent client's connection stays open after it has been told that it ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a connection ended before its time.
enum Broken<E> {
    /// The client said nothing for too long.
    Silent,
    /// The client read nothing for too long.
    Stalled,
    /// The time for draining is over.
    Drained,
    /// The protocol was broken.
    Http(E),
}

/// Drives a connection, with one timer for all its waits.
async fn watch<C, E>(
    served: C,
    close: fn(Pin<&mut C>),
    activity: &Activity,
    drain: &Drain,
) -> Result<(), Broken<E>>
where
    C: Future<Output = Result<(), E>>,
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
                if activity.is_stalled() {
                    return Err(Broken::Stalled);
                }
                let silent = activity.deadline().is_some_and(|deadline| deadline <= Instant::now());
                if silent && farewell {
                    return Err(Broken::Silent);
                }
                if silent {
                    // HTTP/2 clients are told before they are left; whoever is silent then too has
                    // had their chance.
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
        activity.blocked();
    } else if std::mem::take(blocked) {
        activity.unblocked();
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
