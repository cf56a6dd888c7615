//! The first bytes before the header is sent: as long as nothing is, another answer can be given.

use std::collections::VecDeque;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_RANGE;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::Changed;
use crate::body::{Body, Request, Response};
use crate::cache::layer::{Shared, pass};
use crate::cache::outcome::{Forward, Forwarded};
use crate::error::{BoxError, Error, Kind};
use crate::middleware::{Context, Handler};

/// With a response whose body has not been tried yet.
#[derive(Clone)]
pub(in crate::cache) struct Unprimed {
    /// The client's.
    request: Arc<Parts>,
    /// How many chunks come until one is of a slice.
    chunks: usize,
}

/// A body whose beginning has been read.
struct Resumed {
    first: VecDeque<Bytes>,
    rest: Body,
}

// === impl Unprimed ===

impl Unprimed {
    /// Notes that nothing of the body has been read yet.
    pub(in crate::cache) fn mark(response: &mut Response, request: &Parts) {
        if response.body().is_end_stream() {
            return;
        }
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let is_one = !is_part || response.headers().contains_key(CONTENT_RANGE);
        let request = Arc::new(request.clone());
        // The first chunk of several parts is the header of the first of them.
        let chunks = if is_one { 1 } else { 2 };
        response.extensions_mut().insert(Self { request, chunks });
    }
}

/// Waits for the first slice, if the response is made of slices. One that turns out to be of another response than those
/// that are stored costs the client nothing but time: its request goes to the origin as it came.
pub(in crate::cache) async fn primed<S: Handler>(
    shared: &Shared<S>,
    cx: &mut Context,
    mut response: Response,
) -> Result<Response, Error> {
    let Some(Unprimed { request, chunks }) = response.extensions_mut().remove() else {
        return Ok(response);
    };
    let (parts, body) = response.into_parts();
    match begin(body, chunks).await {
        Ok(body) => Ok(Response::from_parts(parts, Body::stream(body))),
        Err(error) if is_changed(&*error) => {
            let request = Request::from_parts(Arc::unwrap_or_clone(request), Body::empty());
            let forwarded = Forwarded::because(Forward::Stale).detailed("slice-changed");
            pass(shared, cx, Box::new(request), forwarded).await
        }
        Err(error) => Err(into_error(error)),
    }
}

async fn begin(mut body: Body, chunks: usize) -> Result<Resumed, BoxError> {
    let mut first = VecDeque::with_capacity(chunks);
    while first.len() < chunks
        && let Some(frame) = body.frame().await
    {
        first.extend(frame?.into_data().ok());
    }
    Ok(Resumed { first, rest: body })
}

fn is_changed(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let error = error.downcast_ref::<Error>();
    error.is_some_and(|error| error.source().is_some_and(|source| source.is::<Changed>()))
}

fn into_error(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::because(Kind::Exchange, error),
    }
}

// === impl Resumed ===

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.pop_front() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first: u64 = self.first.iter().map(|bytes| bytes.len() as u64).sum();
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(first + rest),
            None => SizeHint::default(),
        }
    }
}
