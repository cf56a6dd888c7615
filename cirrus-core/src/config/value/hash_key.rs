//! What of a request decides where it goes.

use std::fmt;
use std::str::FromStr;

use super::cookie_name::cookie_name;
use super::header::HeaderTitle;
use super::text::{InvalidValue, written_as_text};

/// By what a request is chosen an endpoint for: `"client"`, `"path"`, `"query"`, `"query:NAME"`, `"header:NAME"` or
/// `"cookie:NAME"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashKey {
    /// The client's address.
    #[default]
    Client,
    /// The path that the origin is asked for.
    Path,
    /// The whole query.
    Query,
    /// This parameter of the query, as it is written.
    QueryParameter(String),
    /// This header field.
    Header(HeaderTitle),
    /// This cookie.
    Cookie(String),
}

/// What decides between clusters: `"random"`, `"client"`, `"header:NAME"` or `"cookie:NAME"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SplitKey {
    /// Chance, for each request anew.
    #[default]
    Random,
    /// What the same clients, or the same values, always have in common.
    By(HashKey),
}

written_as_text!(
    HashKey,
    title: "hash key",
    expected: "what decides: \"client\", \"path\", \"query\", \"query:NAME\", \"header:NAME\" or \"cookie:NAME\"",
    pattern: "^(client|path|query|query:.+|(header|cookie):[-!#$%&'*+.^_`|~0-9A-Za-z]+)$",
    example: "header:x-user"
);

written_as_text!(
    SplitKey,
    title: "split key",
    expected: "what decides: \"random\", \"client\", \"header:NAME\" or \"cookie:NAME\"",
    pattern: "^(random|client|(header|cookie):[-!#$%&'*+.^_`|~0-9A-Za-z]+)$",
    example: "cookie:user"
);

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Path => f.write_str("path"),
            Self::Query => f.write_str("query"),
            Self::QueryParameter(name) => write!(f, "query:{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

impl FromStr for HashKey {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once(':') {
            None if text == "client" => Ok(Self::Client),
            None if text == "path" => Ok(Self::Path),
            None if text == "query" => Ok(Self::Query),
            Some(("query", name)) if !name.is_empty() => Ok(Self::QueryParameter(name.to_owned())),
            Some(("header", name)) => name.parse().map(Self::Header),
            Some(("cookie", name)) => cookie_name(name).map(Self::Cookie),
            _ => Err(InvalidValue::new(
                "not a key: \"client\", \"path\", \"query\", \"query:NAME\", \"header:NAME\" and \
                 \"cookie:NAME\" are allowed",
            )),
        }
    }
}

impl fmt::Display for SplitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => f.write_str("random"),
            Self::By(key) => key.fmt(f),
        }
    }
}

impl FromStr for SplitKey {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let key = text.parse();
        match key {
            _ if text == "random" => Ok(Self::Random),
            Ok(key @ (HashKey::Client | HashKey::Header(_) | HashKey::Cookie(_))) => {
                Ok(Self::By(key))
            }
            Err(error) if text.starts_with("header:") || text.starts_with("cookie:") => Err(error),
            _ => Err(InvalidValue::new(
                "not a key: \"random\", \"client\", \"header:NAME\" and \"cookie:NAME\" are allowed",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        for text in [
            "client",
            "path",
            "query",
            "query:a b",
            "header:x-user",
            "cookie:User",
        ] {
            assert_eq!(text.parse::<HashKey>().unwrap().to_string(), text);
        }
        for text in ["", "random", "query:", "header:", "cookie:a b", "host"] {
            assert!(text.parse::<HashKey>().is_err(), "{text}");
        }
        for text in ["random", "client", "header:x-user", "cookie:User"] {
            assert_eq!(text.parse::<SplitKey>().unwrap().to_string(), text);
        }
        for text in ["", "path", "query:a", "header:"] {
            assert!(text.parse::<SplitKey>().is_err(), "{text}");
        }
    }
}
