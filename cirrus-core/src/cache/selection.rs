//! What to purge, as people and logs write it.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::key::{CacheKey, Scheme};
use super::purge::{Mode, Purge, Selection};
use crate::downstream::hygiene::normal_path;
use crate::routing::Host;

/// The longest label, host or URL that is purged: 8 KiB.
const MOST_BYTES: usize = 8 * 1024;

/// Why a text names nothing that could be purged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSelection(String);

/// Which kind of purge it is, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PurgeKind {
    Url,
    Prefix,
    Tag,
    Host,
    All,
}

/// A purge as a log has it: `{"tag":"news","soft":true}`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    soft: bool,
}

// === impl Selection ===

impl Selection {
    /// All variants of a URL such as `https://shop.example/a?b=1`, written in whatever way clients may write it.
    ///
    /// # Errors
    ///
    /// It is no absolute URL with `http` or `https`.
    pub fn of_url(text: &str) -> Result<Self, InvalidSelection> {
        key_of(text).map(Self::Url)
    }

    /// What begins with a text such as `shop.example/img/` or `https://shop.example/img/`; the scheme says nothing.
    ///
    /// # Errors
    ///
    /// It is no host with a path behind it.
    pub fn of_prefix(text: &str) -> Result<Self, InvalidSelection> {
        bounded(text)?;
        let (scheme, rest) = split_scheme(text)?;
        let at = rest.find('/').filter(|at| *at > 0).ok_or_else(|| {
            invalid("a host and the beginning of a path are needed, such as `shop.example/img/`")
        })?;
        let (authority, path) = rest.split_at(at);
        let host = host(authority, scheme)?;
        let path = target(path)?;
        Ok(Self::Prefix {
            host: host.as_str().into(),
            path: path.as_str().into(),
        })
    }

    /// Everything of a host such as `shop.example`, both schemes.
    ///
    /// # Errors
    ///
    /// It is no name of a host.
    pub fn of_host(text: &str) -> Result<Self, InvalidSelection> {
        bounded(text)?;
        if text == "*" {
            return Err(invalid("one host; for everything purge `all`"));
        }
        let host = host(text, None)?;
        Ok(Self::Host(host.as_str().into()))
    }

    /// Everything with a label.
    ///
    /// # Errors
    ///
    /// No response can have it.
    pub fn of_tag(text: &str) -> Result<Self, InvalidSelection> {
        bounded(text)?;
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(invalid(
                "a label has no spaces around it and no control characters",
            ));
        }
        Ok(Self::Tag(text.into()))
    }

    pub(crate) fn kind(&self) -> PurgeKind {
        match self {
            Self::Url(_) => PurgeKind::Url,
            Self::Prefix { .. } => PurgeKind::Prefix,
            Self::Tag(_) => PurgeKind::Tag,
            Self::Host(_) => PurgeKind::Host,
            Self::All => PurgeKind::All,
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(key) => fmt::Display::fmt(key, f),
            Self::Prefix { host, path } => write!(f, "{host}{path}"),
            Self::Tag(text) | Self::Host(text) => f.write_str(text),
            Self::All => f.write_str("*"),
        }
    }
}

// === impl PurgeKind ===

impl PurgeKind {
    pub(crate) const ALL: [Self; 5] = [Self::Url, Self::Prefix, Self::Tag, Self::Host, Self::All];

    /// Its label in metrics and answers.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Prefix => "prefix",
            Self::Tag => "tag",
            Self::Host => "host",
            Self::All => "all",
        }
    }
}

// === impl Purge ===

impl Serialize for Purge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |text: &Arc<str>| Some(text.as_ref().to_owned());
        let mut written = Written {
            soft: self.mode == Mode::Soft,
            ..Written::default()
        };
        match &self.what {
            Selection::Url(key) => written.url = Some(key.to_string()),
            Selection::Prefix { host, path } => {
                (written.host, written.prefix) = (text(host), text(path));
            }
            Selection::Tag(tag) => written.tag = text(tag),
            Selection::Host(host) => written.host = text(host),
            Selection::All => written.all = true,
        }
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Purge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written {
            url,
            prefix,
            tag,
            host,
            all,
            soft,
        } = Written::deserialize(deserializer)?;
        let what = match (url, prefix, tag, host, all) {
            (Some(url), None, None, None, false) => {
                Selection::of_url(&url).map_err(D::Error::custom)?
            }
            (None, Some(path), None, Some(host), false) => Selection::Prefix {
                host: host.into(),
                path: path.into(),
            },
            (None, None, Some(tag), None, false) => Selection::Tag(tag.into()),
            (None, None, None, Some(host), false) => Selection::Host(host.into()),
            (None, None, None, None, true) => Selection::All,
            _ => return Err(D::Error::custom("not one purge")),
        };
        let mode = if soft { Mode::Soft } else { Mode::Hard };
        Ok(Self { what, mode })
    }
}

