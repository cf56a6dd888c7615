//! The first bytes before the header is sent: as long as nothing is, another answer can be given.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::Changed;
use crate::body::{Body, Request, Response};
use crate::cache::layer::{Shared, pass};
use crate::cache::outcome::{Forward, Forwarded};
use crate::error::{BoxError, Error, Kind};
use crate::middleware::{Context, Handler};

/// With a response whose body has not been tried yet: the client's request.
#[derive(Clone)]
pub(in crate::cache) struct Unprimed(pub(in crate::cache) Arc<Parts>);

/// A body whose beginning has been read.
struct Resumed {
    first: Option<Bytes>,
    rest: Body,
}

/// Waits for the first slice, if the response is made of slices. One that turns out to be of another response than those
/// that are stored costs the client nothing but time: its request goes to the origin as it came.
pub(in crate::cache) async fn primed<S: Handler>(
    shared: &Shared<S>,
    cx: &mut Context,
    mut response: Response,
) -> Result<Response, Error> {
    let Some(Unprimed(request)) = response.extensions_mut().remove() else {
        return Ok(response);
    };
    let (parts, mut body) = response.into_parts();
    let first = match body.frame().await {
        Some(Ok(frame)) => frame.into_data().ok(),
        Some(Err(error)) if is_changed(&*error) => {
            let request = Request::from_parts(Arc::unwrap_or_clone(request), Body::empty());
            let forwarded = Forwarded::because(Forward::Stale).detailed("slice-changed");
            return pass(shared, cx, Box::new(request), forwarded).await;
        }
        Some(Err(error)) => return Err(into_error(error)),
        None => None,
    };
    let body = Body::stream(Resumed { first, rest: body });
    Ok(Response::from_parts(parts, body))
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
        match self.first.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, Bytes::len) as u64;
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(first + rest),
            None => SizeHint::default(),
        }
    }
}
