//! What was purged here, and when: what a peer has from before must not come back.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::epochs::{Epochs, Verdict};
use crate::cache::key::CacheKey;
use crate::cache::purge::{Purge, Selection};
use crate::cache::store::Moment;
use crate::cache::tag::Tags;
use crate::clock::{Clock, Timestamp};

/// `Age` is in whole seconds.
const GRAIN: Duration = Duration::from_secs(1);

/// The purges of this edge that peers need not have heard of, by the time they were made.
///
/// A purge is numbered by the milliseconds of its time, and a response by those of when its origin was asked for it. So
/// it is found out with what finds it out in stores, at the same cost and in the same bounds.
pub(crate) struct Purges {
    epochs: Epochs,
    clock: Arc<dyn Clock>,
}

// === impl Purges ===

impl Purges {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            epochs: Epochs::new(),
            clock,
        }
    }

    /// Notes a purge, before the store does it.
    pub(crate) fn note(&self, purge: &Purge) {
        let now = self.clock.now();
        self.epochs.resume_after(Moment(now.as_millis()));
        self.epochs.record(purge, now);
    }

    /// What was purged before is not known: everything may have been.
    pub(crate) fn begin_anew(&self) {
        self.note(&Purge::hard(Selection::All));
    }

    /// Whether a response that was of this age at `then` may be from before a purge that concerns it.
    pub(crate) fn outdate(
        &self,
        key: &CacheKey,
        tags: &Tags,
        age: Duration,
        then: Timestamp,
    ) -> bool {
        let age = u64::try_from((age + GRAIN).as_millis()).unwrap_or(u64::MAX);
        let asked = Moment(then.as_millis().saturating_sub(age));
        self.epochs.check(&self.epochs.begin_at(asked), key, tags) != Verdict::Live
    }
}

impl std::fmt::Debug for Purges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Purges").field(&self.epochs).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;

    use super::*;
    use crate::cache::key::Scheme;
    use crate::clock::ManualClock;

    fn key(path: &'static str) -> CacheKey {
        CacheKey::new(Scheme::Http, "a.example", &PathAndQuery::from_static(path))
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn what_was_asked_for_since_a_purge_may_come() {
        let clock = ManualClock::at(Timestamp::from_secs(1_795_200_000));
        let purges = Purges::new(Arc::new(clock.clone()));
        let (none, tags) = (&Tags::default(), &Tags::from_iter(["shoes"]));
        assert!(!purges.outdate(&key("/"), none, secs(1000), clock.now()));
        purges.note(&Purge::hard(Selection::Url(key("/"))));
        purges.note(&Purge::soft(Selection::Tag("shoes".into())));
        clock.advance(secs(10));
        for (path, tags, age, is_outdated) in [
            ("/", none, 8, false),
            // Nine and a bit may be ten.
            ("/", none, 9, true),
            ("/", none, 600, true),
            ("/other", none, 600, false),
            ("/other", tags, 8, false),
            ("/other", tags, 600, true),
        ] {
            let outdated = purges.outdate(&key(path), tags, secs(age), clock.now());
            assert_eq!(outdated, is_outdated, "{path} {tags:?} {age}");
        }
        purges.begin_anew();
        assert!(purges.outdate(&key("/other"), none, secs(0), clock.now()));
        clock.advance(secs(2));
        assert!(!purges.outdate(&key("/other"), none, secs(0), clock.now()));
    }
}
