//! The decisions of RFC 9111 as pure functions: what is stored, how long it is fresh, what a request may be given.
//!
//! They look at no clock and no store; the time is passed in. In doubt a response is not stored and not reused.

mod age;
mod date;
mod lifetime;

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_RANGE, ETAG, LAST_MODIFIED, SET_COOKIE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use self::age::{date, initial_age};
pub(super) use self::date::parse_date;
use self::date::parse_date_at;
pub use self::lifetime::Lifetimes;
use self::lifetime::lifetime;
use super::control::{Control, FOREVER, withheld};
use super::meta::Freshness;
use super::store::Moment;
use crate::clock::Timestamp;
use crate::config::SetCookie;

/// What a site or route says about caching.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rules {
    /// Whether anything is stored and served from the store. Default: no.
    pub enable: bool,
    /// How long a response is fresh that may be cached but says nothing of for how long. Default: not at all.
    pub default_ttl: Option<Duration>,
    /// Request fields that the site's routes are chosen by: part of every variant. Default: none.
    pub routed_by: std::sync::Arc<[http::HeaderName]>,
    /// Whether unsafe requests make void what other routes have stored, though this one stores nothing. Default: no.
    pub invalidate: bool,
    /// Fetches and stores large responses in parts of this many bytes. Default: as a whole.
    pub slice: Option<u64>,
    /// Who may purge with the method PURGE.
    pub(crate) purge: Option<super::method::PurgeMethod>,
    /// Nothing around the cache looks at a response's header before it is written.
    pub(crate) is_bare: bool,
    /// How long responses are fresh, beyond `default_ttl`.
    pub lifetimes: Lifetimes,
    /// What becomes of responses that set cookies. Default: they are not stored.
    pub set_cookie: SetCookie,
    /// Which requests are looked up, and under which keys. Default: all, under their URLs.
    pub(crate) lookups: std::sync::Arc<super::lookups::Lookups>,
}

/// What a request is to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// It may be answered with a stored response.
    Lookup,
    /// It changes what the origin has: stored responses to its target are void once it succeeds (§4.4).
    Unsafe,
    /// It concerns the origin only.
    Pass(Reason),
}

/// Why a request passes the cache by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// `OPTIONS`, `TRACE`.
    Method,
    /// It carries content, which no key includes.
    Content,
    /// It wants another protocol.
    Upgrade,
    /// `no-store` (§5.2.1.5).
    NoStore,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Status,
    NoStore,
    Private,
    Authorization,
    SetCookie,
    Vary,
    ContentRange,
    NotUnderstood,
    NoFreshness,
    /// Stale at once, and nothing to revalidate it by.
    Stale,
}

/// When the request was sent and when its answer's header was there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) asked: Timestamp,
    pub(super) received: Timestamp,
    /// When it was sent, in the order of the store's purges.
    pub(super) moment: Moment,
}

/// What may be done with a stored response (§4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Serve it: it is fresh, or as stale as the client puts up with.
    Serve,
    /// Serve it, and revalidate it behind the client's back (RFC 5861 §3).
    ServeAndRevalidate,
    /// It is stale.
    Stale,
    /// The request wants it fresher than it is (§5.2.1).
    Demanded,
}

// === impl Rules ===

impl Rules {
    /// Caching is on, with what origins say about freshness and nothing else.
    #[must_use]
    pub fn enabled() -> Self {
        Self {
            enable: true,
            default_ttl: None,
            ..Self::default()
        }
    }

    /// With this freshness for responses that name none.
    #[must_use]
    pub fn with_default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = Some(ttl);
        self
    }
}

// === impl Intent ===

impl Intent {
    /// Of a request. `has_content`: more than a header is to come.
    pub(super) fn of(
        method: &Method,
        headers: &HeaderMap,
        has_content: bool,
        control: &Control,
    ) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::of_get(headers, has_content, control),
            Method::OPTIONS | Method::TRACE => Self::Pass(Reason::Method),
            // What is not known to be safe (RFC 9110 §9.2.1) may have changed anything.
            _ => Self::Unsafe,
        }
    }

    fn of_get(headers: &HeaderMap, has_content: bool, control: &Control) -> Self {
        if control.no_store {
            Self::Pass(Reason::NoStore)
        } else if has_content {
            Self::Pass(Reason::Content)
        } else if headers.contains_key(UPGRADE) {
            Self::Pass(Reason::Upgrade)
        } else {
            Self::Lookup
        }
    }
}

