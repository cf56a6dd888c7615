//! Media types, one or all of a kind.

use std::fmt;
use std::str::FromStr;

use super::text::{InvalidValue, written_as_text};

/// One media type, or all of a kind: `text/html`, `text/*`. Kept in lower case, without parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaRange(Box<str>);

written_as_text!(
    MediaRange,
    title: "media type",
    expected: "a media type without parameters, for example \"text/html\", or \"text/*\" for all of a kind",
    pattern: "^[-!#$%&'+.^_`|~0-9A-Za-z]+/([*]|[-!#$%&'+.^_`|~0-9A-Za-z]+)$",
    example: "text/html"
);

// === impl MediaRange ===

impl MediaRange {
    /// Whether the value of a `Content-Type` names a type of this range.
    #[must_use]
    pub fn covers(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match self.0.strip_suffix('*') {
            Some(kind) => essence
                .get(..kind.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(kind)),
            None => essence.eq_ignore_ascii_case(&self.0),
        }
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MediaRange {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let is_valid = text
            .split_once('/')
            .is_some_and(|(kind, name)| is_token(kind) && (name == "*" || is_token(name)));
        if !is_valid {
            return Err(InvalidValue::new(
                "not a media type: write \"text/html\", or \"text/*\" for all of a kind, without parameters",
            ));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

/// RFC 9110 §5.6.2, less the star.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte))
}
