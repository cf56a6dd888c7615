//! What the cache did with a request: for the access log, the metrics and `Cache-Status` (RFC 9211).

use std::fmt::{self, Write as _};

use http::header::Entry;
use http::{HeaderName, HeaderValue, StatusCode};

use super::key::CacheKey;
use crate::body::Response;
use crate::codec::write::{decimal, field};

/// The name of the field.
pub(super) static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the cache did with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// There is no cache here.
    #[default]
    Unused,
    /// The store answered, the origin was not asked.
    Hit {
        /// For how many more seconds the response is fresh; negative: since when it is stale.
        ttl: i64,
    },
    /// The origin was asked.
    Forwarded(Forwarded),
    /// Nothing stored could answer, and the client did not want the origin to be asked (`only-if-cached`).
    Refused,
}

/// How the origin was asked, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forwarded {
    /// Why.
    pub why: Forward,
    /// What the origin answered, if the stored response was served instead.
    pub status: Option<StatusCode>,
    /// The freshness of a stale response that was served because the origin failed.
    pub ttl: Option<i64>,
    /// The response is being stored.
    pub stored: bool,
    /// Another request had asked already, and its response answered this one too.
    pub collapsed: bool,
    /// Why it was forwarded or not stored, in a word.
    pub detail: Option<&'static str>,
}

/// Why a request went to the origin (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forward {
    /// The cache was not to be used, or could not.
    Bypass,
    /// The method is not for caches.
    Method,
    /// Nothing was stored for this URL.
    UriMiss,
    /// What was stored is for other values of the fields named by `Vary`.
    VaryMiss,
    /// The request wanted it.
    Request,
    /// What was stored is stale.
    Stale,
}

/// One member of a `Cache-Status` list, written without an allocation.
struct Member {
    text: [u8; 160],
    len: usize,
}

/// The longest key that is told.
const SHOWN_KEY: usize = 1024;

/// The words for metrics and logs.
const WORDS: [&str; CacheOutcome::COUNT] = [
    "none",
    "hit",
    "stale",
    "revalidated",
    "collapsed",
    "miss",
    "pass",
];

// === impl CacheOutcome ===

impl CacheOutcome {
    /// How many different [`word`](Self::word)s there are.
    pub const COUNT: usize = 7;

    /// A stable word for metrics and logs: `none`, `hit`, `stale`, `revalidated`, `collapsed`, `miss` or `pass`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        WORDS[self.index()]
    }

    /// The word of an [`index`](Self::index).
    #[must_use]
    pub fn word_of(index: usize) -> Option<&'static str> {
        WORDS.get(index).copied()
    }

    /// The place of its [`word`](Self::word) among them all, less than [`COUNT`](Self::COUNT).
    #[must_use]
    pub fn index(&self) -> usize {
        match self {
            Self::Unused => 0,
            Self::Hit { ttl: 0.. } => 1,
            Self::Hit { .. } | Self::Forwarded(Forwarded { ttl: Some(_), .. }) => 2,
            Self::Forwarded(forwarded) => forwarded.index(),
            Self::Refused => 5,
        }
    }

    /// The origin was not asked.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit { .. })
    }

    /// Writes the field as a line; of a hit without any formatting.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Self::Hit { ttl } = self {
            out.extend_from_slice(b"cache-status: cirrus; hit; ttl=");
            if *ttl < 0 {
                out.push(b'-');
            }
            decimal(out, ttl.unsigned_abs());
            out.extend_from_slice(b"\r\n");
        } else if let Some(member) = self.header() {
            field(out, &CACHE_STATUS, &member);
        }
    }

    /// The member for `Cache-Status`; `None` where there is no cache to speak of.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut member = Member::new();
        match self {
            Self::Unused => return None,
            Self::Hit { ttl } => write!(member, "cirrus; hit; ttl={ttl}"),
            Self::Forwarded(forwarded) => write!(member, "cirrus; {forwarded}"),
            Self::Refused => write!(member, "cirrus; detail=only-if-cached"),
        }
        .ok()?;
        member.into_value()
    }
}

impl From<Forwarded> for CacheOutcome {
    fn from(forwarded: Forwarded) -> Self {
        Self::Forwarded(forwarded)
    }
}