// === impl Reason ===

impl Reason {
    /// For `Cache-Status`; `None` where `fwd` says it all.
    pub(super) fn detail(self) -> Option<&'static str> {
        match self {
            Self::Method => None,
            Self::Content => Some("content"),
            Self::Upgrade => Some("upgrade"),
            Self::NoStore => Some("no-store"),
        }
    }
}

// === impl Refusal ===

impl Refusal {
    /// For `Cache-Status`.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::Vary => "vary",
            Self::ContentRange => "content-range",
            Self::NotUnderstood => "must-understand",
            Self::NoFreshness => "no-freshness",
            Self::Stale => "stale",
        }
    }
}

/// Whether the answer to a GET may be stored (§3), and how long it may then be used.
pub(super) fn admit(
    request: &HeaderMap,
    status: StatusCode,
    headers: &HeaderMap,
    rules: &Rules,
    times: Times,
) -> Result<Freshness, Refusal> {
    let control = Control::of_response(headers);
    permit(request, status, headers, &control, rules)?;
    let lifetime =
        lifetime(status, headers, &control, rules, times.received).ok_or(Refusal::NoFreshness)?;
    let freshness = freshness(
        lifetime,
        initial_age(headers, times),
        &control,
        rules,
        times.received,
    );
    if freshness.is_of_use(status, headers) {
        Ok(freshness)
    } else {
        Err(Refusal::Stale)
    }
}

/// What forbids storing (§3, §3.5).
fn permit(
    request: &HeaderMap,
    status: StatusCode,
    headers: &HeaderMap,
    control: &Control,
    rules: &Rules,
) -> Result<(), Refusal> {
    if status.is_informational()
        || status == StatusCode::PARTIAL_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        return Err(Refusal::Status);
    }
    if control.must_understand && !is_understood(status) {
        return Err(Refusal::NotUnderstood);
    }
    // `no-store` beside `must-understand` is meant for caches that know less (§5.2.2.3).
    if control.no_store && !control.must_understand {
        return Err(Refusal::NoStore);
    }
    if control.private {
        return Err(Refusal::Private);
    }
    if request.contains_key(AUTHORIZATION) && !permits_authorized(control) {
        return Err(Refusal::Authorization);
    }
    // Stricter than §7.3, which would have them stored, and than a list that leaves out the cookie only: nobody's session
    // is ever handed to somebody else, nor the page that came with it.
    if rules.set_cookie == SetCookie::Refuse && headers.contains_key(SET_COOKIE) {
        return Err(Refusal::SetCookie);
    }
    if headers.get_all(CONTENT_RANGE).iter().any(is_part) {
        return Err(Refusal::ContentRange);
    }
    Ok(())
}

/// Means nothing beside such a status (RFC 9110 §14.4), but an origin that says so may well have sent a part.
fn is_part(range: &HeaderValue) -> bool {
    let unit = range.as_bytes().get(..6);
    unit.is_some_and(|unit| unit.eq_ignore_ascii_case(b"bytes "))
}

/// The fields of a response that are not stored with it, though whoever asked gets them.
pub(super) fn left_out(headers: &HeaderMap, rules: &Rules) -> Vec<HeaderName> {
    let withholds = Control::of_response(headers).withholds;
    let mut names = if withholds {
        withheld(headers)
    } else {
        Vec::new()
    };
    if rules.set_cookie == SetCookie::Strip && headers.contains_key(SET_COOKIE) {
        names.push(SET_COOKIE);
    }
    names
}

/// What lets a shared cache keep the answer to a request with `Authorization` (§3.5).
fn permits_authorized(control: &Control) -> bool {
    control.public || control.s_maxage.is_some() || control.must_revalidate
}

