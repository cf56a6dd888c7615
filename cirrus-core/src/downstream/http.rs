//! HTTP/1.1 and HTTP/2 on one connection.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::activity::{Activity, Patience};
use super::connection::Connection;
use super::h1::{self, Socket};
use crate::body::{Body, Response};
use crate::server::{Admission, Drain, TaskExecutor, Worker, Writer};

/// Serves the requests of one connection until either side ends it.
///
/// It ends by itself when the client is silent for too long, after the response in flight once draining begins,
/// and at once when the time for draining is over.
pub(crate) async fn serve<IO: Socket>(
    io: IO,
    h2: bool,
    connection: Arc<Connection>,
    admission: Admission,
    worker: Arc<Worker>,
) {
    let limits = worker.engine.live.now().limits;
    let patience = Patience {
        header: limits.header_time,
        idle: limits.idle_time,
    };
    let activity = Arc::new(Activity::new(patience, admission));
    if !h2 {
        let patience = h1::Patience {
            header: limits.header_time,
            idle: limits.idle_time,
            send: Duration::from_secs(60),
        };
        let header_bytes = limits.header_bytes as usize;
        let session = h1::Session::new(
            io,
            connection,
            activity,
            Arc::clone(&worker),
            header_bytes,
            patience,
        );
        return report(session.run().await, &worker);
    }
    let service = service_fn({
        let (worker, activity) = (Arc::clone(&worker), Arc::clone(&activity));
        move |request: http::Request<Incoming>| {
            let request = Box::new(request.map(Body::from));
            let answer = worker.answer(&connection, &activity, Writer::Map, request);
            async move { Ok::<Response, Infallible>(answer.await) }
        }
    });
    let served = http2::Builder::new(TaskExecutor)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(io), service);
    let result = watch(
        served,
        http2::Connection::graceful_shutdown,
        &activity,
        &worker.drain,
    )
    .await;
    match result {
        Ok(()) => {}
        Err(Broken::Silent) => worker.cells.timed_out.add(1),
        Err(Broken::Drained) => {
            tracing::debug!("closed a connection: the time for draining is over");
        }
        Err(Broken::Http(error)) => {
            if error.is_parse() || error.is_parse_too_large() {
                worker.cells.malformed.add(1);
            }
            tracing::debug!(%error, "a connection broke");
        }
    }
}

/// Counts how an HTTP/1 connection has ended.
fn report(ended: Result<(), h1::Broken>, worker: &Worker) {
    let Err(why) = ended else { return };
    match &why {
        h1::Broken::Silent | h1::Broken::Stuck => worker.cells.timed_out.add(1),
        h1::Broken::Malformed(_) => worker.cells.malformed.add(1),
        h1::Broken::Drained | h1::Broken::Gone | h1::Broken::Aborted | h1::Broken::Io(_) => {}
    }
    tracing::debug!(%why, "a connection ended");
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
