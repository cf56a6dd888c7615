//! Names that nobody has written down, if somebody allows them.

use std::sync::Arc;

use cirrus_core::{BoxError, SystemClock};
use http::{Request, StatusCode};
use instant_acme::BodyWrapper;

use super::http::Http;
use super::settings::Challenge;

/// Certificates for names when they are first asked for.
///
/// Without a guard anybody could have certificates ordered for names without end: a name must match one of the patterns,
/// and the URL, if there is one, must answer 200 to `GET URL?domain=NAME`. There has to be one of the two.
#[derive(Clone)]
pub struct OnDemand {
    allow: Vec<String>,
    ask: Option<(String, Http)>,
    pub(super) challenge: Challenge,
}

// === impl OnDemand ===

impl OnDemand {
    /// For names that match one of `patterns`: exactly, or with `*.` in front for one label or more.
    #[must_use]
    pub fn matching(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let lower = |pattern: String| pattern.to_ascii_lowercase();
        Self {
            allow: patterns
                .into_iter()
                .map(|pattern| lower(pattern.into()))
                .collect(),
            ask: None,
            challenge: Challenge::default(),
        }
    }

    /// Asks this URL too.
    ///
    /// # Errors
    ///
    /// The system's roots cannot be had.
    pub fn asking(mut self, url: impl Into<String>) -> Result<Self, BoxError> {
        self.ask = Some((url.into(), Http::new(None, Arc::new(SystemClock))?));
        Ok(self)
    }

    /// Shows control this way. By default by HTTP-01.
    #[must_use]
    pub fn by(mut self, challenge: Challenge) -> Self {
        self.challenge = challenge;
        self
    }

    /// Whether the patterns allow it; without I/O.
    pub(super) fn may_be(&self, name: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_prefix("*.") {
            Some(parent) => name
                .strip_suffix(parent)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => pattern == name,
        };
        match self.allow.is_empty() {
            true => self.ask.is_some(),
            false => self.allow.iter().any(matches),
        }
    }

    /// Whether it may have a certificate.
    pub(super) async fn is_allowed(&self, name: &str) -> Result<bool, BoxError> {
        let Some((url, http)) = self.ask.as_ref().filter(|_| self.may_be(name)) else {
            return Ok(self.may_be(name));
        };
        let join = if url.contains('?') { '&' } else { '?' };
        let request = Request::get(format!("{url}{join}domain={name}"));
        let (parts, _) = http.send(request.body(BodyWrapper::default())?).await?;
        Ok(parts.status == StatusCode::OK)
    }
}

impl std::fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnDemand")
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names_below() {
        let on_demand = OnDemand::matching(["*.shops.example", "One.example"]);
        for name in ["a.shops.example", "b.a.shops.example", "one.example"] {
            assert!(on_demand.may_be(name), "{name}");
        }
        for name in [
            "shops.example",
            "xshops.example",
            ".shops.example",
            "two.example",
        ] {
            assert!(!on_demand.may_be(name), "{name}");
        }
        assert!(
            !OnDemand::matching([""; 0]).may_be("a.example"),
            "no guard, no names"
        );
    }
}
