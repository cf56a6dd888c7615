//! What of a request makes its key, route by route.
//!
//! The rule behind all of it: **the origin is asked for what the key says.** A parameter that is not in the key does not
//! reach the origin, and a host that shares another one's responses is asked for under that one's name. So nothing that a
//! client sends can be in a stored response without being in its key (a key that ignores what the origin sees is how
//! caches are poisoned). Header fields and cookies are sent as they are; an origin whose answer depends on others than
//! the ones here says so with `Vary`.

use std::fmt::Write as _;

use http::header::COOKIE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName};

use super::key::{CacheKey, Scheme};
use super::purge::Selection;
use crate::config::NamePattern;
use crate::routing::Host;

/// How the requests of a route get their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Keying {
    pub(crate) parameters: Parameters,
    /// Parameters stand in the order of their names.
    pub(crate) is_sorted: bool,
    /// Header fields, whose values are part of the key.
    pub(crate) headers: Box<[HeaderName]>,
    /// Cookies, whose values are part of the key.
    pub(crate) cookies: Box<[Box<str>]>,
    /// The host that all requests are for.
    pub(crate) host: Option<Host>,
    /// Parameters that the site's routes are chosen by: without them, one origin's responses would be another's.
    pub(crate) routed_by: Box<[Box<str>]>,
}

/// Which parameters of the query are part of the key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Parameters {
    #[default]
    All,
    Only(Box<[NamePattern]>),
    AllBut(Box<[NamePattern]>),
}

// === impl Keying ===

impl Keying {
    /// Every request is named by its URL as it stands.
    pub(crate) fn is_plain(&self) -> bool {
        !self.shapes_query() && !self.has_more() && self.host.is_none()
    }

    /// The key is more than a URL.
    fn has_more(&self) -> bool {
        !self.headers.is_empty() || !self.cookies.is_empty()
    }

    fn shapes_query(&self) -> bool {
        self.is_sorted || self.parameters != Parameters::All
    }

    /// The path and query to look for and to ask for, if they are not the ones given.
    pub(crate) fn target(&self, target: &PathAndQuery) -> Option<PathAndQuery> {
        let query = target.query().filter(|_| self.shapes_query())?;
        let shaped = self.query(query);
        if shaped == query && !query.is_empty() {
            return None;
        }
        let text = match shaped.as_str() {
            "" => target.path().to_owned(),
            shaped => format!("{}?{shaped}", target.path()),
        };
        PathAndQuery::try_from(text).ok()
    }

    fn query(&self, query: &str) -> String {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<String> = pairs
            .filter(|pair| self.counts(&decoded(name(pair))))
            .map(normal)
            .collect();
        if self.is_sorted {
            // Stable: the order of parameters with the same name means something to origins.
            pairs.sort_by(|one, other| name(one).cmp(name(other)));
        }
        pairs.join("&")
    }

    fn counts(&self, name: &str) -> bool {
        let is_among = |names: &[NamePattern]| names.iter().any(|pattern| pattern.matches(name));
        let counts = match &self.parameters {
            Parameters::All => true,
            Parameters::Only(names) => is_among(names),
            Parameters::AllBut(names) => !is_among(names),
        };
        counts || self.routed_by.iter().any(|routed| **routed == *name)
    }

    /// The key of a request that has been [adapted](Self::target) already.
    pub(crate) fn key(
        &self,
        scheme: Scheme,
        host: &str,
        target: &PathAndQuery,
        headers: &HeaderMap,
    ) -> CacheKey {
        CacheKey::with_more(scheme, host, target, |text| self.write_more(headers, text))
    }

    /// Header fields and cookies, separated by what is escaped within them: different values never give the same text.
    fn write_more(&self, headers: &HeaderMap, text: &mut String) {
        let mut separator = "";
        for name in &self.headers {
            text.push_str(separator);
            escape(name.as_str().as_bytes(), text);
            write_values(headers.get_all(name).iter().map(|v| v.as_bytes()), text);
            separator = "&";
        }
        for name in &self.cookies {
            text.push_str(separator);
            // No header field begins like this.
            text.push(';');
            escape(name.as_bytes(), text);
            write_values(cookies(headers, name), text);
            separator = "&";
        }
    }

