//! One connection, request after request.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::{Method, Version};
use parking_lot::Mutex;
use tokio::io::ReadBuf;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::body::RequestBody;
use super::decode::{Decoder, Head, Refused};
use super::link::Link;
use super::park::Socket;
use super::room::Room;
use super::waits::{Event, Waits};
use super::{Broken, respond};
use crate::body::{Body, Request, Response};
use crate::config::Limits;
use crate::downstream::upgrade::Io;
use crate::downstream::{Activity, Connection, Upgrade};
use crate::server::{Worker, Writer};

/// A connection keeps its buffers for so long after a request, in case another one follows.
const PARK_AFTER: Duration = Duration::from_secs(2);

/// Requests that are answered in one go, before others of this worker have their turn.
const IN_A_ROW: u32 = 32;

/// How long, and how much, is read from a client that has had its last response: closing a socket with bytes unread
/// could take the response away from it again.
const LINGER: Duration = Duration::from_secs(2);
const DISCARDED: usize = 256 * 1024;

/// One client's connection.
pub(in crate::downstream) struct Session<IO> {
    pub(super) link: Arc<Mutex<Link<IO>>>,
    connection: Arc<Connection>,
    activity: Arc<Activity>,
    pub(super) worker: Arc<Worker>,
    limits: Limits,
    decoder: Decoder,
    /// When the present wait for a request began.
    since: Instant,
    /// No request has come yet: the first header is waited for from the connection's beginning.
    is_new: bool,
}

/// What of a request decides how its response is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) version: Version,
    pub(super) is_head: bool,
    pub(super) keeps_alive: bool,
    pub(super) takes_trailers: bool,
}

/// What a wait for a request has brought.
enum Next {
    Request(Box<Head>),
    Refused(Refused),
    /// Nothing for a while.
    Idle,
    /// The client has ended the connection, or we do.
    End,
}

/// How a turn of requests has ended.
enum Turn {
    Idle,
    End,
}

type Tunnels = oneshot::Sender<Box<dyn Io>>;

// === impl Session ===

impl<IO: Socket> Session<IO> {
    /// A connection of which the beginning may have been read already.
    pub(in crate::downstream) fn new(
        (io, ahead): (IO, Vec<u8>),
        connection: Arc<Connection>,
        activity: Arc<Activity>,
        worker: &Arc<Worker>,
        limits: Limits,
    ) -> Self {
        let room = Room::new(&limits, worker.engine.cells.len(), &worker.cells);
        let link = Link::new(io, &ahead, connection.half_close, room);
        Self {
            link: Arc::new(Mutex::new(link)),
            since: activity.since(),
            connection,
            activity,
            worker: Arc::clone(worker),
            decoder: Decoder::new(limits.header_bytes as usize),
            limits,
            is_new: true,
        }
    }

    /// Serves the connection to its end.
    pub(in crate::downstream) async fn run(mut self: Box<Self>) -> Result<(), Broken> {
        loop {
            // Boxed: what a busy connection needs is no burden to an idle one.
            match Box::pin(self.turn()).await? {
                Turn::End => return Ok(()),
                Turn::Idle => {}
            }
            let deadline = self.deadline(false);
            if !self.park(deadline).await? {
                return Ok(());
            }
        }
    }