/// The key of a URL, as a request for it would have it.
pub(crate) fn key_of(url: &str) -> Result<CacheKey, InvalidSelection> {
    bounded(url)?;
    let (Some(scheme), rest) = split_scheme(url)? else {
        return Err(invalid(
            "a whole URL is needed, such as `https://shop.example/page`",
        ));
    };
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let host = host(authority, Some(scheme))?;
    let path = path.split('#').next().unwrap_or_default();
    let target = match path {
        path if path.starts_with('/') => target(path)?,
        path => target(&format!("/{path}"))?,
    };
    let target = PathAndQuery::try_from(target).map_err(|_| invalid("not a path"))?;
    Ok(CacheKey::new(scheme, host.as_str(), &target))
}

fn split_scheme(text: &str) -> Result<(Option<Scheme>, &str), InvalidSelection> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok((None, text));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok((Some(Scheme::Http), rest)),
        "https" => Ok((Some(Scheme::Https), rest)),
        // `shop.example/?to=http://…` has its scheme, or none, before the first slash.
        other if other.contains('/') => Ok((None, text)),
        _ => Err(invalid("the scheme is `http` or `https`")),
    }
}

/// Both schemes' own ports are left out where nothing says which of them it is.
fn host(authority: &str, scheme: Option<Scheme>) -> Result<Host, InvalidSelection> {
    let scheme = scheme.unwrap_or(match authority.strip_suffix(":443") {
        Some(_) => Scheme::Https,
        None => Scheme::Http,
    });
    Host::parse(authority, scheme).ok_or_else(|| invalid("the host is not valid"))
}

/// Path and query as requests have them behind hygiene.
fn target(text: &str) -> Result<String, InvalidSelection> {
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    if path.contains('\\') {
        return Err(invalid("no request has a backslash in its path"));
    }
    let path = normal_path(path).map_err(|error| invalid(&error.to_string()))?;
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    match text.parse::<Uri>() {
        Ok(_) => Ok(text),
        Err(error) => Err(invalid(&error.to_string())),
    }
}

fn bounded(text: &str) -> Result<(), InvalidSelection> {
    match text.len() {
        0 => Err(invalid("it is empty")),
        len if len > MOST_BYTES => Err(invalid("it is longer than 8 KiB")),
        _ => Ok(()),
    }
}

fn invalid(why: &str) -> InvalidSelection {
    InvalidSelection(why.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> String {
        match Selection::of_url(text) {
            Ok(what) => what.to_string(),
            Err(error) => format!("! {error}"),
        }
    }

    #[test]
    fn a_url_is_written_as_requests_are() {
        for (text, expected) in [
            (
                "https://Shop.Example:443/a/../b%7e?q=%7e#top",
                "https://shop.example/b~?q=%7e",
            ),
            ("http://shop.example", "http://shop.example/"),
            ("http://shop.example?x", "http://shop.example/?x"),
            ("http://shop.example:443/", "http://shop.example:443/"),
            ("HTTPS://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443/"),
        ] {
            assert_eq!(url(text), expected, "{text}");
        }
        for text in [
            "",
            "shop.example/a",
            "/a",
            "ftp://a/",
            "http:///a",
            "http://a b/",
            "http://u@a/",
            "http://a/%zz",
            "http://a/b\\c",
            "http://a/b c",
        ] {
            assert!(url(text).starts_with('!'), "{text}: {}", url(text));
        }
    }

    #[test]
    fn a_prefix_is_a_host_and_the_beginning_of_a_path() {
        for text in [
            "shop.example/img/",
            "https://shop.example/img/",
            "http://SHOP.example:80/x/../img/",
            "shop.example:443/img/",
        ] {
            let what = Selection::of_prefix(text).unwrap();
            let expected = Selection::Prefix {
                host: "shop.example".into(),
                path: "/img/".into(),
            };
            assert_eq!(what, expected, "{text}");
        }
        for text in ["", "shop.example", "/img/", "ftp://a/", "a b/c"] {
            assert!(Selection::of_prefix(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_and_labels() {
        assert_eq!(
            Selection::of_host("Shop.Example.:8080").unwrap(),
            Selection::Host("shop.example:8080".into())
        );
        for text in ["", "*", "a/b", "http://a", "a b"] {
            assert!(Selection::of_host(text).is_err(), "{text}");
        }
        assert!(Selection::of_tag("two words").is_ok());
        for text in ["", " a", "a\n", "\0fence"] {
            assert!(Selection::of_tag(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_log_does_not_know_is_refused() {
        for text in [
            "{}",
            r#"{"tag":"a","host":"b"}"#,
            r#"{"prefix":"/a"}"#,
            r#"{"regex":"a"}"#,
            r#"{"tag":"a","mode":"x"}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<Purge>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_log_gives_back_what_it_was_given(
            kind in 0..5, path in "/[a-z%?/.]{0,20}", host in "[a-z]{1,5}(:[1-9][0-9]{0,3})?", soft: bool,
        ) {
            let what = match kind {
                0 => Selection::of_url(&format!("https://{host}{path}")),
                1 => Selection::of_prefix(&format!("http://{host}{path}")),
                2 => Selection::of_tag(&host),
                3 => Selection::of_host(&host),
                _ => Ok(Selection::All),
            };
            if let Ok(what) = what {
                let purge = if soft { Purge::soft(what) } else { Purge::hard(what) };
                let text = serde_json::to_string(&purge).unwrap();
                prop_assert_eq!(serde_json::from_str::<Purge>(&text).unwrap(), purge, "{}", text);
            }
        }
    }
}
