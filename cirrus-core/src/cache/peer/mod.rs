//! Edges that fetch for each other.
//!
//! ```text
//! miss ─► whose is it? ─┬─ ours, or nobody's who is there ────────────────────► origin
//!                       └─ a peer's ─► ask it ─┬─ in time, and new enough ───► its answer
//!                                              └─ late, gone, or from before ─► origin
//!                                                 a purge here
//! ```
//!
//! Each URL has an owner in the group ([`owner`]), which the others ask before the origin. The request is signed
//! ([`signature`]): whoever asks like this has passed its own edge's policies, so it passes by the owner's ([`Door`]), and
//! is answered from the store, from what is being fetched, or by the origin. An edge that is asked by a peer asks no peer:
//! there is one hop at the most, whatever the edges think of each other.
//!
//! A peer may not have heard of a purge that was made here ([`purges`]). What it says is taken only if it was fetched
//! since, or if the peer has read as much of the purge log as we have.

mod ask;
mod door;
mod health;
mod owner;
pub(crate) mod purges;
mod signature;
mod told;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

pub(crate) use self::ask::PeerLayer;
pub(crate) use self::door::Door;
use self::health::Health;
use self::owner::Member;
use self::signature::Signer;
pub(super) use self::told::surrogate_label;
pub(super) use self::told::tell_surrogate_control;
use super::key::{CacheKey, Scheme};
use super::meta::Freshness;
use crate::body::Request;
use crate::clock::Timestamp;
use crate::config::PeersConfig;
use crate::middleware::{Context, Stack};

/// In a request, that it is a peer's; in its response, that a peer has answered, how, and how far it is in the purge log.
static CIRRUS_PEER: HeaderName = HeaderName::from_static("cirrus-peer");

/// The edges of a group, as one of them sees it.
#[derive(Debug)]
pub(crate) struct Peers {
    /// What it was made from: with an equal one the group stays as it is.
    pub(crate) config: PeersConfig,
    members: Box<[Peer]>,
    signer: Signer,
    /// How long an answer may take to begin.
    timeout: Duration,
    /// How long what a peer has given is used before it is asked again.
    keep: Duration,
}

/// One of them.
#[derive(Debug)]
struct Peer {
    name: Arc<str>,
    member: Member,
    health: Health,
    /// What sends it a request; `None` for ourselves.
    stack: Option<Stack>,
}

/// What a request has to do with other edges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peering {
    /// A peer asks.
    pub(crate) is_asked: bool,
    /// What the request's answer will be stored under: the owner of that may have it. `None` where only the origin may
    /// answer.
    pub(in crate::cache) fills: Option<CacheKey>,
    /// A peer has answered.
    pub(in crate::cache) is_answered: bool,
}

// === impl Peers ===

impl Peers {
    /// `stack` makes what sends requests to an edge of the group.
    pub(crate) fn new(
        config: &PeersConfig,
        stack: impl Fn(&crate::config::PeerConfig) -> Stack,
    ) -> Self {
        let peer = |peer: &crate::config::PeerConfig| Peer {
            name: peer.url.to_string().into(),
            member: Member::new(&peer.url.to_string(), peer.weight),
            health: Health::default(),
            stack: (peer.url != config.own).then(|| stack(peer)),
        };
        Self {
            members: config.group.iter().map(peer).collect(),
            signer: Signer::new(&config.key),
            timeout: config.timeout.as_duration(),
            keep: config.keep.as_duration(),
            config: config.clone(),
        }
    }

    /// The scheme that the client used, if the request is a peer's. Nobody else's word for it reaches anybody.
    pub(crate) fn recognise(&self, request: &mut Request, now: Timestamp) -> Option<Scheme> {
        let field = request.headers_mut().remove(&CIRRUS_PEER)?;
        let host = request.headers().get(http::header::HOST)?.to_str().ok()?;
        let target = request.uri().path_and_query()?.as_str();
        if request.method() != http::Method::GET {
            return None;
        }
        let scheme = field
            .to_str()
            .ok()
            .and_then(|field| self.signer.verify(field, host, target, now));
        if scheme.is_none() {
            tracing::debug!(host, target, "a request claims to be a peer's and is not");
        }
        scheme
    }

    /// The first in order who is there; `None` if that is this edge, or nobody.
    fn owner(&self, key: &CacheKey) -> Option<&Peer> {
        let members = self.members.iter().map(|peer| peer.member);
        for place in owner::order(members, key.as_str()) {
            let peer = &self.members[place];
            peer.stack.as_ref()?;
            if peer.health.may_be_asked() {
                return Some(peer);
            }
        }
        None
    }
}

// === impl Peering ===

impl Peering {
    /// For a request whose answer is to be stored under `key`.
    pub(super) fn filling(&mut self, key: &CacheKey) {
        self.fills = Some(key.clone());
    }

    /// For another request of the same exchange.
    pub(crate) fn again(&self) -> Self {
        Self {
            is_asked: self.is_asked,
            ..Self::default()
        }
    }
}

/// Whether a peer may be told of this request: what is for one user only is between that user's edge and the origin.
pub(super) fn may_ask(cx: &Context, request: &HeaderMap) -> bool {
    cx.snapshot.peers.is_some()
        && !cx.peering.is_asked
        && !cx.personal
        && !request.contains_key(http::header::AUTHORIZATION)
}

/// How long an answer may be used here: a peer's not as long as an origin's.
pub(super) fn shortened(cx: &Context, freshness: Freshness) -> Freshness {
    let Some(peers) = cx.snapshot.peers.as_deref() else {
        return freshness;
    };
    if !cx.peering.is_answered {
        return freshness;
    }
    let most = freshness.initial_age + peers.keep;
    Freshness {
        lifetime: freshness.lifetime.min(most),
        ..freshness
    }
}
