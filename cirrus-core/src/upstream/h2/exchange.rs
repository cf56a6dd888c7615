//! One request and its response on a shared connection.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderValue, Method, Request, StatusCode, Version};
use http_body::Body as _;
use tokio::time::Instant;

use super::body::{ResponseBody, Stream};
use super::session::Lease;
use super::upload::Upload;
use crate::body::{Body, Response};
use crate::cache::Scheme;
use crate::upstream::h1::{Failed, Head, Times, Why};

/// A request on its way. Dropped before the response it is given up; the connection goes on.
struct Talk {
    response: ResponseFuture,
    upload: Upload,
    lease: Lease,
}

/// Sends the request and waits for the response's header. Interim responses are consumed (RFC 9110 §15.2).
pub(crate) async fn exchange(
    mut lease: Lease,
    head: Head<'_>,
    body: Body,
    times: Times,
) -> Result<Response, Failed> {
    let request = match written(&head, lease.scheme(), &body) {
        Ok(request) => request,
        Err(error) => return Err(unsent(Why::Upload(error.into()), body)),
    };
    let ends = body.is_end_stream();
    let (response, send) = match lease.send(request, ends) {
        Ok(sent) => sent,
        Err(error) if error.is_io() || error.is_go_away() => {
            return Err(unsent(Why::Untaken, body));
        }
        Err(error) => return Err(unsent(Why::Reset(error), body)),
    };
    let mut talk = Talk {
        response,
        upload: Upload::new(send, body, ends),
        lease,
    };
    match talk.receive(times.first_byte).await {
        Ok(response) => Ok(talk.respond(head.method, response, times.idle)),
        Err(why) => Err(talk.failed(why)),
    }
}

// === impl Talk ===

impl Talk {
    /// The response's header, in time.
    async fn receive(&mut self, limit: Duration) -> Result<http::Response<RecvStream>, Why> {
        let timer = tokio::time::sleep(limit);
        tokio::pin!(timer);
        poll_fn(|cx| {
            if let Poll::Ready(response) = self.poll_response(cx) {
                return Poll::Ready(response);
            }
            while timer.as_mut().poll(cx).is_ready() {
                // The limit begins with the last byte sent: a long upload is not the origin's delay.
                let late = self.upload.progress + limit;
                if late <= Instant::now() {
                    return Poll::Ready(Err(self.late()));
                }
                timer.as_mut().reset(late);
            }
            Poll::Pending
        })
        .await
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<RecvStream>, Why>> {
        // Whether it is done or not: an origin may answer before it has read everything.
        if let Poll::Ready(Err(why)) = self.upload.poll(cx) {
            return Poll::Ready(Err(why));
        }
        Pin::new(&mut self.response).poll(cx).map_err(why)
    }

    /// Who is late: the origin, unless it is still waiting for the client's next bytes.
    fn late(&self) -> Why {
        if self.upload.waits_for_client() {
            Why::Stalled
        } else {
            Why::Late
        }
    }

    fn failed(self, why: Why) -> Failed {
        if matches!(why, Why::Untaken) {
            self.lease.retire();
        }
        Failed {
            why,
            silent: true,
            body: self.upload.untouched().map(Box::new),
        }
    }

    fn respond(
        self,
        method: &Method,
        response: http::Response<RecvStream>,
        idle: Duration,
    ) -> Response {
        let (mut head, receive) = response.into_parts();
        if head.status == StatusCode::NO_CONTENT {
            // It must not say how long nothing is (RFC 9110 §8.6).
            head.headers.remove(CONTENT_LENGTH);
        }
        head.version = Version::HTTP_2;
        let bare = *method == Method::HEAD
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let body = if bare || receive.is_end_stream() {
            Body::empty()
        } else {
            let stream = Stream {
                receive,
                upload: self.upload,
                _lease: self.lease,
            };
            Body::stream(ResponseBody::new(stream, &head.headers, idle))
        };
        Response::from_parts(head, body)
    }
}

fn unsent(why: Why, body: Body) -> Failed {
    Failed {
        why,
        silent: true,
        body: Some(Box::new(body)),
    }
}

/// What an error of a stream says about the request on it.
fn why(error: h2::Error) -> Why {
    // RFC 9113 §8.7: these two say that nothing was done about it.
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (refused || error.is_go_away()) {
        return Why::Untaken;
    }
    if error.is_io() {
        return error.into_io().map_or(Why::Closed, Why::Io);
    }
    Why::Reset(error)
}

/// The request as HTTP/2 has it (RFC 9113 §8.3.1): `Host` becomes `:authority`, and no field is about the connection.
fn written(head: &Head<'_>, scheme: Scheme, body: &Body) -> Result<Request<()>, http::Error> {
    let host = head
        .headers
        .get(HOST)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let uri = Uri::builder()
        .scheme(scheme.as_str())
        .authority(Authority::try_from(host)?)
        .path_and_query(PathAndQuery::try_from(head.target)?)
        .build()?;
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let mut headers = head.headers.clone();
    if let Some(claims) = head.claims {
        claims.append_to(&mut headers);
    }
    for name in [HOST, CONNECTION, UPGRADE, CONTENT_LENGTH] {
        headers.remove(name);
    }
    if let Some(length) = said_length(head.method, body) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// Said as in HTTP/1: if it is known, and not for nothing where nobody expects something (RFC 9110 §8.6).
fn said_length(method: &Method, body: &Body) -> Option<u64> {
    let expected = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    body.size_hint()
        .exact()
        .filter(|&length| length > 0 || expected)
}