    /// Serves requests until none comes for a while.
    async fn turn(&mut self) -> Result<Turn, Broken> {
        let mut waits = Waits::new(&self.worker.drain, self.deadline(false));
        let mut served = 0u32;
        loop {
            let head = match self.next(&mut waits).await? {
                Next::Request(head) => head,
                Next::Refused(refused) => return self.refuse(refused, &mut waits).await,
                Next::Idle => return Ok(Turn::Idle),
                Next::End => {
                    self.shut(false).await;
                    return Ok(Turn::End);
                }
            };
            if !self.exchange(*head, &mut waits).await? {
                return Ok(Turn::End);
            }
            self.since = self.activity.since();
            self.is_new = false;
            served += 1;
            if served.is_multiple_of(IN_A_ROW) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// When the present wait is over.
    fn deadline(&self, is_reading: bool) -> Instant {
        let header = is_reading || self.is_new;
        let Limits {
            header_time,
            idle_time,
            ..
        } = self.limits;
        self.since + if header { header_time } else { idle_time }
    }

    /// The next request's head.
    async fn next(&mut self, waits: &mut Waits) -> Result<Next, Broken> {
        let link = Arc::clone(&self.link);
        let mut was_reading = !link.lock().read.is_empty();
        let (mut is_waiting, mut is_first) = (false, true);
        poll_fn(|cx| {
            let mut link = link.lock();
            loop {
                match self.decoder.decode(&mut link.read) {
                    Ok(Some(head)) => return Poll::Ready(Ok(Next::Request(Box::new(head)))),
                    Ok(None) => {}
                    Err(refused) => return Poll::Ready(Ok(Next::Refused(refused))),
                }
                match link.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Next::End)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => break,
                }
            }
            let is_reading = !link.read.is_empty();
            if !is_reading && waits.is_draining() {
                // It has begun while a response was written that said nothing of it yet.
                return Poll::Ready(Ok(Next::End));
            }
            if is_reading && !was_reading && !self.is_new {
                self.since = Instant::now();
            }
            if !is_waiting || is_reading != was_reading {
                let deadline = self.deadline(is_reading);
                let parked = self.since + PARK_AFTER;
                waits.until(if is_reading {
                    deadline
                } else {
                    deadline.min(parked)
                });
            }
            (is_waiting, was_reading) = (true, is_reading);
            if is_first && waits.is_armed() {
                // It has been looked at, and will wake us.
                is_first = false;
                return Poll::Pending;
            }
            is_first = false;
            Poll::Ready(match ready!(waits.poll(cx)) {
                Event::Over => Err(Broken::Drained),
                Event::Draining if is_reading => {
                    // It is answered yet.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Event::Draining => Ok(Next::End),
                Event::Late if is_reading || self.deadline(false) <= Instant::now() => {
                    Err(Broken::Silent)
                }
                Event::Late => Ok(Next::Idle),
            })
        })
        .await
    }

    /// One request and its response; whether another may follow.
    async fn exchange(&mut self, head: Head, waits: &mut Waits) -> Result<bool, Broken> {
        let mut facts = Facts::of(&head);
        let (request, tunnel) = self.request(head);
        waits.forever();
        let response = self.answer(request, waits).await?;
        let is_switch = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
        if self.activity.is_worn() && !is_switch {
            self.worker.cells.worn.add(1);
            facts.keeps_alive = false;
        }
        let keeps = respond::respond(
            &self.link,
            response,
            facts,
            self.stuck(),
            waits,
            &self.worker,
        )
        .await?;
        if let (true, Some(tunnel)) = (is_switch, tunnel) {
            // Whoever asked for it may have left.
            let _ = tunnel.send(Box::new(super::tunnel::Tunnel::new(Arc::clone(&self.link))));
            return Ok(false);
        }
        let (is_whole, is_ahead) = {
            let link = self.link.lock();
            (link.upload.is_done(), !link.read.is_empty())
        };
        if !keeps || !is_whole {
            // Who has sent more than that request may be about to send more still.
            self.shut(!is_whole || is_ahead).await;
        }
        Ok(keeps && is_whole)
    }

    fn stuck(&self) -> Duration {
        self.limits.send_time
    }

    fn request(&self, head: Head) -> (Box<Request>, Option<Tunnels>) {
        let here = self.link.lock().begin(head.framing, head.expects);
        let body = match here {
            Some(content) => Body::full(content),
            None => {
                let body = Body::stream(RequestBody::new(Arc::clone(&self.link)));
                self.limits.pace.keep(body, &self.worker.cells)
            }
        };
        let asks_upgrade = head.asks_upgrade && http_body::Body::is_end_stream(&body);
        let mut request = Box::new(Request::new(body));
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers;
        let tunnel = asks_upgrade.then(|| {
            let (tunnel, promised) = oneshot::channel();
            let promise = Upgrade::new(async { promised.await.map_err(io::Error::other) });
            request.extensions_mut().insert(promise);
            tunnel
        });
        (request, tunnel)
    }

    /// The response, unless the client leaves first.
    async fn answer(&self, request: Box<Request>, waits: &mut Waits) -> Result<Response, Broken> {
        let mut answer =
            pin!(
                self.worker
                    .answer(&self.connection, &self.activity, Writer::Lines, request)
            );
        poll_fn(|cx| {
            if let Poll::Ready(response) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(response));
            }
            if self.link.lock().poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Broken::Gone));
            }
            while let Event::Draining | Event::Late = ready!(waits.poll(cx)) {}
            Poll::Ready(Err(Broken::Drained))
        })
        .await
    }

    /// Says what is wrong, and ends the connection.
    async fn refuse(&mut self, refused: Refused, waits: &mut Waits) -> Result<Turn, Broken> {
        let response = crate::middleware::refusal(refused.kind, refused.why);
        let facts = Facts {
            version: Version::HTTP_11,
            is_head: false,
            keeps_alive: false,
            takes_trailers: false,
        };
        respond::respond(
            &self.link,
            response,
            facts,
            self.stuck(),
            waits,
            &self.worker,
        )
        .await?;
        self.shut(true).await;
        Err(Broken::Malformed(refused.why))
    }

    /// Ends our side, and reads what the client still sends if that matters.
    async fn shut(&self, lingers: bool) {
        let end = async {
            let shut = |cx: &mut std::task::Context<'_>| {
                Pin::new(&mut self.link.lock().io).poll_shutdown(cx)
            };
            if poll_fn(shut).await.is_ok() && lingers {
                self.discard().await;
            }
        };
        // Late or not, it is over.
        let _ = tokio::time::timeout(LINGER, end).await;
    }

    async fn discard(&self) {
        let mut left = DISCARDED;
        while left > 0 {
            let mut bytes = [0; 4096];
            let mut buf = ReadBuf::new(&mut bytes);
            let read = poll_fn(|cx| Pin::new(&mut self.link.lock().io).poll_read(cx, &mut buf));
            match read.await {
                Ok(()) if !buf.filled().is_empty() => {
                    left = left.saturating_sub(buf.filled().len());
                }
                _ => return,
            }
        }
    }
}

// === impl Facts ===

impl Facts {
    fn of(head: &Head) -> Self {
        Self {
            version: head.version,
            is_head: head.method == Method::HEAD,
            keeps_alive: head.keeps_alive,
            takes_trailers: head.takes_trailers,
        }
    }
}
