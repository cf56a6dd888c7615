//! What is kept beside a body.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::lines::Lines;
use super::store::Moment;
use crate::clock::Timestamp;

/// Everything about a stored response but its body.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Meta {
    /// Its status.
    pub status: StatusCode,
    /// Its header as a client gets it, without `Age` and hop-by-hop fields.
    pub headers: HeaderMap,
    /// The request header fields that it was chosen by.
    pub vary: Variant,
    /// How long it may be used.
    pub freshness: Freshness,
    /// Labels to purge it by.
    pub tags: Arc<[Arc<str>]>,
    /// The length of its body, if the origin said so.
    pub length: Option<u64>,
    /// When the origin was asked for it: purges since then concern it. `None`: when it is given to the store.
    pub asked: Option<Moment>,
    /// The header as HTTP/1 writes it.
    pub(crate) lines: Lines,
}

/// The request header fields named by `Vary`, with their values in the request that was answered, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant(pub Vec<(HeaderName, Option<HeaderValue>)>);

/// How long a stored response may be used (RFC 9111 §4.2, RFC 5861).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Freshness {
    /// When it was received, or last revalidated.
    pub received: Timestamp,
    /// How old it was then (`corrected_initial_age`, §4.2.3).
    pub initial_age: Duration,
    /// From how old on it is stale.
    pub lifetime: Duration,
    /// For how long after that it may be served while it is revalidated (RFC 5861 §3).
    pub while_revalidate: Duration,
    /// For how long after that it may be served when the origin fails (RFC 5861 §4).
    pub if_error: Duration,
    /// Never to be served stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`).
    pub must_revalidate: bool,
    /// Never to be served without asking the origin (`no-cache`).
    pub no_cache: bool,
    /// It was made stale, and stays so until it is revalidated, whatever the clock says.
    pub expired: bool,
}

// === impl Meta ===

impl Meta {
    /// A response that is stale at once and has neither variant nor tags.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap) -> Self {
        Self {
            status,
            headers,
            vary: Variant::default(),
            freshness: Freshness::default(),
            tags: Arc::new([]),
            length: None,
            asked: None,
            lines: Lines::default(),
        }
    }

    /// With its variant.
    #[must_use]
    pub fn with_vary(mut self, vary: Variant) -> Self {
        self.vary = vary;
        self
    }

    /// With how long it may be used.
    #[must_use]
    pub fn with_freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    /// With labels to purge it by.
    #[must_use]
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = Arc<str>>) -> Self {
        self.tags = tags.into_iter().collect();
        self
    }

    /// With the length of its body.
    #[must_use]
    pub fn with_length(mut self, length: Option<u64>) -> Self {
        self.length = length;
        self
    }

    /// With when the origin was asked.
    #[must_use]
    pub fn with_asked(mut self, asked: Moment) -> Self {
        self.asked = Some(asked);
        self
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let fields: usize = self
            .headers
            .iter()
            // Once in the map, and once as a line.
            .map(|(name, value)| 2 * (name.as_str().len() + value.len()) + 64)
            .sum();
        let variant: usize = self
            .vary
            .0
            .iter()
            .map(|(name, value)| {
                name.as_str().len() + value.as_ref().map_or(0, HeaderValue::len) + 64
            })
            .sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 32).sum();
        size_of::<Self>() + fields + variant + tags
    }
}

// === impl Freshness ===

impl Freshness {
    /// How old it is (`current_age`, RFC 9111 §4.2.3).
    ///
    /// A clock that was set back tells nothing about that: then it is as old as it may become.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        if self.received.since(now) > Duration::from_secs(1) {
            return self.initial_age.max(self.lifetime);
        }
        let age = self.initial_age + now.since(self.received);
        if self.expired {
            age.max(self.lifetime)
        } else {
            age
        }
    }

    /// How long it stays fresh; zero once it is stale.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Duration {
        self.lifetime.saturating_sub(self.age(now))
    }

    /// Stale from now on (a soft purge), also if the clock is set back.
    #[must_use]
    pub fn expired(mut self, now: Timestamp) -> Self {
        self.lifetime = self.lifetime.min(self.age(now));
        self.expired = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purged(received: u64, at: u64) -> Freshness {
        let freshness = Freshness {
            received: Timestamp::from_secs(received),
            lifetime: Duration::from_secs(60),
            while_revalidate: Duration::from_secs(60),
            ..Freshness::default()
        };
        freshness.expired(Timestamp::from_secs(at))
    }

    #[test]
    fn what_was_made_stale_stays_stale_whatever_the_clock_says() {
        for (received, at) in [(1000, 1010), (1000, 1000), (1000, 900), (1000, 2000)] {
            let freshness = purged(received, at);
            for now in [0, 899, 999, 1000, 1005, 1009, 1010, 1059, 1060, 5000] {
                let left = freshness.remaining(Timestamp::from_secs(now));
                assert!(left.is_zero(), "{received} {at} {now}: {left:?}");
            }
        }
    }

    #[test]
    fn age_counts_on_from_when_it_was_received() {
        let freshness = purged(1000, 1010);
        assert_eq!(freshness.lifetime, Duration::from_secs(10));
        let age = freshness.age(Timestamp::from_secs(1030));
        assert_eq!(age, Duration::from_secs(30));
    }
}
