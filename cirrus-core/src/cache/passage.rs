//! What the cache would do with a request, told without doing it.

use http::HeaderMap;
use http_body::Body as _;

use super::control::Control;
use super::key::{CacheKey, Scheme};
use super::keying::selections_of;
use super::outcome::Forwarded;
use super::policy::{Intent, Rules, Verdict};
use super::purge::Selection;
use super::store::{BodyState, Stored};
use crate::body::Request;
use crate::clock::Timestamp;
use crate::explain::{ExplainedCache, ExplainedVariant};
use crate::routing::Host;

/// The cache's part in a request.
pub(crate) struct Passage {
    pub(crate) explained: ExplainedCache,
    pub(crate) lookup: Option<Lookup>,
}

/// What would be looked for, and what the request says about it.
pub(crate) struct Lookup {
    pub(crate) key: CacheKey,
    headers: HeaderMap,
    control: Control,
}

// === impl Passage ===

impl Passage {
    /// Of a request that has been admitted.
    pub(crate) fn of(rules: &Rules, scheme: Scheme, host: &Host, request: Request) -> Self {
        let lookups = &*rules.lookups;
        let control = lookups.control(request.headers());
        let has_content = !request.body().is_end_stream();
        let intent = Intent::of(request.method(), request.headers(), has_content, &control);
        match (intent, lookups.bypassed(&request)) {
            (Intent::Lookup | Intent::Pass(_), _) if !rules.enable => Self::told("off", None),
            (Intent::Lookup, Some(why)) => Self::told("bypass", Some(why.to_owned())),
            (Intent::Lookup, None) => Self::looked_up(rules, scheme, host, request, control),
            (Intent::Pass(reason), _) => {
                Self::told("pass", Some(Forwarded::from(reason).to_string()))
            }
            (Intent::Unsafe, _) if rules.enable || rules.invalidate => {
                Self::void(rules, scheme, host, &request)
            }
            (Intent::Unsafe, _) => Self::told("off", None),
        }
    }

    fn told(intent: &'static str, reason: Option<String>) -> Self {
        let explained = ExplainedCache {
            intent,
            reason,
            ..ExplainedCache::default()
        };
        Self {
            explained,
            lookup: None,
        }
    }

    fn looked_up(
        rules: &Rules,
        scheme: Scheme,
        host: &Host,
        mut request: Request,
        control: Control,
    ) -> Self {
        let mut passage = Self::told("lookup", None);
        let mut seen_host = host.clone();
        let adapted = rules.lookups.adapt_to(&mut seen_host, &mut request);
        let Some(target) = request.uri().path_and_query() else {
            return Self::told("pass", Some("target".to_owned()));
        };
        passage.explained.asks_for =
            adapted.then(|| format!("{}://{seen_host}{target}", scheme.as_str()));
        let key = rules
            .lookups
            .key_of(scheme, seen_host.as_str(), target, request.headers());
        passage.explained.key = Some(key.to_string());
        passage.lookup = Some(Lookup {
            key,
            headers: std::mem::take(request.headers_mut()),
            control,
        });
        passage
    }

    fn void(rules: &Rules, scheme: Scheme, host: &Host, request: &Request) -> Self {
        let mut passage = Self::told("invalidate", Some("method".to_owned()));
        if let Some(target) = request.uri().path_and_query() {
            let key = CacheKey::new(scheme, host.as_str(), target);
            let all = selections_of(&rules.lookups.site_keyings, &key);
            passage.explained.voids = all.iter().map(named).collect();
        }
        passage
    }
}

fn named(selection: &Selection) -> String {
    match selection {
        Selection::Url(key) => key.to_string(),
        Selection::Tag(tag) => format!("tag {tag:?}"),
        other => format!("{other:?}"),
    }
}

// === impl Lookup ===

impl Lookup {
    /// What is stored, and what of it this request would get; its place among them, if there is one.
    pub(crate) fn judge(
        &self,
        stored: &[Stored],
        now: Timestamp,
    ) -> (Vec<ExplainedVariant>, Option<usize>) {
        let variants: Vec<_> = stored
            .iter()
            .map(|stored| self.variant(stored, now))
            .collect();
        let found = variants
            .iter()
            .position(|variant| variant.matches && variant.body != "failed");
        (variants, found)
    }

    /// The client wants nothing but what is stored.
    pub(crate) fn is_only_if_cached(&self) -> bool {
        self.control.only_if_cached
    }

    fn variant(&self, stored: &Stored, now: Timestamp) -> ExplainedVariant {
        let (meta, freshness) = (&stored.meta, stored.meta.freshness());
        let vary = meta.vary.iter().map(|(name, value)| {
            let value = value.map(String::from_utf8_lossy);
            (name.to_owned(), value.map(|value| value.into_owned()))
        });
        ExplainedVariant {
            status: meta.status.as_u16(),
            vary: vary.collect(),
            matches: meta.vary.matches(&self.headers),
            tags: meta.tags.iter().map(ToString::to_string).collect(),
            body: match stored.body.state() {
                BodyState::Whole => "whole",
                BodyState::Growing => "growing",
                BodyState::Failed => "failed",
            },
            length: stored.body.size().or(meta.length),
            age: age(stored, now),
            lifetime: lifetime(stored),
            ttl: freshness.ttl(now),
            notes: notes(stored),
            verdict: match freshness.judge(&self.control, now) {
                Verdict::Serve => "served",
                Verdict::ServeAndRevalidate => "served, and revalidated in the background",
                Verdict::Stale => {
                    "revalidated: it is stale, or its origin wants to be asked every time"
                }
                Verdict::Demanded => "revalidated: the request wants it fresher",
            },
        }
    }
}

fn age(stored: &Stored, now: Timestamp) -> String {
    let freshness = stored.meta.freshness();
    let (initial, total) = (
        freshness.initial_age.as_secs(),
        freshness.age(now).as_secs(),
    );
    let here = total.saturating_sub(initial);
    format!("{total} s = {initial} s when it was received + {here} s here")
}

/// From which field it comes, as far as the stored header tells.
fn lifetime(stored: &Stored) -> String {
    let (control, seconds) = (
        Control::of_response(&stored.meta.headers.to_map()),
        stored.meta.freshness().lifetime.as_secs(),
    );
    let is = |value: Option<u32>| value.is_some_and(|value| u64::from(value) == seconds);
    let source = if is(control.s_maxage) {
        "s-maxage"
    } else if control.s_maxage.is_none() && is(control.max_age) {
        "max-age"
    } else if control.s_maxage.or(control.max_age).is_none()
        && stored.meta.headers.contains_key(http::header::EXPIRES)
    {
        "Expires less Date"
    } else {
        "the route's rules, or a purge that made it stale"
    };
    format!("{seconds} s, from {source}")
}

fn notes(stored: &Stored) -> Vec<String> {
    let freshness = stored.meta.freshness();
    let window = |duration: std::time::Duration, what: &str| {
        (!duration.is_zero()).then(|| format!("{what} for {} s more", duration.as_secs()))
    };
    let forbids = |is: bool, what: &str| is.then(|| what.to_owned());
    [
        window(
            freshness.while_revalidate,
            "may be served stale while it is revalidated",
        ),
        window(
            freshness.if_error,
            "may be served stale when the origin fails",
        ),
        forbids(
            freshness.must_revalidate,
            "never served stale at a client's wish",
        ),
        forbids(freshness.no_cache, "never served without asking the origin"),
    ]
    .into_iter()
    .flatten()
    .collect()
}
