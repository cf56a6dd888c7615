//! How long a response is fresh: what the origin says, and what the site says where the origin says nothing.

use std::sync::Arc;
use std::time::Duration;

use http::header::{EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Rules, date, is_cacheable_by_default, parse_date_at, secs};
use crate::cache::control::{Control, FOREVER};
use crate::clock::Timestamp;
use crate::config::StatusSet;

/// What a site or route says about freshness, beyond its default.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Lifetimes {
    /// In place of whatever origins say, for statuses that are cacheable by default. `no-store`, `private` and
    /// `no-cache` are not lifted. Default: origins are believed.
    pub overriding: Option<Duration>,
    /// Where the origin names none, by status; the first that holds the status counts. Default: none.
    pub by_status: Arc<[(StatusSet, Duration)]>,
    /// Where the origin names none but `Last-Modified`: this part of the time since then, in percent. Default: 0, off.
    pub heuristic: u8,
    /// The most that comes of `heuristic`.
    pub heuristic_max: Duration,
    /// How long stale responses are served while they are revalidated, where the origin says nothing of that.
    pub while_revalidate: Option<Duration>,
    /// How long stale responses stand in for a failing origin, where the origin says nothing of that.
    pub if_error: Option<Duration>,
}

// === impl Lifetimes ===

impl Lifetimes {
    fn of_status(&self, status: StatusCode) -> Option<Duration> {
        let mut sets = self.by_status.iter();
        sets.find_map(|(set, ttl)| set.contains(status).then_some(*ttl))
    }

    /// A part of how long it had been unchanged (§4.2.2).
    fn guess(&self, headers: &HeaderMap, received: Timestamp) -> Option<Duration> {
        if self.heuristic == 0 {
            return None;
        }
        let changed = headers.get(LAST_MODIFIED)?;
        let changed = parse_date_at(changed, received)?;
        let unchanged = date(headers, received).since(changed);
        Some((unchanged / 100 * u32::from(self.heuristic)).min(self.heuristic_max))
    }
}

/// How long it is fresh after its generation (§4.2.1); `None` if nothing says so.
pub(super) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    control: &Control,
    rules: &Rules,
    received: Timestamp,
) -> Option<Duration> {
    let overriding = rules.lifetimes.overriding;
    overriding
        .filter(|_| is_cacheable_by_default(status))
        .or_else(|| control.s_maxage.or(control.max_age).map(secs))
        .or_else(|| until_expiry(headers, control, received))
        .or_else(|| unsaid(status, headers, control, rules, received))
}

/// Where the origin says nothing.
fn unsaid(
    status: StatusCode,
    headers: &HeaderMap,
    control: &Control,
    rules: &Rules,
    received: Timestamp,
) -> Option<Duration> {
    let is_default = is_cacheable_by_default(status);
    // `public` is an explicit permission for any status (§4.2.2).
    let guess = || {
        rules
            .lifetimes
            .guess(headers, received)
            .filter(|_| is_default || control.public)
    };
    // "Keep it, but ask every time" needs no lifetime.
    let asks = control.no_cache.then_some(Duration::ZERO);
    let of_status = rules.lifetimes.of_status(status);
    of_status
        .or_else(guess)
        .or_else(|| rules.default_ttl.or(asks).filter(|_| is_default))
}

/// `Expires` less `Date` (§5.3). What is no date, `0` above all, has expired; of several lines the earliest counts.
fn until_expiry(headers: &HeaderMap, control: &Control, received: Timestamp) -> Option<Duration> {
    if control.is_targeted {
        return None;
    }
    let date = date(headers, received);
    let left = |line: &HeaderValue| {
        parse_date_at(line, received).map_or(Duration::ZERO, |expires| expires.since(date))
    };
    let lines = headers.get_all(EXPIRES).iter();
    lines.map(left).min().map(|left| left.min(secs(FOREVER)))
}
