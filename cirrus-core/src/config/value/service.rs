//! Where a service answers.

use std::fmt;
use std::str::FromStr;

use http::uri::PathAndQuery;

use super::OriginUrl;
use super::text::{InvalidValue, written_as_text};

/// An origin with a path and perhaps a query: `http://auth:9000/check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    origin: OriginUrl,
    target: PathAndQuery,
}

written_as_text!(
    ServiceUrl,
    title: "service URL",
    expected: "the URL of a service, for example \"http://auth:9000/check\"",
    pattern: "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+(/[^#]*)?$",
    example: "http://auth:9000/check"
);

// === impl ServiceUrl ===

impl ServiceUrl {
    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &OriginUrl {
        &self.origin
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }
}

impl FromStr for ServiceUrl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let start = text.find("://").map_or(0, |at| at + "://".len());
        let path = text[start..].find('/').map_or(text.len(), |at| start + at);
        let (origin, target) = text.split_at(path);
        let target = if target.is_empty() { "/" } else { target };
        let wrong = "not a path with a query: visible ASCII characters without `#` are allowed";
        if target.contains('#') {
            return Err(InvalidValue::new(wrong));
        }
        Ok(Self {
            origin: origin.parse()?,
            target: PathAndQuery::from_str(target).map_err(|_| InvalidValue::new(wrong))?,
        })
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_origin_and_a_path() {
        let url: ServiceUrl = "http://Auth:9000/check?a=/b".parse().unwrap();
        assert_eq!(
            (url.origin().as_str(), url.target().as_str()),
            ("http://auth:9000", "/check?a=/b")
        );
        assert_eq!(
            "https://auth".parse::<ServiceUrl>().unwrap().to_string(),
            "https://auth/"
        );
        for wrong in [
            "",
            "auth:9000/check",
            "ftp://a/",
            "http://a@b/",
            "http://a/#b",
            "http:///x",
        ] {
            assert!(wrong.parse::<ServiceUrl>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(text in "https?://[a-z0-9:.@\\[\\]]{0,12}(/[ -~é]{0,12})?") {
            if let Ok(url) = text.parse::<ServiceUrl>() {
                prop_assert_eq!(url.to_string().parse::<ServiceUrl>().unwrap(), url);
            }
        }
    }
}
