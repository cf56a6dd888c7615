//! Sets of status codes.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::text::InvalidValue;

/// One status code, `"404"`, or all of a class, `"5xx"`.
///
/// They are ordered from the more to the less specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StatusSet {
    /// This one, 200 to 599.
    One(u16),
    /// Those that begin with this digit, 2 to 5.
    Class(u8),
}

// === impl StatusSet ===

impl StatusSet {
    /// Whether a status is one of them.
    #[must_use]
    pub fn contains(self, status: StatusCode) -> bool {
        match self {
            Self::One(number) => status.as_u16() == number,
            Self::Class(digit) => status.as_u16() / 100 == u16::from(digit),
        }
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(number) => number.fmt(f),
            Self::Class(digit) => write!(f, "{digit}xx"),
        }
    }
}

impl FromStr for StatusSet {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let class = text.strip_suffix("xx").and_then(|digit| digit.parse().ok());
        let class = class
            .filter(|digit| (2..=5).contains(digit))
            .map(Self::Class);
        let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        let one = number
            .filter(|number| (200..=599).contains(number))
            .map(Self::One);
        class.or(one).ok_or_else(|| {
            InvalidValue::new(
                "not a set of statuses: `200` to `599`, and `2xx` to `5xx`, are allowed",
            )
        })
    }
}

impl Serialize for StatusSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StatusSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for StatusSet {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatusSet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "status pattern",
            "description": "One status code, or all of a class.",
            "pattern": "^([2-5]xx|[2-5][0-9][0-9])$",
            "examples": ["404", "5xx"],
        })
    }
}
