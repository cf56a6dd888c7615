//! HTTP/1.1 or HTTP/2 on one connection: which one, and for how long.

use std::fmt::Display;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::activity::{Activity, Patience};
use super::connection::Connection;
use super::h1::{self, Session, Socket};
use super::h2::{self, Served};
use super::sniff::Rewind;
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
pub(crate) fn serve<IO: Socket>(
    io: IO,
    version: Version,
    connection: Arc<Connection>,
    admission: Admission,
    worker: Arc<Worker>,
) -> impl Future<Output = ()> + Send {
    let limits = worker.engine.live.now().limits;
    let patience = Patience {
        header: limits.header_time,
        idle: limits.idle_time,
        send: limits.send_time,
    };
    let activity = Activity::new(patience, limits.requests_per_connection, admission);
    let shared = h2::Shared {
        connection,
        activity: Arc::new(activity),
        worker,
        limits,
    };
    // What is needed once, or by those who speak HTTP/2, is no burden to an idle connection: each is boxed.
    serve_begun(Box::pin(begun(Rewind::new(io), version, Box::new(shared))))
}

async fn serve_begun<IO: Socket>(begun: Pin<Box<impl Future<Output = Option<Begun<IO>>>>>) {
    match begun.await {
        Some(Begun::Http1(session, worker)) => count_h1(session.run().await, &worker),
        Some(Begun::Http2(io, shared)) => Box::pin(serve_h2(io, shared)).await,
        None => {}
    }
}

/// A connection of which is known what it speaks.
enum Begun<IO> {
    Http1(Box<Session<IO>>, Arc<Worker>),
    Http2(Box<Rewind<IO>>, Box<h2::Shared>),
}

async fn begun<IO: Socket>(
    mut io: Rewind<IO>,
    version: Version,
    shared: Box<h2::Shared>,
) -> Option<Begun<IO>> {
    let h2::Shared {
        activity, worker, ..
    } = &*shared;
    let h2 = match version {
        Version::Http1 => Some(false),
        Version::Http2 => Some(true),
        Version::Either => choose(&mut io, activity, &worker.drain).await,
    };
    let Some(h2) = h2 else {
        worker.cells.timed_out.add(1);
        return None;
    };
    if h2 {
        return Some(Begun::Http2(Box::new(io), shared));
    }
    let h2::Shared {
        connection,
        activity,
        worker,
        limits,
    } = *shared;
    let session = Session::new(io.into_parts(), connection, activity, &worker, limits);
    Some(Begun::Http1(Box::new(session), worker))
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

async fn serve_h2<IO>(io: Box<Rewind<IO>>, shared: Box<h2::Shared>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (activity, worker) = (Arc::clone(&shared.activity), Arc::clone(&shared.worker));
    let served = Served::new(io, *shared);
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

/// Counts how an HTTP/1 connection ended.
fn count_h1(result: Result<(), h1::Broken>, worker: &Worker) {
    let Err(why) = result else { return };
    match &why {
        h1::Broken::Silent => worker.cells.timed_out.add(1),
        h1::Broken::Stuck => worker.cells.stalled.add(1),
        h1::Broken::Malformed(_) => worker.cells.malformed.add(1),
        h1::Broken::Drained | h1::Broken::Gone | h1::Broken::Aborted | h1::Broken::Io(_) => {}
    }
    tracing::debug!(%why, "a connection ended");
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