/// Whether a response says that it is for everybody, though the origin knew who asked. Stricter than §3.5: an origin that
/// learns the user from a field of ours may not think of it as `Authorization`.
pub(super) fn is_for_all(headers: &HeaderMap) -> bool {
    let control = Control::of_response(headers);
    control.public || control.s_maxage.is_some()
}

fn freshness(
    lifetime: Duration,
    initial_age: Duration,
    control: &Control,
    rules: &Rules,
    received: Timestamp,
) -> Freshness {
    let forbids = control.no_cache || control.must_revalidate || control.proxy_revalidate;
    // An origin that gives both `s-maxage` and a window for stale use means the window: it speaks to shared caches too.
    // The site's windows are for those that say nothing of the kind.
    let window = |said: Option<u32>, unsaid: Option<Duration>| {
        let unsaid = unsaid.filter(|_| control.s_maxage.is_none());
        let window = said.map(secs).or(unsaid).filter(|_| !forbids);
        window.unwrap_or_default()
    };
    Freshness {
        received,
        initial_age,
        lifetime,
        while_revalidate: window(
            control.stale_while_revalidate,
            rules.lifetimes.while_revalidate,
        ),
        if_error: window(control.stale_if_error, rules.lifetimes.if_error),
        must_revalidate: forbids || control.s_maxage.is_some(),
        no_cache: control.no_cache,
        expired: false,
    }
}

fn secs(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// Statuses that may be cached unless something forbids it (RFC 9110 §15.1), less 206.
fn is_cacheable_by_default(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Statuses whose rules for caching are followed here (§5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    is_cacheable_by_default(status) || matches!(status.as_u16(), 302 | 303 | 307)
}

// === impl Freshness ===

impl Freshness {
    /// Whether keeping it is worth the room: it is fresh, or may be served stale, or may become fresh again.
    fn is_of_use(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let has_validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
        let has_window = !self.while_revalidate.is_zero() || !self.if_error.is_zero();
        self.is_shareable() || has_window || (has_validator && status.is_success())
    }

    /// Whether it may answer a request that asks for `control` (§4.2, §5.2.1).
    pub(super) fn judge(&self, control: &Control, now: Timestamp) -> Verdict {
        let age = self.age(now);
        if demands_fresher(control, age, self.lifetime) {
            Verdict::Demanded
        } else if self.no_cache {
            Verdict::Stale
        } else if age < self.lifetime || self.is_put_up_with(control, age) {
            Verdict::Serve
        } else if age.saturating_sub(self.lifetime) < self.while_revalidate {
            Verdict::ServeAndRevalidate
        } else {
            Verdict::Stale
        }
    }

    /// `max-stale` (§5.2.1.2), which does not lift what the origin forbids (§4.2.4).
    fn is_put_up_with(&self, control: &Control, age: Duration) -> bool {
        let allowed = control.max_stale.filter(|_| !self.must_revalidate);
        allowed.is_some_and(|allowed| {
            allowed == FOREVER || age.saturating_sub(self.lifetime) <= secs(allowed)
        })
    }

    /// Whether it may be served when the origin fails (RFC 5861 §4).
    pub(super) fn outlives_errors(&self, now: Timestamp) -> bool {
        !self.if_error.is_zero() && self.age(now).saturating_sub(self.lifetime) <= self.if_error
    }

    /// Whether requests that came at the same time may share it.
    pub(super) fn is_shareable(&self) -> bool {
        !self.no_cache && self.initial_age < self.lifetime
    }

    /// For how many seconds it will be fresh; negative: since when it is stale (`ttl`, RFC 9211 §2.4).
    pub(super) fn ttl(&self, now: Timestamp) -> i64 {
        let signed = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        signed(self.lifetime) - signed(self.age(now))
    }
}

fn demands_fresher(control: &Control, age: Duration, lifetime: Duration) -> bool {
    control.insists()
        || control.max_age.is_some_and(|limit| age > secs(limit))
        || control
            .min_fresh
            .is_some_and(|wanted| lifetime.saturating_sub(age) < secs(wanted))
}

#[cfg(test)]
mod tests;
