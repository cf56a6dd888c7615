//! Under which name a response is kept.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use http::uri::PathAndQuery;

/// How the client's connection is protected; part of every cache key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// Names a cached response and its variants.
///
/// No `Default`, no setters: a key that forgets its host serves one site's pages to another. Its parts are separated by
/// a space, which none of them can contain, so no two different sets of parts give the same key. A fourth part is there
/// where a route tells requests for the same URL apart by header fields or cookies.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Arc<str>);

// === impl Scheme ===

impl Scheme {
    /// As in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

// === impl CacheKey ===

impl CacheKey {
    /// The key of a URL. `host` is lower-case, with its port if that is not the scheme's own.
    ///
    /// # Panics
    ///
    /// If `host` contains a space, which no validated host does.
    #[must_use]
    pub fn new(scheme: Scheme, host: &str, target: &PathAndQuery) -> Self {
        Self::with_more(scheme, host, target, |_| ())
    }

    /// The key of a URL and of what `write` appends, which has no spaces.
    pub(super) fn with_more(
        scheme: Scheme,
        host: &str,
        target: &PathAndQuery,
        write: impl FnOnce(&mut String),
    ) -> Self {
        assert!(!host.contains(' '), "a host name without spaces");
        thread_local! {
            // Put together here, so that there is one allocation, of the right size.
            static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
        }
        TEXT.with_borrow_mut(|text| {
            text.clear();
            for part in [scheme.as_str(), " ", host, " ", target.as_str()] {
                text.push_str(part);
            }
            let end = text.len();
            text.push(' ');
            write(text);
            if text.len() == end + 1 {
                text.truncate(end);
            }
            Self(Arc::from(text.as_str()))
        })
    }

    /// The key of a part of what this is the key of. Prefix, host and everything concern it as they concern this one;
    /// this very URL does not.
    ///
    /// It ends with a part that no other key has, and differs from those of other numbers and generations.
    #[must_use]
    pub fn slice(&self, generation: u64, number: u64) -> Self {
        Self(format!("{} slice:{generation:x}:{number}", self.0).into())
    }

    /// Stands for that there are no slices of it.
    pub(super) fn unsliced(&self) -> Self {
        Self(format!("{} slice:none", self.0).into())
    }

    fn parts(&self) -> (&str, &str, &str) {
        let (scheme, rest) = self.0.split_once(' ').unwrap_or_default();
        let (host, rest) = rest.split_once(' ').unwrap_or_default();
        (scheme, host, rest.split_once(' ').map_or(rest, first))
    }

    /// What stands beside the URL: the values of header fields and cookies that the route's keys include.
    #[must_use]
    pub fn more(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once(' ')?;
        let (_, rest) = rest.split_once(' ')?;
        rest.split_once(' ').map(|(_, more)| more)
    }

    /// The label of everything stored for this URL under keys that are [more](Self::more) than a URL. The spaces in it
    /// keep it apart from most labels of origins; one that uses it all the same has more of its own purged.
    pub(super) fn label(&self) -> Arc<str> {
        let (scheme, host, target) = self.parts();
        format!("url {scheme} {host} {target}").into()
    }

    /// All of it, as one text: what a store has to tell keys apart by. Scheme, host and target alone are those of every
    /// slice, too.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key that [`as_str`](Self::as_str) tells; `None` for what is no key's text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let has_scheme = matches!(parts.next(), Some("http" | "https"));
        let has_host = parts.next().is_some_and(|host| !host.is_empty());
        let target = parts.next()?.parse::<PathAndQuery>();
        let has_rest = parts.all(|part| !part.is_empty());
        (has_scheme && has_host && target.is_ok() && has_rest).then(|| Self(text.into()))
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.parts().0
    }

    /// The host, with its port if it is not the scheme's own.
    #[must_use]
    pub fn host(&self) -> &str {
        self.parts().1
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.parts().2
    }

    /// Bytes that the key's text takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, target) = self.parts();
        write!(f, "{scheme}://{host}{target}")?;
        self.more().map_or(Ok(()), |more| write!(f, " {more}"))
    }
}

fn first<'a>((first, _): (&'a str, &'a str)) -> &'a str {
    first
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_of_its_url_and_has_a_key_of_its_own() {
        let target = PathAndQuery::from_static("/film?x=1");
        let key = CacheKey::new(Scheme::Https, "a.example:8443", &target);
        let slice = key.slice(0xabc, 7);
        for key in [&key, &slice, &key.unsliced()] {
            assert_eq!(
                (key.scheme(), key.host(), key.target()),
                ("https", "a.example:8443", "/film?x=1")
            );
        }
        assert_eq!(
            slice.to_string(),
            "https://a.example:8443/film?x=1 slice:abc:7"
        );
        let keys = [
            key.slice(0xa, 0xbc7),
            key.slice(0xabc, 70),
            key.unsliced(),
            key,
        ];
        assert!(keys.iter().all(|other| *other != slice));
    }

    #[test]
    fn a_text_that_is_a_keys_makes_that_key() {
        let target = PathAndQuery::from_static("/film?x=1");
        let key = CacheKey::new(Scheme::Https, "a.example:8443", &target);
        for key in [key.slice(0xabc, 7), key.unsliced(), key] {
            assert_eq!(CacheKey::from_text(key.as_str()), Some(key));
        }
        for text in [
            "",
            "http",
            "http a",
            "ftp a /",
            "http  /",
            "http a /x ",
            "http a \u{7f}",
        ] {
            assert_eq!(CacheKey::from_text(text), None, "{text}");
        }
    }
}
