//! Names and values of header fields.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue};

use super::text::{InvalidValue, written_as_text};

/// The name of a header field, in any case; kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderTitle(HeaderName);

/// The value of a header field: visible ASCII, with spaces and tabs only inside (RFC 9110, section 5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderText(HeaderValue);

written_as_text!(
    HeaderTitle,
    title: "header name",
    expected: "the name of a header field, for example \"x-forwarded-for\"",
    pattern: "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$",
    example: "x-request-id"
);

written_as_text!(
    HeaderText,
    title: "header value",
    expected: "the value of a header field in quotes, for example \"no-cache\"",
    pattern: "^([!-~]([\\t -~]*[!-~])?)?$",
    example: "no-cache"
);

// === impl HeaderTitle ===

impl HeaderTitle {
    /// For a header map; cheap.
    #[must_use]
    pub fn to_name(&self) -> HeaderName {
        self.0.clone()
    }

    /// In lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Ord for HeaderTitle {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for HeaderTitle {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for HeaderTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<HeaderName> for HeaderTitle {
    fn from(name: HeaderName) -> Self {
        Self(name)
    }
}

impl FromStr for HeaderTitle {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let name = HeaderName::from_bytes(text.as_bytes());
        name.map(Self).map_err(|_| {
            InvalidValue::new(
                "not the name of a header field: letters, digits and !#$%&'*+-.^_`|~ are allowed",
            )
        })
    }
}

// === impl HeaderText ===

impl HeaderText {
    /// Of a text in the program.
    pub(crate) fn from_static(text: &'static str) -> Self {
        Self(HeaderValue::from_static(text))
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Parsing accepts ASCII only.
        self.0.to_str().unwrap_or_default()
    }

    /// For a header map; cheap.
    #[must_use]
    pub fn to_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HeaderText {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text != text.trim_matches([' ', '\t']) {
            return Err(InvalidValue::new(
                "the value of a header field neither begins nor ends with white space",
            ));
        }
        let value = HeaderValue::from_str(text).ok().filter(|_| text.is_ascii());
        value.map(Self).ok_or_else(|| {
            InvalidValue::new("not the value of a header field: visible ASCII characters, spaces and tabs are allowed")
        })
    }
}