    /// Everything that may be stored for a URL by this way of making keys.
    fn selections(&self, scheme: Scheme, host: &str, target: &PathAndQuery) -> Vec<Selection> {
        let host = self.host.as_ref().map_or(host, Host::as_str);
        let shaped = self.target(target);
        let key = CacheKey::new(scheme, host, shaped.as_ref().unwrap_or(target));
        let labelled = self.has_more().then(|| Selection::Tag(key.label()));
        let mut selections = vec![Selection::Url(key)];
        selections.extend(labelled);
        selections
    }
}

/// Everything that a site may have stored for a URL, whichever of its routes did and whatever stands in the keys beside
/// the URL. `keyings` are the ways in which its routes make keys, where these are not the plain one.
pub(super) fn selections(
    keyings: &[Keying],
    scheme: Scheme,
    host: &str,
    target: &PathAndQuery,
) -> Vec<Selection> {
    let mut all = Keying::default().selections(scheme, host, target);
    for selection in keyings
        .iter()
        .flat_map(|keying| keying.selections(scheme, host, target))
    {
        if !all.contains(&selection) {
            all.push(selection);
        }
    }
    all
}

/// [`selections`] for what a plain key names.
pub(crate) fn selections_of(keyings: &[Keying], key: &CacheKey) -> Vec<Selection> {
    let scheme = if key.scheme() == Scheme::Https.as_str() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    match key.target().parse() {
        Ok(target) if !keyings.is_empty() => selections(keyings, scheme, key.host(), &target),
        _ => vec![Selection::Url(key.clone())],
    }
}

/// The values of all cookies with this name, in their order: which of them an origin takes is not known here.
pub(super) fn cookies<'a>(
    headers: &'a HeaderMap,
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> + 'a {
    named_cookies(headers)
        .filter(move |(other, _)| *other == name.as_bytes())
        .map(|(_, value)| value)
}

/// Every cookie's name and value.
pub(super) fn named_cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    pairs.map(|pair| {
        let end = pair.iter().position(|&byte| byte == b'=');
        let (name, value) = match end {
            Some(end) => (&pair[..end], &pair[end + 1..]),
            None => (pair, &[][..]),
        };
        (name.trim_ascii(), value.trim_ascii())
    })
}

fn write_values<'a>(values: impl Iterator<Item = &'a [u8]>, text: &mut String) {
    for (index, value) in values.enumerate() {
        // Without any there is no `=` either: absent is not empty.
        text.push(if index == 0 { '=' } else { ',' });
        escape(value, text);
    }
}

fn escape(bytes: &[u8], text: &mut String) {
    for &byte in bytes {
        if is_unreserved(byte) {
            text.push(char::from(byte));
        } else {
            // A `String` takes everything.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

// === queries ===

/// The name of a parameter, as it is written.
pub(super) fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// As `application/x-www-form-urlencoded` has it: what origins take a name for.
pub(crate) fn decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match (first, escaped(after)) {
            (b'%', Some(byte)) => (byte, &after[2..]),
            (b'+', _) => (b' ', after),
            _ => (first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// RFC 3986 §6.2.2: unreserved characters are not escaped, and hexadecimal digits are upper-case. Everything else stays:
/// whether `+` or `%2B`, `/` or `%2F` is written may matter to an origin.
fn normal(pair: &str) -> String {
    // What follows a percent sign that means itself could become an escape: `%%626` must not be made into `%b6`.
    unescaped(pair).unwrap_or_else(|| pair.to_owned())
}

/// `None` if a percent sign is not the beginning of an escape.
fn unescaped(pair: &str) -> Option<String> {
    let mut text = String::with_capacity(pair.len());
    let mut rest = pair;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let byte = escaped(after.as_bytes())?;
        if is_unreserved(byte) {
            text.push(char::from(byte));
        } else {
            // A `String` takes everything.
            let _ = write!(text, "%{byte:02X}");
        }
        rest = &after[2..];
    }
    text.push_str(rest);
    Some(text)
}

/// The byte that two hexadecimal digits stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests;
