//! After a switch of protocols (WebSocket and others) bytes go both ways, whatever they mean.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::HeaderValue;
use http::header::{CONNECTION, UPGRADE};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::time::Instant;

use super::pool::Wire;
use crate::body::Response;
use crate::downstream::{Activity, Upgrade, hygiene};
use crate::error::{Error, Kind};
use crate::middleware::Context;

/// How long a tunnel may carry nothing in either direction.
const IDLE_TIME: Duration = Duration::from_secs(600);

/// Answers the client that the protocol is switched, and carries bytes from then on.
///
/// The tunnel belongs to the worker's connections: it keeps its room among them, and ends when the time for draining is
/// over.
pub(super) fn begin(
    cx: &Context,
    upgrade: Option<Upgrade>,
    mut response: Response,
    wire: Box<Wire>,
) -> Result<Response, Error> {
    let protocol = response.headers().get(UPGRADE).cloned();
    let (Some(upgrade), Some(protocol)) = (upgrade, protocol) else {
        return Err(Error::because(Kind::Exchange, "a switch to no protocol"));
    };
    let headers = response.headers_mut();
    hygiene::strip(headers);
    headers.insert(UPGRADE, protocol);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    // It is served as long as it lasts.
    let places = cx.places.clone();
    let drain = cx.worker.drain.clone();
    let held = cx.activity.clone().map(Held::new);
    cx.worker.cells.tunnels.add(1);
    cx.worker.connections.spawn(async move {
        tokio::select! {
            carried = carry(upgrade, wire) => match carried {
                Ok((up, down)) => tracing::debug!(up, down, "a tunnel ended"),
                Err(error) => tracing::debug!(%error, "a tunnel broke"),
            },
            () = drain.over() => {}
        }
        drop((held, places));
    });
    Ok(response)
}

/// Until both sides have ended; how many bytes went up and down.
async fn carry(upgrade: Upgrade, mut wire: Box<Wire>) -> io::Result<(u64, u64)> {
    let client = upgrade.ready().await?;
    let moved = Moved::now();
    let mut client = Watched {
        io: client,
        moved: moved.clone(),
    };
    // What the origin said along with its response.
    let first = std::mem::take(&mut wire.read);
    client.write_all(&first).await?;
    let mut origin = Watched {
        io: wire.io,
        moved: moved.clone(),
    };
    tokio::select! {
        carried = copy_bidirectional(&mut client, &mut origin) => {
            carried.map(|(up, down)| (up, down + first.len() as u64))
        }
        () = moved.rest() => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was said for too long")),
    }
}

/// Its connection has something to do as long as the tunnel lasts, and room.
struct Held(Arc<Activity>);

// === impl Held ===

impl Held {
    fn new(activity: Arc<Activity>) -> Self {
        activity.hold();
        Self(activity)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.end(Instant::now());
    }
}

/// When bytes last moved in either direction.
#[derive(Clone)]
pub(super) struct Moved {
    began: Instant,
    millis: Arc<AtomicU64>,
}

// === impl Moved ===

impl Moved {
    pub(super) fn now() -> Self {
        Self {
            began: Instant::now(),
            millis: Arc::default(),
        }
    }

    /// The same bytes, noted when they come in.
    pub(super) fn watch<IO>(&self, io: IO) -> Watched<IO> {
        Watched {
            io,
            moved: self.clone(),
        }
    }

    fn note(&self) {
        self.millis
            .store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Resolves when nothing has moved for [`IDLE_TIME`]. One timer for a tunnel, set anew only when it fires.
    pub(super) async fn rest(&self) {
        loop {
            let last = self.began + Duration::from_millis(self.millis.load(Ordering::Relaxed));
            if last.elapsed() >= IDLE_TIME {
                return;
            }
            tokio::time::sleep_until(last + IDLE_TIME).await;
        }
    }
}

/// Notes when bytes come in.
pub(super) struct Watched<IO> {
    io: IO,
    moved: Moved,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.moved.note();
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