/// Adds the key to what is told about a request (RFC 9211 §2.7), as a string of RFC 8941.
pub(super) fn show_key(response: &mut Response, key: &CacheKey) {
    let Entry::Occupied(mut fields) = response.headers_mut().entry(&CACHE_STATUS) else {
        return;
    };
    // Ours is the last one.
    let Some(value) = fields.iter_mut().last() else {
        return;
    };
    let key = key.to_string();
    let is_told = key.len() <= SHOWN_KEY && key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let key = key.replace('\\', "\\\\").replace('"', "\\\"");
    let member = value
        .to_str()
        .map(|member| format!("{member}; key=\"{key}\""));
    if let Some(told) = member.ok().filter(|_| is_told)
        && let Ok(told) = HeaderValue::try_from(told)
    {
        *value = told;
    }
}

// === impl Forwarded ===

impl Forwarded {
    /// Forwarded, and that is all there is to say so far.
    pub(super) fn because(why: Forward) -> Self {
        Self {
            why,
            status: None,
            ttl: None,
            stored: false,
            collapsed: false,
            detail: None,
        }
    }

    pub(super) fn detailed(mut self, detail: impl Into<Option<&'static str>>) -> Self {
        self.detail = detail.into();
        self
    }

    fn index(&self) -> usize {
        match self.why {
            _ if self.collapsed => 4,
            _ if self.status == Some(StatusCode::NOT_MODIFIED) => 3,
            Forward::UriMiss | Forward::VaryMiss | Forward::Request | Forward::Stale => 5,
            Forward::Bypass | Forward::Method => 6,
        }
    }
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fwd={}", self.why.as_str())?;
        if let Some(status) = self.status {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        self.detail
            .map_or(Ok(()), |detail| write!(f, "; detail={detail}"))
    }
}

// === impl Forward ===

impl Forward {
    /// As RFC 9211 §2.2 writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

// === impl Member ===

impl Member {
    fn new() -> Self {
        Self {
            text: [0; 160],
            len: 0,
        }
    }

    fn into_value(self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(&self.text[..self.len]).ok()
    }
}

impl fmt::Write for Member {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.text
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(outcome: impl Into<CacheOutcome>) -> String {
        outcome
            .into()
            .header()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn members_are_written_as_rfc_9211_says() {
        let miss = Forwarded::because(Forward::UriMiss);
        let fresh_again = Forwarded {
            status: Some(StatusCode::NOT_MODIFIED),
            ..Forwarded::because(Forward::Stale)
        };
        assert_eq!(header(CacheOutcome::Hit { ttl: 59 }), "cirrus; hit; ttl=59");
        assert_eq!(header(CacheOutcome::Hit { ttl: -5 }), "cirrus; hit; ttl=-5");
        assert_eq!(
            header(Forwarded {
                stored: true,
                ..miss
            }),
            "cirrus; fwd=uri-miss; stored"
        );
        assert_eq!(
            header(Forwarded {
                collapsed: true,
                ..miss
            }),
            "cirrus; fwd=uri-miss; collapsed"
        );
        assert_eq!(
            header(miss.detailed("private")),
            "cirrus; fwd=uri-miss; detail=private"
        );
        assert_eq!(header(fresh_again), "cirrus; fwd=stale; fwd-status=304");
        assert_eq!(CacheOutcome::Unused.header(), None);
    }

    #[test]
    fn the_longest_member_fits() {
        let longest = Forwarded {
            why: Forward::VaryMiss,
            status: Some(StatusCode::BAD_GATEWAY),
            ttl: Some(i64::MIN),
            stored: true,
            collapsed: true,
            detail: Some("store-unavailable"),
        };
        assert!(header(longest).ends_with("; detail=store-unavailable"));
        assert!(header(CacheOutcome::Hit { ttl: i64::MIN }).ends_with("08"));
    }

    #[test]
    fn words_tell_what_happened() {
        let stale = Forwarded::because(Forward::Stale);
        for (outcome, word) in [
            (CacheOutcome::Unused, "none"),
            (CacheOutcome::Hit { ttl: 0 }, "hit"),
            (CacheOutcome::Hit { ttl: -1 }, "stale"),
            (
                Forwarded {
                    ttl: Some(-1),
                    ..stale
                }
                .into(),
                "stale",
            ),
            (
                Forwarded {
                    status: Some(StatusCode::NOT_MODIFIED),
                    ..stale
                }
                .into(),
                "revalidated",
            ),
            (
                Forwarded {
                    collapsed: true,
                    ..stale
                }
                .into(),
                "collapsed",
            ),
            (stale.into(), "miss"),
            (Forwarded::because(Forward::Method).into(), "pass"),
        ] {
            assert_eq!(outcome.word(), word, "{outcome:?}");
            assert_eq!(CacheOutcome::word_of(outcome.index()), Some(word));
        }
    }
}
