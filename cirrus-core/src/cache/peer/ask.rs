//! The owner is asked before the origin.

use std::time::Duration;

use http::header::AGE;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::timeout;
use tower_layer::Layer;

use super::health::Trouble;
use super::signature::Signed;
use super::told::Told;
use super::{CIRRUS_PEER, Peer, Peers};
use crate::body::{Body, Request, Response};
use crate::cache::key::CacheKey;
use crate::cache::log::LogPosition;
use crate::cache::tag::tags;
use crate::clock::Timestamp;
use crate::error::{Error, Kind};
use crate::middleware::{Context, Handler};

/// Puts the owners of URLs before the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerLayer;

/// See [`PeerLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Ask<H>(H);

/// How far this edge was in the order of purges when it asked.
struct Asked {
    then: Timestamp,
    /// In the log, if one is followed.
    position: Option<LogPosition>,
}

impl<H> Layer<H> for PeerLayer {
    type Service = Ask<H>;

    fn layer(&self, inner: H) -> Ask<H> {
        Ask(inner)
    }
}

impl<H: Handler> Handler for Ask<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        cx.peering.is_answered = false;
        if let Some(key) = cx.peering.fills.take()
            && let Some(peers) = cx.snapshot.peers.clone()
            && let Some(signed) = peers.signed(cx, &request)
            && let Some(response) = Box::pin(peers.ask(cx, &key, signed)).await
        {
            cx.peering.is_answered = true;
            return Ok(response);
        }
        self.0.handle(cx, request).await
    }
}

// === impl Peers ===

impl Peers {
    /// What the owner has to say; `None` if the origin is to be asked.
    async fn ask(
        &self,
        cx: &mut Context,
        key: &CacheKey,
        request: Box<Request>,
    ) -> Option<Response> {
        let asked = Asked::now(cx)?;
        let peer = self.owner(key)?;
        let response = self.exchange(cx, peer, request).await;
        let taken = response.filter(|(told, response)| {
            let is_new = asked.is_answered_by(cx, key, told, response.headers());
            if !is_new {
                tracing::debug!(?key, peer = %peer.name, "what a peer has may be from before a purge");
            }
            is_new
        });
        let cells = &cx.worker.cells;
        match taken {
            Some((Told::Hit(_), _)) => cells.peer_hits.add(1),
            Some(_) => cells.peer_misses.add(1),
            None => {
                cells.peer_fallbacks.add(1);
                cx.asked = None;
            }
        }
        taken.map(|(_, response)| response)
    }

    /// The same request, for a peer.
    fn signed(&self, cx: &Context, request: &Request) -> Option<Box<Request>> {
        let now = cx.worker.engine.clock.now();
        let what = Signed {
            scheme: cx.scheme,
            host: cx.host.as_str(),
            target: request.uri().path_and_query()?.as_str(),
        };
        let signature = HeaderValue::try_from(self.signer.sign(what, now)).ok()?;
        let mut copy = Box::new(Request::new(Body::empty()));
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        copy.headers_mut().insert(&CIRRUS_PEER, signature);
        Some(copy)
    }

    /// The answer of a peer who has one, in time.
    async fn exchange(
        &self,
        cx: &mut Context,
        peer: &Peer,
        request: Box<Request>,
    ) -> Option<(Told, Response)> {
        let stack = peer.stack.as_ref()?;
        let answer = timeout(self.timeout, stack.handle(cx, request)).await;
        let (trouble, why) = match answer {
            Ok(Ok(mut response)) => match Told::take(response.headers_mut()) {
                Some(told) => {
                    if peer.health.succeeded() {
                        tracing::info!(peer = %peer.name, "a peer is back");
                    }
                    return (told != Told::Failed).then_some((told, response));
                }
                // The request is larger by what is added to it, which is nobody's fault.
                None if response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                    return None;
                }
                // It has another key, or another clock, or does not serve this host.
                None => (Trouble::Late, "it does not know this edge".to_owned()),
            },
            Ok(Err(error)) => (trouble_of(error.kind())?, error.to_string()),
            Err(_) => (Trouble::Late, "it took too long".to_owned()),
        };
        cx.worker.cells.peer_failures.add(1);
        if peer.health.failed(trouble) {
            tracing::warn!(peer = %peer.name, why, "a peer is away; what it owns is fetched without it");
        }
        None
    }
}

/// What an error says about a peer; `None` for what is no matter of the peer's.
fn trouble_of(error: Kind) -> Option<Trouble> {
    match error {
        Kind::Connect | Kind::ConnectTimeout | Kind::Exchange | Kind::Stalled => {
            Some(Trouble::Unreachable)
        }
        Kind::Deadline => Some(Trouble::Late),
        _ => None,
    }
}

// === impl Asked ===

impl Asked {
    /// `None` while purges of the log may be missing here: then nobody can say what is new enough.
    fn now(cx: &Context) -> Option<Self> {
        let engine = &cx.worker.engine;
        let log = engine.purger.as_ref().and_then(|purger| purger.log());
        let position = match log {
            Some(log) if log.is_fenced() => return None,
            Some(log) => Some(log.position()?),
            None => None,
        };
        let then = engine.clock.now();
        Some(Self { then, position })
    }

    /// Whether a peer's response is from after every purge that concerns it and was done here before the peer was asked.
    /// Of those that come later the store itself keeps what was asked for before.
    fn is_answered_by(
        &self,
        cx: &Context,
        key: &CacheKey,
        told: &Told,
        headers: &HeaderMap,
    ) -> bool {
        let has_read = |position: &LogPosition| {
            let theirs = told.position();
            theirs.is_some_and(|theirs| theirs.has_reached(position))
        };
        if !self.position.as_ref().is_none_or(has_read) {
            return false;
        }
        let label = key.more().map(|_| key.label());
        let tags = tags(headers).and(label);
        let purges = &cx.worker.engine.purges;
        !purges.outdate(key, &tags, age(headers), self.then)
    }
}

/// How long ago the origin was asked, at the least. A response without `Age` was made for this request.
fn age(headers: &HeaderMap) -> Duration {
    let mut fields = headers.get_all(AGE).iter();
    let seconds = |field: &HeaderValue| field.to_str().ok()?.trim().parse::<u32>().ok();
    match fields.next().map(seconds) {
        None => Duration::ZERO,
        Some(Some(age)) => Duration::from_secs(age.into()),
        // Nobody knows.
        Some(None) => Duration::from_secs(u32::MAX.into()),
    }
}
