//! What a request must be like to take a route.

use std::cmp::Reverse;

use http::{HeaderMap, HeaderName, Method};

use super::path::{PathPattern, Specificity};

/// What a request must be like to take a route: its path, and any number of conditions on method, header and query.
///
/// # Which one wins
///
/// Of several matchers that match a request, the one whose [path](PathPattern) is more specific wins; then the one with
/// more conditions (the methods together are one, each header field and each query parameter is one); then the one with
/// more fixed values rather than `*`; then the one that names fewer methods; then the one that was written first.
/// So a matcher that matches only some of another's requests always goes before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    path: PathPattern,
    /// Sorted, without duplicates, with HEAD if there is GET. Empty for every method.
    methods: Vec<Method>,
    /// Sorted by name; no two with the same one.
    headers: Vec<(HeaderName, Wanted)>,
    /// Sorted by name; no two with the same one.
    query: Vec<(Box<str>, Wanted)>,
}

/// What a request shows besides its method.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
}

/// The order in which matchers are tried; the greatest goes first.
pub(super) type Rank = (Specificity, usize, usize, Reverse<usize>);

/// The value that a header field or a query parameter must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    Any,
    Exactly(Box<str>),
}

// === impl Matcher ===

impl Matcher {
    /// Every request with such a path.
    #[must_use]
    pub fn new(path: PathPattern) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }

    /// Only these methods; none is every method. GET stands for HEAD too.
    #[must_use]
    pub fn with_methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        if self.methods.contains(&Method::GET) {
            self.methods.push(Method::HEAD);
        }
        self.methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        self.methods.dedup();
        self
    }

    /// Only with a field line `name: value`, compared byte by byte; `*` is any value. Asked again for the same name,
    /// the last value counts.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        let wanted = Wanted::from(value);
        match self
            .headers
            .binary_search_by(|(n, _)| n.as_str().cmp(name.as_str()))
        {
            Ok(place) => self.headers[place].1 = wanted,
            Err(place) => self.headers.insert(place, (name, wanted)),
        }
        self
    }

    /// Only with a query parameter `name=value` among the query's; `*` is any value, none included. Both are given
    /// decoded. Asked again for the same name, the last value counts.
    #[must_use]
    pub fn with_query(mut self, name: &str, value: &str) -> Self {
        let wanted = Wanted::from(value);
        match self.query.binary_search_by(|(n, _)| (**n).cmp(name)) {
            Ok(place) => self.query[place].1 = wanted,
            Err(place) => self.query.insert(place, (name.into(), wanted)),
        }
        self
    }

    /// Which paths.
    #[must_use]
    pub fn path(&self) -> &PathPattern {
        &self.path
    }

    /// Which methods, HEAD included where GET is; empty for every method.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Whether it matches every request that `other` matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.path.covers(&other.path)
            && self.covers_methods(other)
            && all_implied(&self.headers, &other.headers)
            && all_implied(&self.query, &other.query)
    }

    fn covers_methods(&self, other: &Self) -> bool {
        // An empty list is every method, and never a part of a list.
        self.methods.is_empty()
            || !other.methods.is_empty() && other.methods.iter().all(|m| self.methods.contains(m))
    }

    pub(super) fn allows(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// Whether all but the method is as it should be.
    pub(super) fn is_match_but_method(&self, asked: &Asked<'_>) -> bool {
        self.path.is_match(asked.path)
            && self
                .headers
                .iter()
                .all(|(name, wanted)| has_header(asked.headers, name, wanted))
            && self
                .query
                .iter()
                .all(|(name, wanted)| has_param(asked.query, name, wanted))
    }

    pub(super) fn rank(&self) -> Rank {
        let wanted = self.headers.iter().map(|(_, wanted)| wanted);
        let wanted = wanted.chain(self.query.iter().map(|(_, wanted)| wanted));
        let fixed = wanted.filter(|wanted| **wanted != Wanted::Any).count();
        let conditions =
            usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len();
        (
            self.path.specificity(),
            conditions,
            fixed,
            Reverse(self.methods.len()),
        )
    }

    /// Equal for matchers that match the same requests.
    pub(super) fn shape(&self) -> impl std::hash::Hash + Eq + '_ {
        (self.path.shape(), &self.methods, &self.headers, &self.query)
    }
}

/// Whether whoever fulfils `theirs` fulfils `mine`.
fn all_implied<N: PartialEq>(mine: &[(N, Wanted)], theirs: &[(N, Wanted)]) -> bool {
    mine.iter().all(|(name, wanted)| {
        theirs
            .iter()
            .any(|(other, given)| other == name && (*wanted == Wanted::Any || wanted == given))
    })
}

fn has_header(headers: &HeaderMap, name: &HeaderName, wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Any => headers.contains_key(name),
        Wanted::Exactly(text) => headers.get_all(name).iter().any(|value| value == &**text),
    }
}

fn has_param(query: Option<&str>, name: &str, wanted: &Wanted) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Nothing between two `&` is no parameter, not one without a name.
        !pair.is_empty() && decodes_to(key, name) && wanted.accepts_encoded(value)
    })
}

// === impl Wanted ===

impl Wanted {
    fn accepts_encoded(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(text) => decodes_to(value, text),
        }
    }
}

impl From<&str> for Wanted {
    fn from(value: &str) -> Self {
        match value {
            "*" => Self::Any,
            _ => Self::Exactly(value.into()),
        }
    }
}

// === decoding ===

/// Whether `encoded` stands for `text`, as in `application/x-www-form-urlencoded`: `+` is a space, and a `%` without two
/// hexadecimal digits stands for itself.
fn decodes_to(encoded: &str, text: &str) -> bool {
    let mut rest = encoded.as_bytes();
    let decoded = std::iter::from_fn(|| {
        let (byte, after) = decode_first(rest)?;
        rest = after;
        Some(byte)
    });
    decoded.eq(text.bytes())
}

fn decode_first(encoded: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, rest @ ..] = encoded
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        return Some((high << 4 | low, rest));
    }
    let (first, rest) = encoded.split_first()?;
    Some((if *first == b'+' { b' ' } else { *first }, rest))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
