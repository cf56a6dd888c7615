//! Which paths a route matches.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::path_parse::InvalidPath;

/// Which paths a route matches. By default every path.
///
/// | written | matches |
/// |---|---|
/// | `/a/b` | this path |
/// | `/user/{id}/posts` | one segment for each `{name}`, never an empty one |
/// | `/img/*.jpg` | what is below `/img` and ends with `.jpg`, at any depth |
/// | `*.jpg` | what ends with `.jpg`, anywhere |
/// | `/a/*` | `/a` and all below it; `/*` is every path |
///
/// Parameters may stand before a star, too: `/user/{id}/*`. A pattern is case-sensitive and kept in normal form:
/// `%7E` becomes `~`, `%c3` becomes `%C3` (RFC 3986 §6.2.2).
///
/// # Which one wins
///
/// Of several patterns that match a path, the one with the greatest [`specificity`](Self::specificity) wins. It is
/// found by these questions, each asked only where the ones before leave a tie:
///
/// 1. What kind is it? A path without parameters or star, then one with parameters, then an ending, then a star alone.
/// 2. Which has more literal segments? `/img/*.jpg` before `*.jpg`, `/a/b/*` before `/a/*`.
/// 3. Which has more segments? `/a/{x}/*` before `/a/*`.
/// 4. Which has a literal where the other has a parameter, from the left? `/a/{x}` before `/{x}/a`.
/// 5. Which has the longer ending? `*.tar.gz` before `*.gz`.
///
/// So a pattern that matches only some of another's paths always goes before it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern {
    /// As [`Display`](fmt::Display) writes it.
    text: Arc<str>,
    segments: Arc<[Segment]>,
    tail: Tail,
    has_params: bool,
}

/// What a path gave to a pattern's parameters, in the pattern's order, as it stands in the path: escapes are not decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(Vec<(&'a str, &'a str)>);

/// How much a pattern asks for. Of two patterns that match a path, the greater one is meant;
/// see [`PathPattern`] for the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Specificity {
    // The order of the fields is the order of the questions.
    is_exact: bool,
    tail: u8,
    literals: usize,
    segments: usize,
    /// A bit for each of the first 64 segments, the first one highest; set for a literal.
    leading: u64,
    ending: usize,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    Literal(Box<str>),
    Param(Box<str>),
}

/// What follows the segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tail {
    /// Nothing.
    End,
    /// Anything below them that ends like this.
    Ending(Box<str>),
    /// They themselves and anything below them.
    Below,
}

// === impl PathPattern ===

impl PathPattern {
    pub(super) fn from_parts(segments: Vec<Segment>, tail: Tail) -> Self {
        Self {
            text: write(&segments, &tail, |name| name).into(),
            has_params: segments.iter().any(|s| matches!(s, Segment::Param(_))),
            segments: segments.into(),
            tail,
        }
    }

    /// What `path` gives to the parameters, if it matches. `path` is in normal form, begins with `/` and has no query.
    ///
    /// Allocates only for parameters that have been found.
    #[must_use]
    pub fn matches<'a>(&'a self, path: &'a str) -> Option<Params<'a>> {
        self.is_match(path).then(|| self.capture(path))
    }

    pub(super) fn is_match(&self, path: &str) -> bool {
        if self.has_params {
            return self.walk(path, |_, _| {});
        }
        let rest = path.strip_prefix(self.literal_prefix());
        rest.is_some_and(|rest| self.tail.accepts(rest))
    }

    /// What a path that [matches](Self::is_match) gives to the parameters.
    pub(super) fn capture<'a>(&'a self, path: &'a str) -> Params<'a> {
        let mut params = Params::default();
        if self.has_params {
            self.walk(path, |name, value| params.0.push((name, value)));
        }
        params
    }

