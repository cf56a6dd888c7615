//! How often a client may ask.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::Either;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use tower_layer::Layer;

use super::buckets::{Buckets, TooMany};
use crate::body::{Request, Response};
use crate::config::RateKey;
use crate::error::{Error, Kind};
use crate::middleware::client::client_address;
use crate::middleware::{Context, Handler};

static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Refuses whoever asks too often. All limits must allow a request.
#[derive(Clone, Debug)]
pub(crate) struct RateLimitLayer {
    limits: Arc<[RateLimit]>,
}

/// See [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub(crate) struct RateLimited<H> {
    inner: H,
    limits: Arc<[RateLimit]>,
}

/// One limit: who is counted together, and what they owe.
#[derive(Clone, Debug)]
pub(crate) struct RateLimit {
    pub(crate) key: RateKey,
    pub(crate) buckets: Arc<Buckets>,
}

/// Who is counted together.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Group<'a> {
    All,
    V4([u8; 4]),
    /// A /64 is what one household or one machine has; addresses within it are its to choose.
    V6([u8; 8]),
    Values(Vec<&'a [u8]>),
}

// === impl RateLimitLayer ===

impl RateLimitLayer {
    pub(crate) fn new(limits: Vec<RateLimit>) -> Self {
        Self {
            limits: limits.into(),
        }
    }
}

impl<H> Layer<H> for RateLimitLayer {
    type Service = RateLimited<H>;

    fn layer(&self, inner: H) -> RateLimited<H> {
        RateLimited {
            inner,
            limits: Arc::clone(&self.limits),
        }
    }
}

// === impl RateLimited ===

impl<H> RateLimited<H> {
    /// Charges every limit, or none of them: all are asked before the first is charged. Only if another request comes
    /// between asking and charging, some may be charged for a request that the last one refuses.
    fn admit(&self, cx: &Context, headers: &HeaderMap) -> Result<(), Error> {
        let now = Instant::now();
        if let [only] = &*self.limits {
            return only.take(cx, headers, now);
        }
        let asked = self
            .limits
            .iter()
            .map(|limit| limit.check(cx, headers, now));
        asked.collect::<Result<(), _>>()?;
        self.limits
            .iter()
            .try_for_each(|limit| limit.take(cx, headers, now))
    }
}

impl<H: Handler> Handler for RateLimited<H> {
    fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'a {
        match self.admit(cx, request.headers()) {
            Ok(()) => Either::Left(self.inner.handle(cx, request)),
            Err(error) => {
                cx.worker.cells.rate_limited.add(1);
                Either::Right(async { Err(error) })
            }
        }
    }
}

// === impl RateLimit ===

impl RateLimit {
    fn check(&self, cx: &Context, headers: &HeaderMap, now: Instant) -> Result<(), Error> {
        let group = Group::of(&self.key, cx, headers);
        let checked = self.buckets.check(&group, now);
        checked.map_err(|too_many| self.refused(too_many))
    }

    fn take(&self, cx: &Context, headers: &HeaderMap, now: Instant) -> Result<(), Error> {
        let group = Group::of(&self.key, cx, headers);
        let taken = self.buckets.take(&group, now);
        taken.map_err(|too_many| self.refused(too_many))
    }

    /// The fields are those of draft-ietf-httpapi-ratelimit-headers-10.
    fn refused(&self, TooMany { wait }: TooMany) -> Error {
        let rate = self.buckets.rate();
        let (count, window) = (rate.count(), rate.period().as_secs());
        let wait_secs = wait.as_secs_f64().ceil().max(1.0) as u64;
        let fields = [
            (
                &RATE_LIMIT_POLICY,
                format!("\"{rate}\";q={count};w={window}"),
            ),
            (&RATE_LIMIT, format!("\"{rate}\";r=0;t={wait_secs}")),
        ];
        let error = Error::new(Kind::TooMany).retry_after(wait);
        fields.into_iter().fold(error, |error, (name, value)| {
            match HeaderValue::try_from(value) {
                Ok(value) => error.with_field(name.clone(), value),
                Err(_) => error,
            }
        })
    }
}

// === impl Group ===

impl<'a> Group<'a> {
    fn of(key: &RateKey, cx: &Context, headers: &'a HeaderMap) -> Self {
        let values: Vec<&[u8]> = match key {
            RateKey::Route => return Self::All,
            RateKey::Client => Vec::new(),
            RateKey::Header(name) => {
                let values = headers.get_all(name.as_str()).iter();
                values.map(HeaderValue::as_bytes).collect()
            }
            RateKey::Cookie(name) => cookie(headers, name).into_iter().collect(),
        };
        if values.is_empty() {
            // Whoever leaves out what it would be counted by gains nothing.
            return client_address(cx, headers).into();
        }
        Self::Values(values)
    }
}

impl From<IpAddr> for Group<'_> {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The value of the first cookie of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(address: &str) -> Group<'static> {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn ipv6_clients_are_counted_by_their_network() {
        assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:2:ffff::9"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
        assert_eq!(group("192.0.2.1"), group("::ffff:192.0.2.1"));
    }

    #[test]
    fn finds_a_cookie_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(
            COOKIE,
            HeaderValue::from_static("asid=1; a=b;sid=two; sid=3"),
        );
        headers.append(COOKIE, HeaderValue::from_static("late=x=y"));
        assert_eq!(cookie(&headers, "sid"), Some(&b"two"[..]));
        assert_eq!(cookie(&headers, "late"), Some(&b"x=y"[..]));
        assert_eq!(cookie(&headers, "si"), None);
    }
}
