//! One fetch, many waiters: concurrent requests for what is not stored cost the origin one request.
//!
//! ```text
//!             ┌─ land ────► found:  the followers look into the store again
//! join ► fly ─┼─ release ─► alone:  the followers go on their own, and so do later ones for a while
//!             ├─ fail ────► failed: one of the followers leads; when that one fails too, those who saw both fail with
//!             │                     it, or go on their own if it may have been about the one request
//!             └─ drop ────► failed: the leader's client has left; one of the followers leads
//! ```
//!
//! A follower whose time is over relieves a leader that is late: it leads a flight of its own, which those who come now
//! join. The late leader's answer is still stored when it comes.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::key::CacheKey;
use crate::error::{Error, Kind};

/// How long a URL is remembered whose responses cannot be shared.
const MEMORY: Duration = Duration::from_secs(30);

/// How many such URLs are remembered.
const MEMORIES: usize = 4096;

/// Few enough to be cheap, enough that workers seldom meet at one lock.
const SHARDS: usize = 16;

/// The fetches under way, for all workers. Its clones are the same.
///
/// Misses only come here; its locks are held for a look into a map.
#[derive(Clone, Default)]
pub(crate) struct Flights(Arc<Inner>);

#[derive(Default)]
struct Inner {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    flying: HashMap<CacheKey, Flight, RandomState>,
    /// Until when each of these goes alone.
    alone: HashMap<CacheKey, Instant, RandomState>,
}

/// One fetch under way.
struct Flight {
    phase: watch::Receiver<Phase>,
    began: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Flying,
    Found,
    Alone,
    Failed(Failure),
}

/// How the origin failed: what those who waited for it are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was no answer.
    Error(Kind, &'static str),
    /// The answer was that it failed.
    Status(StatusCode),
}

/// What a request does about a fetch.
#[derive(Debug)]
pub(super) enum Role {
    /// It fetches.
    Leader(Leader),
    /// It waits for the one that fetches.
    Follower(Follower),
}

/// The duty to fetch for others. Dropped, it passes to one of them.
#[must_use]
pub(super) struct Leader {
    flights: Flights,
    key: CacheKey,
    phase: watch::Sender<Phase>,
}

/// A wait for a leader.
#[derive(Debug)]
pub(super) struct Follower(watch::Receiver<Phase>);

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landing {
    /// The store has it now.
    Found,
    /// It cannot be shared.
    Alone,
    /// The leader failed: at the origin, or because its own client has left.
    Failed(Option<Failure>),
    /// The leader takes too long.
    Late,
}

// === impl Flights ===

impl Flights {
    /// Takes part in the fetch for `key`, or begins one.
    pub(super) fn join(&self, key: &CacheKey) -> Role {
        let mut shard = self.shard(key).lock();
        if let Some(flight) = shard.flying.get(key) {
            return Role::Follower(Follower(flight.phase.clone()));
        }
        Role::Leader(self.begin(&mut shard, key))
    }

    /// Takes the lead from a leader who has it for `limit` and longer. One of many who ask does.
    pub(super) fn relieve(&self, key: &CacheKey, limit: Duration) -> Option<Leader> {
        let mut shard = self.shard(key).lock();
        let is_late = shard
            .flying
            .get(key)
            .is_none_or(|flight| flight.began.elapsed() >= limit);
        is_late.then(|| self.begin(&mut shard, key))
    }

    fn begin(&self, shard: &mut Shard, key: &CacheKey) -> Leader {
        let (phase, flight) = watch::channel(Phase::Flying);
        let flight = Flight {
            phase: flight,
            began: Instant::now(),
        };
        shard.flying.insert(key.clone(), flight);
        Leader {
            flights: self.clone(),
            key: key.clone(),
            phase,
        }
    }

    /// Whether what is behind `key` could not be shared lately, so that waiting would be in vain.
    pub(super) fn goes_alone(&self, key: &CacheKey) -> bool {
        let shard = self.shard(key).lock();
        shard
            .alone
            .get(key)
            .is_some_and(|until| Instant::now() < *until)
    }

    /// It cannot be shared: for a while nobody waits for it.
    pub(super) fn remember(&self, key: &CacheKey) {
        self.shard(key).lock().remember(key, Instant::now());
    }

    /// It can be shared after all.
    pub(super) fn forget(&self, key: &CacheKey) {
        self.shard(key).lock().alone.remove(key);
    }

    fn shard(&self, key: &CacheKey) -> &Mutex<Shard> {
        let hash = self.0.hasher.hash_one(key) % SHARDS as u64;
        &self.0.shards[hash as usize]
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flying: usize = self
            .0
            .shards
            .iter()
            .map(|shard| shard.lock().flying.len())
            .sum();
        f.debug_struct("Flights").field("flying", &flying).finish()
    }
}

// === impl Shard ===

impl Shard {
    fn remember(&mut self, key: &CacheKey, now: Instant) {
        if self.alone.len() >= MEMORIES / SHARDS && !self.alone.contains_key(key) {
            self.alone.retain(|_, until| now < *until);
        }
        // Full of recent ones: a fresh start costs each of them one wait.
        if self.alone.len() >= MEMORIES / SHARDS && !self.alone.contains_key(key) {
            self.alone.clear();
        }
        self.alone.insert(key.clone(), now + MEMORY);
    }
}

// === impl Leader ===

impl Leader {
    /// The response can be found in the store, if only its beginning.
    pub(super) fn land(self) {
        self.phase.send_replace(Phase::Found);
    }

