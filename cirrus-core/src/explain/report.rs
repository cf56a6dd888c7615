//! What there is to tell, as data and as text.

use std::fmt;

use serde::Serialize;

/// What would be done with a request.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The method and URL in question.
    pub request: String,
    /// Why nobody is asked, if nobody is.
    pub refused: Option<Refused>,
    /// The site of the host.
    pub site: Option<String>,
    /// What the site does with the request.
    pub route: Option<ExplainedRoute>,
    /// The policies around that, by the names of their tables.
    pub policies: Vec<ExplainedPolicy>,
    /// The cache's part. `None`: what is done needs no cache.
    pub cache: Option<ExplainedCache>,
    /// What is stored under the key, the newest first. `None` where nobody can tell: there is no store here, or nothing
    /// is looked up.
    pub stored: Option<Vec<ExplainedVariant>>,
    /// What would be done, in a sentence.
    pub verdict: String,
}

/// The answer that needs nobody else.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Refused {
    /// Its status.
    pub status: u16,
    /// The reason.
    pub reason: String,
}

/// A route, and what it does.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedRoute {
    /// Its place in the site, from 0; `None` if no route matches and the site's own origins are asked.
    pub index: Option<usize>,
    /// The paths it is for.
    pub path: String,
    /// What it does: `"origin http://127.0.0.1:3000"`, `"cluster api"`, `"redirect 302 /new"`, …
    pub action: String,
}

/// A policy that holds for the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedPolicy {
    /// Its table, such as `rate_limit`.
    pub name: String,
    /// Where that stands: `"site"` or `"route"`.
    pub from: &'static str,
}

/// The cache's part.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct ExplainedCache {
    /// `"off"`, `"lookup"`, `"pass"`, `"bypass"` or `"invalidate"`.
    pub intent: &'static str,
    /// Why, where there is a choice: what `Cache-Status` would say.
    pub reason: Option<String>,
    /// The key.
    pub key: Option<String>,
    /// What the origin is asked for, where that is not what the client asked for.
    pub asks_for: Option<String>,
    /// What is void once the origin has answered with success.
    pub voids: Vec<String>,
}

/// One stored response.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedVariant {
    /// Its status.
    pub status: u16,
    /// The request fields it was chosen by, with their values.
    pub vary: Vec<(String, Option<String>)>,
    /// This request would have been answered with it.
    pub matches: bool,
    /// Its labels.
    pub tags: Vec<String>,
    /// `whole`, `growing` or `failed`.
    pub body: &'static str,
    /// Its length in bytes, once that is known.
    pub length: Option<u64>,
    /// How old it is, and why.
    pub age: String,
    /// How long it is fresh, and why.
    pub lifetime: String,
    /// For how many more seconds it is fresh; negative: since when it is stale.
    pub ttl: i64,
    /// What else is known about when it may be used.
    pub notes: Vec<String>,
    /// What may be done with it for this request.
    pub verdict: &'static str,
}

// === impl Explanation ===

impl Explanation {
    /// Every line of the text: a label and what belongs to it.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("request", self.request.clone())];
        lines.extend(self.site.clone().map(|site| ("site", site)));
        if let Some(route) = &self.route {
            let index = match route.index {
                Some(index) => format!("route[{index}] {}", route.path),
                None => "none: the site's own origins".to_owned(),
            };
            lines.extend([("route", index), ("action", route.action.clone())]);
        }
        if self.route.is_some() {
            lines.push(("policies", self.policies()));
        }
        if let Some(cache) = &self.cache {
            cache.lines(&mut lines);
        }
        for variant in self.stored.iter().flatten() {
            variant.lines(&mut lines);
        }
        if self.stored.as_ref().is_some_and(Vec::is_empty) {
            lines.push(("stored", "nothing".to_owned()));
        }
        lines.push(("verdict", self.verdict.clone()));
        lines
    }

    fn policies(&self) -> String {
        let policies = self.policies.iter();
        let all: Vec<_> = policies
            .map(|policy| format!("{} ({})", policy.name, policy.from))
            .collect();
        if all.is_empty() {
            return "none".to_owned();
        }
        all.join(", ")
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, text) in self.lines() {
            writeln!(f, "{label:<10}{text}")?;
        }
        Ok(())
    }
}

// === impl ExplainedCache ===

impl ExplainedCache {
    fn lines(&self, lines: &mut Vec<(&'static str, String)>) {
        let reason = self.reason.as_ref().map(|reason| format!(" ({reason})"));
        lines.push((
            "cache",
            format!("{}{}", self.intent, reason.unwrap_or_default()),
        ));
        lines.extend(self.asks_for.clone().map(|target| ("asks for", target)));
        lines.extend(self.key.clone().map(|key| ("key", key)));
        lines.extend(self.voids.iter().map(|what| ("voids", what.clone())));
    }
}

// === impl ExplainedVariant ===

impl ExplainedVariant {
    fn lines(&self, lines: &mut Vec<(&'static str, String)>) {
        let length = match self.length {
            Some(length) => format!("{length} bytes"),
            None => "length unknown".to_owned(),
        };
        let fit = if self.matches {
            "for this request"
        } else {
            "for others"
        };
        lines.push((
            "stored",
            format!("{} {}, {length}, {fit}", self.status, self.body),
        ));
        for (name, value) in &self.vary {
            let value = value
                .as_deref()
                .map_or("absent".to_owned(), |value| format!("{value:?}"));
            lines.push(("  vary", format!("{name}: {value}")));
        }
        lines.extend([
            ("  age", self.age.clone()),
            ("  lifetime", self.lifetime.clone()),
            ("  ttl", format!("{} s", self.ttl)),
        ]);
        lines.extend(self.notes.iter().map(|note| ("  note", note.clone())));
        lines.push(("  verdict", self.verdict.to_owned()));
    }
}
