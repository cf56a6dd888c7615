//! How long responses are fresh.

use std::time::Duration;

use crate::cache::Lifetimes;
use crate::config::model::SiteCacheConfig;
use crate::config::value::Period;

/// The most that is made of how long a response had been unchanged.
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn lifetimes(cache: &SiteCacheConfig) -> Lifetimes {
    let duration = |period: Option<Period>| period.map(|period| period.as_duration());
    // One status before its class, which is how they are ordered.
    let by_status = cache.status_ttl.iter();
    Lifetimes {
        overriding: duration(cache.override_ttl),
        by_status: by_status
            .map(|(set, ttl)| (*set, ttl.as_duration()))
            .collect(),
        heuristic: cache.heuristic_percent,
        heuristic_max: duration(cache.heuristic_max).unwrap_or(DAY),
        while_revalidate: duration(cache.stale_while_revalidate),
        if_error: duration(cache.stale_if_error),
    }
}