    /// The response cannot be shared.
    pub(super) fn release(self) {
        self.flights.remember(&self.key);
        self.phase.send_replace(Phase::Alone);
    }

    /// The origin has failed.
    pub(super) fn fail(self, failure: Failure) {
        self.phase.send_replace(Phase::Failed(failure));
    }
}

impl Drop for Leader {
    /// Gives the key free. Followers who have not been told anything take it as a failure.
    fn drop(&mut self) {
        let mut shard = self.flights.shard(&self.key).lock();
        let flight = shard.flying.get(&self.key);
        // It may have been relieved.
        if flight.is_some_and(|flight| flight.phase.same_channel(&self.phase.subscribe())) {
            shard.flying.remove(&self.key);
        }
    }
}

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leader").field(&self.key).finish()
    }
}

// === impl Failure ===

impl Failure {
    /// Whether it says nothing about the request, so that every other one would have met with it too: the origin was not
    /// even asked, or has no time. What broke over one request may be that one's doing, and must not be held against
    /// others: otherwise whoever knows how to break the origin's answer to a request of theirs breaks everybody's.
    pub(super) fn is_for_all(self) -> bool {
        match self {
            Self::Error(kind, _) => matches!(
                kind,
                Kind::Connect
                    | Kind::ConnectTimeout
                    | Kind::NoEndpoint
                    | Kind::Overload
                    | Kind::Deadline
            ),
            Self::Status(status) => matches!(
                status,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            ),
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self::Error(error.kind(), error.word())
    }
}

// === impl Follower ===

impl Follower {
    /// Waits for the leader, until `deadline` at most.
    pub(super) async fn wait(mut self, deadline: Instant) -> Landing {
        let told = self.0.wait_for(|phase| *phase != Phase::Flying);
        match timeout_at(deadline, told)
            .await
            .map(|told| told.map(|phase| *phase))
        {
            Ok(Ok(Phase::Alone)) => Landing::Alone,
            Ok(Ok(Phase::Found | Phase::Flying)) => Landing::Found,
            Ok(Ok(Phase::Failed(failure))) => Landing::Failed(Some(failure)),
            Ok(Err(_)) => Landing::Failed(None),
            Err(_) => Landing::Late,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;

    use super::*;
    use crate::cache::Scheme;

    const FAILURE: Failure = Failure::Status(StatusCode::BAD_GATEWAY);

    fn key(path: &'static str) -> CacheKey {
        CacheKey::new(Scheme::Http, "a.example", &PathAndQuery::from_static(path))
    }

    fn leader(flights: &Flights, path: &'static str) -> Leader {
        match flights.join(&key(path)) {
            Role::Leader(leader) => leader,
            Role::Follower(_) => panic!("somebody leads already"),
        }
    }

    fn follower(flights: &Flights, path: &'static str) -> Follower {
        match flights.join(&key(path)) {
            Role::Leader(_) => panic!("nobody leads"),
            Role::Follower(follower) => follower,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test(start_paused = true)]
    async fn followers_hear_how_it_ended() {
        let flights = Flights::default();
        for (end, expected) in [
            (Leader::land as fn(Leader), Landing::Found),
            (Leader::release, Landing::Alone),
            (drop::<Leader>, Landing::Failed(None)),
            (
                |leader| leader.fail(FAILURE),
                Landing::Failed(Some(FAILURE)),
            ),
        ] {
            let leader = leader(&flights, "/");
            let (before, other) = (follower(&flights, "/"), follower(&flights, "/"));
            end(leader);
            assert_eq!(before.wait(soon()).await, expected);
            assert_eq!(other.wait(soon()).await, expected);
        }
        assert_eq!(format!("{flights:?}"), "Flights { flying: 0 }");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_has_an_end() {
        let flights = Flights::default();
        let _leader = leader(&flights, "/");
        assert_eq!(follower(&flights, "/").wait(soon()).await, Landing::Late);
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_many_relieves_a_late_leader() {
        let flights = Flights::default();
        let limit = Duration::from_secs(5);
        let late = leader(&flights, "/");
        assert!(flights.relieve(&key("/"), limit).is_none());
        tokio::time::advance(limit).await;
        let relief = flights.relieve(&key("/"), limit).unwrap();
        assert!(flights.relieve(&key("/"), limit).is_none(), "only one");
        let newcomer = follower(&flights, "/");
        drop(late);
        let another = follower(&flights, "/");
        relief.land();
        assert_eq!(newcomer.wait(soon()).await, Landing::Found);
        assert_eq!(another.wait(soon()).await, Landing::Found);
        drop(leader(&flights, "/"));
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_has_its_own_flight() {
        let flights = Flights::default();
        let _one = leader(&flights, "/1");
        let _other = leader(&flights, "/2");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_shared_is_remembered_for_a_while() {
        let flights = Flights::default();
        leader(&flights, "/").release();
        assert!(flights.goes_alone(&key("/")) && !flights.goes_alone(&key("/2")));
        tokio::time::advance(MEMORY).await;
        assert!(!flights.goes_alone(&key("/")));
        flights.remember(&key("/"));
        flights.forget(&key("/"));
        assert!(!flights.goes_alone(&key("/")));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let flights = Flights::default();
        for number in 0..3 * MEMORIES {
            let target = PathAndQuery::try_from(format!("/{number}")).unwrap();
            flights.remember(&CacheKey::new(Scheme::Http, "a.example", &target));
        }
        let remembered: usize = flights
            .0
            .shards
            .iter()
            .map(|shard| shard.lock().alone.len())
            .sum();
        assert!(remembered <= MEMORIES, "{remembered}");
    }
}
