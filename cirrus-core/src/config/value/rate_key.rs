//! Whose requests are counted together.

use std::fmt;
use std::str::FromStr;

use super::cookie_name::cookie_name;
use super::header::HeaderTitle;
use super::text::{InvalidValue, written_as_text};

/// Whose requests a rate limit counts together: `"client"`, `"route"`, `"header:NAME"` or `"cookie:NAME"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RateKey {
    /// Those of one client address; for IPv6, of one /64.
    #[default]
    Client,
    /// All of them.
    Route,
    /// Those with the same value of this header field.
    Header(HeaderTitle),
    /// Those with the same value of this cookie.
    Cookie(String),
}

written_as_text!(
    RateKey,
    title: "rate key",
    expected: "whose requests are counted together: \"client\", \"route\", \"header:NAME\" or \"cookie:NAME\"",
    pattern: "^(client|route|(header|cookie):[-!#$%&'*+.^_`|~0-9A-Za-z]+)$",
    example: "client"
);

impl fmt::Display for RateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Route => f.write_str("route"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

impl FromStr for RateKey {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once(':') {
            None if text == "client" => Ok(Self::Client),
            None if text == "route" => Ok(Self::Route),
            Some(("header", name)) => name.parse().map(Self::Header),
            Some(("cookie", name)) => cookie_name(name).map(Self::Cookie),
            _ => Err(InvalidValue::new(
                "not a key: \"client\", \"route\", \"header:NAME\" and \"cookie:NAME\" are allowed",
            )),
        }
    }
}
