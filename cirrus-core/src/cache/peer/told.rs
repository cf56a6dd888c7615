//! What edges tell each other beyond the response itself.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::CIRRUS_PEER;
use crate::body::Response;
use crate::cache::CacheOutcome;
use crate::cache::control::SURROGATE_CONTROL;
use crate::cache::log::LogPosition;
use crate::cache::meta::Meta;

/// What begins the label that keeps `Surrogate-Control` with a response that is stored without it. The space keeps it
/// apart from most labels of origins; one that uses it all the same gives its own responses other lifetimes.
const LABEL: &str = "surrogate-control ";

/// What a peer says about its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It had it, or somebody had asked for it already.
    Hit(Option<LogPosition>),
    /// It has asked the origin.
    Miss(Option<LogPosition>),
    /// It could not; there is nothing wrong with itself.
    Failed,
}

// === impl Told ===

impl Told {
    pub(super) fn of(outcome: &CacheOutcome, position: Option<LogPosition>) -> Self {
        match outcome.word() {
            "hit" | "stale" | "collapsed" => Self::Hit(position),
            _ => Self::Miss(position),
        }
    }

    /// Takes it out of a response; `None` if no peer has answered.
    pub(super) fn take(headers: &mut HeaderMap) -> Option<Self> {
        let field = headers.remove(&CIRRUS_PEER)?;
        let text = field.to_str().ok()?;
        let (word, position) = match text.split_once(' ') {
            Some((word, position)) => (word, position_of(position)),
            None => (text, None),
        };
        match word {
            "hit" => Some(Self::Hit(position)),
            "miss" => Some(Self::Miss(position)),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }

    pub(super) fn position(&self) -> Option<&LogPosition> {
        match self {
            Self::Hit(position) | Self::Miss(position) => position.as_ref(),
            Self::Failed => None,
        }
    }

    pub(super) fn to_value(&self) -> HeaderValue {
        let (word, position) = match self {
            Self::Hit(position) => ("hit", position.as_ref()),
            Self::Miss(position) => ("miss", position.as_ref()),
            Self::Failed => ("failed", None),
        };
        let with = position.map(|position| format!("{word} {position}"));
        with.and_then(|text| HeaderValue::try_from(text).ok())
            .unwrap_or(HeaderValue::from_static(word))
    }
}

/// As a position is displayed: `LOG/NUMBER`.
fn position_of(text: &str) -> Option<LogPosition> {
    let (log, number) = text.rsplit_once('/')?;
    Some(LogPosition::new(log, number.parse().ok()?))
}

/// The label of a response with `Surrogate-Control`.
pub(in crate::cache) fn surrogate_label(headers: &HeaderMap) -> Option<Arc<str>> {
    let lines = headers.get_all(&SURROGATE_CONTROL).iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| format!("{LABEL}{}", lines.join(", ")).into())
}

/// A peer stores by what the origin has said to surrogates.
pub(in crate::cache) fn tell_surrogate_control(response: &mut Response, meta: &Meta) {
    let mut labels = meta.tags.iter();
    let value = labels.find_map(|label| label.strip_prefix(LABEL));
    if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
        response
            .headers_mut()
            .insert(SURROGATE_CONTROL.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let position = Some(LogPosition::new("a/b", 7));
        for told in [
            Told::Hit(position.clone()),
            Told::Hit(None),
            Told::Miss(position),
            Told::Miss(None),
            Told::Failed,
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(&CIRRUS_PEER, told.to_value());
            assert_eq!(Told::take(&mut headers), Some(told));
            assert_eq!(Told::take(&mut headers), None, "it is taken out");
        }
        for other in ["", "yes", "hit,miss"] {
            let mut headers = HeaderMap::new();
            headers.insert(&CIRRUS_PEER, HeaderValue::from_static(other));
            assert_eq!(Told::take(&mut headers), None, "{other}");
        }
    }
}
