//! Copies of requests for another cluster. The client's own request never waits for them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poller, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::UPGRADE;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::balance::chance;
use super::cluster::Cluster;
use super::forward::Forward;
use crate::body::{Body, Request, Response};
use crate::config::MirrorConfig;
use crate::error::{BoxError, Error};
use crate::middleware::{Context, Handler, Stack};

/// So much of a copy's response is read, so that its connection can be used again.
const MOST_READ: usize = 1024 * 1024;

/// Which requests are copied, and where to.
#[derive(Debug)]
pub(crate) struct Mirroring {
    to: Forward,
    permille: u32,
    buffer: usize,
    places: Arc<Semaphore>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    inner: Stack,
    rules: Arc<Mirroring>,
}

/// A copy that is not sent yet.
struct Shot {
    cx: Box<Context>,
    parts: Parts,
    to: Forward,
    place: OwnedSemaphorePermit,
}

/// A body that is copied as it passes.
struct Copying {
    inner: Body,
    copy: BytesMut,
    most: usize,
    /// Gone once it was sent, or cannot be.
    shot: Option<Shot>,
}

// === impl Mirroring ===

impl Mirroring {
    pub(crate) fn new(config: &MirrorConfig, to: Arc<Cluster>) -> Self {
        Self {
            to: Forward::new(to, false),
            permille: u32::from(config.percent) * 10,
            buffer: usize::try_from(config.buffer.bytes()).unwrap_or(usize::MAX),
            places: Arc::new(Semaphore::new(config.concurrency as usize)),
        }
    }
}

// === impl Mirror ===

impl Mirror {
    pub(crate) fn new(inner: Stack, rules: Arc<Mirroring>) -> Self {
        Self { inner, rules }
    }

    fn copied(&self, cx: &Context, mut request: Box<Request>) -> Box<Request> {
        let Ok(place) = Arc::clone(&self.rules.places).try_acquire_owned() else {
            cx.worker.cells.mirror_dropped.add(1);
            return request;
        };
        let body = std::mem::take(request.body_mut());
        let (parts, ()) = request.map(|_| ()).into_parts();
        let mut copy = cx.detached();
        copy.claims.clone_from(&cx.claims);
        let shot = Shot {
            cx: copy,
            parts: parts.clone(),
            to: self.rules.to.clone(),
            place,
        };
        let body = match body.as_bytes().cloned() {
            Some(bytes) => {
                shot.fire_within(bytes, self.rules.buffer);
                body
            }
            None => Body::stream(Copying {
                inner: body,
                copy: BytesMut::new(),
                most: self.rules.buffer,
                shot: Some(shot),
            }),
        };
        Box::new(Request::from_parts(parts, body))
    }
}

impl Handler for Mirror {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        if chance::permille(self.rules.permille) && !request.headers().contains_key(UPGRADE) {
            request = self.copied(cx, request);
        }
        self.inner.handle(cx, request).await
    }
}

// === impl Shot ===

impl Shot {
    fn fire_within(self, body: Bytes, most: usize) {
        if body.len() <= most {
            self.fire(body);
        } else {
            self.cx.worker.cells.mirror_dropped.add(1);
        }
    }

    /// Sends it, whatever comes of it.
    fn fire(self, body: Bytes) {
        let Self {
            mut cx,
            parts,
            to,
            place,
        } = self;
        let tasks = cx.worker.engine.tasks.clone();
        cx.worker.cells.mirrored.add(1);
        tasks.spawn(async move {
            let _place = place;
            let request = Box::new(Request::from_parts(parts, Body::full(body)));
            match to.handle(&mut cx, request).await {
                Ok(response) => drain(response.into_body()).await,
                Err(error) => tracing::debug!(%error, "a mirrored request failed"),
            }
        });
    }
}

async fn drain(mut body: Body) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MOST_READ {
            return;
        }
    }
}

// === impl Copying ===

impl Copying {
    fn add(&mut self, data: &Bytes) {
        if self.shot.is_none() {
            return;
        }
        if self.copy.len() + data.len() <= self.most {
            self.copy.extend_from_slice(data);
        } else if let Some(shot) = self.shot.take() {
            shot.cx.worker.cells.mirror_dropped.add(1);
            self.copy = BytesMut::new();
        }
    }

    fn end(&mut self) {
        if let Some(shot) = self.shot.take() {
            shot.fire(std::mem::take(&mut self.copy).freeze());
        }
    }
}

impl HttpBody for Copying {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.add(data);
                }
                // Who knows its length does not ask for its end.
                if self.inner.is_end_stream() {
                    self.end();
                }
            }
            Some(Err(_)) => self.shot = None,
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
