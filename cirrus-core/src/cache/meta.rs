//! What is kept beside a body.

use std::time::Duration;

use http::StatusCode;

use super::header::StoredHeader;
use super::store::Moment;
use super::tag::Tags;
use super::vary::Variant;
use crate::clock::Timestamp;

/// Everything about a stored response but its body.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Meta {
    /// Its status.
    pub status: StatusCode,
    /// Its header as a client gets it, without `Age` and hop-by-hop fields.
    pub headers: StoredHeader,
    /// The request header fields that it was chosen by.
    pub vary: Variant,
    /// Labels to purge it by.
    pub tags: Tags,
    /// The length of its body, if the origin said so.
    pub length: Option<u64>,
    /// When the origin was asked for it: purges since then concern it. `None`: when it is given to the store.
    pub asked: Option<Moment>,
    // Its freshness, each part as short as it can be: there may be a hundred million of them.
    received: Timestamp,
    initial_age: Seconds,
    lifetime: Seconds,
    while_revalidate: Seconds,
    if_error: Seconds,
    must_revalidate: bool,
    no_cache: bool,
    expired: bool,
}

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

/// A time span of up to 136 years; a longer one is as long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seconds {
    whole: u32,
    nanos: u32,
}

// === impl Meta ===

impl Meta {
    /// A response that is stale at once and has neither variant nor tags.
    #[must_use]
    pub fn new(status: StatusCode, headers: impl Into<StoredHeader>) -> Self {
        Self {
            status,
            headers: headers.into(),
            vary: Variant::default(),
            tags: Tags::default(),
            length: None,
            asked: None,
            received: Timestamp::default(),
            initial_age: Seconds::default(),
            lifetime: Seconds::default(),
            while_revalidate: Seconds::default(),
            if_error: Seconds::default(),
            must_revalidate: false,
            no_cache: false,
            expired: false,
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
        self.set_freshness(freshness);
        self
    }

    /// How long it may be used.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        Freshness {
            received: self.received,
            initial_age: self.initial_age.into(),
            lifetime: self.lifetime.into(),
            while_revalidate: self.while_revalidate.into(),
            if_error: self.if_error.into(),
            must_revalidate: self.must_revalidate,
            no_cache: self.no_cache,
            expired: self.expired,
        }
    }

    /// Changes how long it may be used. No span is kept that is longer than 136 years.
    pub fn set_freshness(&mut self, freshness: Freshness) {
        self.received = freshness.received;
        self.initial_age = freshness.initial_age.into();
        self.lifetime = freshness.lifetime.into();
        self.while_revalidate = freshness.while_revalidate.into();
        self.if_error = freshness.if_error.into();
        self.must_revalidate = freshness.must_revalidate;
        self.no_cache = freshness.no_cache;
        self.expired = freshness.expired;
    }

    /// With labels to purge it by.
    #[must_use]
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
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
        size_of::<Self>() + self.headers.weight() + self.vary.weight() + self.tags.weight()
    }
}

// === impl Seconds ===

impl From<Duration> for Seconds {
    fn from(span: Duration) -> Self {
        match u32::try_from(span.as_secs()) {
            Ok(whole) => Self {
                whole,
                nanos: span.subsec_nanos(),
            },
            Err(_) => Self {
                whole: u32::MAX,
                nanos: 0,
            },
        }
    }
}

impl From<Seconds> for Duration {
    fn from(span: Seconds) -> Self {
        Self::new(u64::from(span.whole), span.nanos)
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
