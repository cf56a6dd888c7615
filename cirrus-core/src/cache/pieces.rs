//! The cache of one route by itself, for benches.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::control::Control;
use super::layer::{Cache, CacheLayer};
use super::meta::Freshness;
use super::policy::{Rules, Verdict};
use super::store::CacheStore;
use crate::body::{Request, Response};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Error, Kind};
use crate::middleware::{Context, Handler};

/// The cache of a route as a codec of ours meets it, above an origin that is never to be asked.
#[derive(Debug)]
pub struct CacheHit {
    cache: Cache<Unasked>,
    cx: Context,
}

/// What is decided for each hit: may this be served?
#[derive(Debug)]
pub struct Freshnesses {
    freshness: Freshness,
    control: Control,
    now: Timestamp,
}

/// Fails whatever it is asked.
#[derive(Debug)]
struct Unasked;

// === impl CacheHit ===

impl CacheHit {
    /// Asks `store`, for `http://a.example`. Needs a runtime.
    pub fn of(store: impl CacheStore) -> Self {
        let mut rules = Rules::enabled();
        rules.is_bare = true;
        let mut cx = Context::testing(Arc::new(SystemClock), Some(Arc::new(store)));
        cx.writes_lines = true;
        Self {
            cache: CacheLayer::new(rules).layer(Unasked),
            cx,
        }
    }

    /// For whoever looks at the header as a map: HTTP/2, and layers that change responses.
    #[must_use]
    pub fn with_map(mut self) -> Self {
        self.cx.writes_lines = false;
        self
    }

    /// The answer; an error unless the store has it.
    ///
    /// # Errors
    ///
    /// It is not stored.
    pub async fn ask(&mut self, request: Box<Request>) -> Result<Response, Error> {
        self.cache.handle(&mut self.cx, request).await
    }
}

impl Handler for Unasked {
    fn handle<'a>(
        &'a self,
        _: &'a mut Context,
        _: Box<Request>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'a {
        ready(Err(Error::new(Kind::Internal)))
    }
}

// === impl Freshnesses ===

impl Default for Freshnesses {
    fn default() -> Self {
        let now = SystemClock.now();
        Self {
            freshness: Freshness {
                received: now,
                lifetime: Duration::from_secs(3600),
                ..Freshness::default()
            },
            control: Control::default(),
            now,
        }
    }
}

impl Freshnesses {
    /// How many of so many moments, a second after each other, it may be served at.
    #[must_use]
    pub fn decide(&self, moments: u64) -> u64 {
        let fresh = |after: &u64| {
            let now = self.now.after(Duration::from_secs(*after));
            self.freshness.judge(&self.control, now) == Verdict::Serve
        };
        (0..moments).filter(fresh).count() as u64
    }
}
