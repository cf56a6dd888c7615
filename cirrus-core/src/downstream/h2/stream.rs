//! One stream: a request, its response, and perhaps the tunnel that it becomes.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body::{Body as _, Frame};
use tokio::sync::oneshot;

use super::Shared;
use super::body::incoming;
use super::duplex::Duplex;
use crate::body::{Body, Request, Response};
use crate::downstream::hygiene;
use crate::downstream::upgrade::{Io, Upgrade};
use crate::downstream::websocket::Bridged;
use crate::server::Writer;

pub(super) type Respond = SendResponse<Bytes>;

/// A stream that becomes a tunnel if the origin agrees.
struct Promise {
    recv: RecvStream,
    tunnel: oneshot::Sender<Box<dyn Io>>,
}

/// Why a response did not come to its end.
enum Broken {
    /// The client gave up the stream, or the connection ended.
    Gone,
    /// The client did not read for too long.
    Stalled,
    /// The response's own body failed.
    Body,
}

/// Answers one request.
pub(super) async fn serve(
    request: http::Request<RecvStream>,
    mut respond: Respond,
    shared: Arc<Shared>,
) {
    let (request, promise) = split(request, &shared);
    let mut answer = pin!(shared.worker.answer(
        &shared.connection,
        &shared.activity,
        Writer::Map,
        Box::new(request)
    ));
    let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        // A client that gave up needs no answer: whatever is under way for it ends.
        Poll::Pending => respond.poll_reset(cx).map(|_| None),
    });
    let Some(mut response) = answered.await else {
        return;
    };
    if promise.is_some() && response.status().is_success() {
        response = not_switched();
    }
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    polish(&mut response, &shared);
    let (head, body) = response.into_parts();
    let is_last = body.is_end_stream() && !switches;
    let head = http::Response::from_parts(head, ());
    let Ok(mut send) = respond.send_response(head, is_last) else {
        return respond.send_reset(Reason::INTERNAL_ERROR);
    };
    match promise {
        Some(promise) if switches => promise.keep(send),
        _ if switches => send.send_reset(Reason::INTERNAL_ERROR),
        _ if is_last => {}
        _ => finish(send, body, &shared).await,
    }
}

/// The request as the engine knows it. A WebSocket's becomes what HTTP/1.1 origins know (RFC 8441
/// §5); any other CONNECT stays one, for hygiene to refuse.
fn split(request: http::Request<RecvStream>, shared: &Shared) -> (Request, Option<Promise>) {
    let (head, recv) = request.into_parts();
    let protocol = head.extensions.get::<Protocol>();
    let is_websocket = protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    if head.method == Method::CONNECT && is_websocket {
        let mut request = Request::from_parts(head, Body::empty());
        Bridged::bridge(&mut request);
        let (tunnel, hears) = oneshot::channel();
        let upgrade = Upgrade::new(async { hears.await.map_err(io::Error::other) });
        request.extensions_mut().insert(upgrade);
        return (request, Some(Promise { recv, tunnel }));
    }
    let body = incoming(&head.headers, recv);
    let body = shared.limits.pace.keep(body, &shared.worker.cells);
    (Request::from_parts(head, body), None)
}

/// An origin that takes the request for a usual one has opened no tunnel, but any 2xx would tell
/// the client so.
fn not_switched() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// Says what HTTP/2 wants said, and takes away what it does not know.
fn polish(response: &mut Response, shared: &Shared) {
    let length = response.body().size_hint().exact();
    let length = length.filter(|_| !response.body().is_end_stream());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() = StatusCode::OK;
        // The key it answers was made here.
        response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    let headers = response.headers_mut();
    hygiene::strip(headers);
    if let Some(length) = length {
        let field = headers.entry(header::CONTENT_LENGTH);
        field.or_insert_with(|| HeaderValue::from(length));
    }
    date(headers, shared);
}

/// Origins that have no clock leave it to us (RFC 9110 §6.6.1).
fn date(headers: &mut HeaderMap, shared: &Shared) {
    if headers.contains_key(header::DATE) {
        return;
    }
    let now = shared.worker.engine.clock.now();
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now.into())) {
        headers.insert(header::DATE, date);
    }
}

// === impl Promise ===

impl Promise {
    fn keep(self, send: SendStream<Bytes>) {
        // Nobody waits for it any more if draining is over.
        let _ = self.tunnel.send(Box::new(Duplex::new(send, self.recv)));
    }
}

/// Sends a body to its end, or says why there is none.
async fn finish(mut send: SendStream<Bytes>, body: Body, shared: &Shared) {
    match send_body(&mut send, body, shared.limits.send_time).await {
        Ok(()) | Err(Broken::Gone) => {}
        Err(Broken::Body) => send.send_reset(Reason::INTERNAL_ERROR),
        Err(Broken::Stalled) => {
            shared.worker.cells.stalled.add(1);
            send.send_reset(Reason::CANCEL);
        }
    }
}

async fn send_body(
    send: &mut SendStream<Bytes>,
    mut body: Body,
    patience: Duration,
) -> Result<(), Broken> {
    loop {
        let Some(frame) = next(send, &mut body).await? else {
            return send.send_data(Bytes::new(), true).map_err(gone);
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => return send.send_trailers(trailers).map_err(gone),
                Err(_) => continue,
            },
        };
        let is_last = body.is_end_stream();
        send_data(send, data, is_last, patience).await?;
        if is_last {
            return Ok(());
        }
    }
}

/// The body's next frame, unless the client gives up before.
async fn next(
    send: &mut SendStream<Bytes>,
    body: &mut Body,
) -> Result<Option<Frame<Bytes>>, Broken> {
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(frame.transpose().map_err(|_| Broken::Body)),
        Poll::Pending => send.poll_reset(cx).map(|_| Err(Broken::Gone)),
    })
    .await
}

/// Never more than there is a window for: what h2 has taken, the client has room for.
async fn send_data(
    send: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
    patience: Duration,
) -> Result<(), Broken> {
    if data.is_empty() && !is_last {
        return Ok(());
    }
    while !data.is_empty() {
        let room = room(send, data.len(), patience).await?;
        let piece = data.split_to(room);
        let ends = is_last && data.is_empty();
        send.send_data(piece, ends).map_err(gone)?;
        if ends {
            return Ok(());
        }
    }
    match is_last {
        true => send.send_data(Bytes::new(), true).map_err(gone),
        false => Ok(()),
    }
}

/// Waits for room for the next piece. There is a timer only while there is none.
async fn room(
    send: &mut SendStream<Bytes>,
    wanted: usize,
    patience: Duration,
) -> Result<usize, Broken> {
    // A reservation keeps the connection's window from other streams: none is made before there is
    // something to send.
    send.reserve_capacity(wanted.min(super::SEND_BUFFER));
    let room = send.capacity();
    if room > 0 {
        return Ok(room.min(wanted));
    }
    let waited = poll_fn(|cx| poll_room(send, cx));
    match tokio::time::timeout(patience, waited).await {
        Ok(room) => Ok(room?.min(wanted)),
        Err(_) => Err(Broken::Stalled),
    }
}

fn poll_room(send: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
    loop {
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(0)) => {}
            Some(Ok(room)) => return Poll::Ready(Ok(room)),
            Some(Err(_)) | None => return Poll::Ready(Err(Broken::Gone)),
        }
    }
}

fn gone(_: h2::Error) -> Broken {
    Broken::Gone
}