    fn walk<'a>(&'a self, path: &'a str, mut found: impl FnMut(&'a str, &'a str)) -> bool {
        let mut rest = path;
        for segment in &*self.segments {
            let Some(after) = rest.strip_prefix('/') else {
                return false;
            };
            let (value, next) = after.split_at(after.find('/').unwrap_or(after.len()));
            match segment {
                Segment::Literal(text) if **text == *value => {}
                Segment::Param(name) if !value.is_empty() => found(name, value),
                Segment::Literal(_) | Segment::Param(_) => return false,
            }
            rest = next;
        }
        self.tail.accepts(rest)
    }

    /// The text before the tail; only where there are no parameters is it what a path begins with.
    fn literal_prefix(&self) -> &str {
        match &self.tail {
            Tail::End => &self.text,
            Tail::Below => self.text.strip_suffix("/*").unwrap_or_default(),
            Tail::Ending(_) => self.text.split_once("/*").map_or("", |(prefix, _)| prefix),
        }
    }

    /// The one path it matches, if there is only one.
    #[must_use]
    pub fn as_exact(&self) -> Option<&str> {
        (self.tail == Tail::End && !self.has_params).then_some(&*self.text)
    }

    /// The names of its parameters, from left to right; no two are the same.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Param(name) => Some(&**name),
        })
    }

    /// Its place among the patterns that match the same path.
    #[must_use]
    pub fn specificity(&self) -> Specificity {
        let is_literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        let marks = self.segments.iter().take(64).enumerate();
        let leading = marks.filter(|(_, segment)| is_literal(segment));
        Specificity {
            is_exact: self.as_exact().is_some(),
            tail: self.tail.rank(),
            literals: self.segments.iter().filter(|s| is_literal(s)).count(),
            segments: self.segments.len(),
            leading: leading.fold(0, |bits, (i, _)| bits | 1 << (63 - i)),
            ending: self.tail.ending().map_or(0, str::len),
        }
    }

    /// Whether it matches every path that `other` matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mut rest = other.segments.iter();
        let begins = self
            .segments
            .iter()
            .all(|mine| rest.next().is_some_and(|s| mine.covers(s)));
        begins && self.tail.covers(rest.as_slice(), &other.tail)
    }

    /// Equal for patterns that match the same paths, whatever they call their parameters.
    pub(super) fn shape(&self) -> Cow<'_, str> {
        if self.has_params {
            Cow::Owned(write(&self.segments, &self.tail, |_| ""))
        } else {
            Cow::Borrowed(&self.text)
        }
    }
}

/// Writes a pattern, with each parameter's name as `name` has it.
fn write(segments: &[Segment], tail: &Tail, name: impl Fn(&str) -> &str) -> String {
    let mut text = String::new();
    for segment in segments {
        match segment {
            Segment::Literal(literal) => text.extend(["/", literal]),
            Segment::Param(param) => text.extend(["/{", name(param), "}"]),
        }
    }
    match tail {
        Tail::End => {}
        Tail::Below => text.push_str("/*"),
        Tail::Ending(ending) if segments.is_empty() => text.extend(["*", ending]),
        Tail::Ending(ending) => text.extend(["/*", ending]),
    }
    text
}

impl Default for PathPattern {
    fn default() -> Self {
        Self::from_parts(Vec::new(), Tail::Below)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl TryFrom<String> for PathPattern {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        text.parse()
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.text.as_ref().to_owned()
    }
}

impl JsonSchema for PathPattern {
    fn schema_name() -> Cow<'static, str> {
        "PathPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "\"/a\" exactly, \"/a/*\" everything below (and \"/a\" itself), \"/user/{id}\" one segment \
                for each name, \"*.jpg\" or \"/img/*.jpg\" by ending.",
            "examples": ["/", "/a/*", "/user/{id}/posts", "*.jpg", "/img/*.jpg"],
            "pattern": "^[/*]",
        })
    }
}

// === impl Params ===

impl<'a> Params<'a> {
    /// What the path has for `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Names and values, from left to right.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().copied()
    }

    /// The pattern has no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl Segment ===

impl Segment {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(mine), Self::Literal(theirs)) => mine == theirs,
            (Self::Literal(_), Self::Param(_)) => false,
            // A parameter is never empty.
            (Self::Param(_), Self::Literal(theirs)) => !theirs.is_empty(),
            (Self::Param(_), Self::Param(_)) => true,
        }
    }
}

// === impl Tail ===

impl Tail {
    /// Whether `rest`, what a path has after the segments, is as it should be.
    fn accepts(&self, rest: &str) -> bool {
        match self {
            Self::End => rest.is_empty(),
            Self::Ending(ending) => rest
                .strip_prefix('/')
                .is_some_and(|below| below.ends_with(&**ending)),
            Self::Below => rest.is_empty() || rest.starts_with('/'),
        }
    }

    /// Whether it accepts all that `segments` and then `other` stand for.
    fn covers(&self, segments: &[Segment], other: &Self) -> bool {
        match (self, other) {
            (Self::Below, _) => true,
            (Self::End, _) => segments.is_empty() && *other == Self::End,
            (Self::Ending(mine), Self::Ending(theirs)) => theirs.ends_with(&**mine),
            // An ending has no slash, so it lies within the last segment.
            (Self::Ending(mine), Self::End) => {
                matches!(segments.last(), Some(Segment::Literal(text)) if text.ends_with(&**mine))
            }
            (Self::Ending(_), Self::Below) => false,
        }
    }

    fn ending(&self) -> Option<&str> {
        match self {
            Self::Ending(ending) => Some(ending),
            Self::End | Self::Below => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::End => 2,
            Self::Ending(_) => 1,
            Self::Below => 0,
        }
    }
}

#[cfg(test)]
mod tests;
