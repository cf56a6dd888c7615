//! Status codes.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::text::InvalidValue;

/// A status code, 100 to 599, written as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct StatusNumber(pub u16);

// === impl StatusNumber ===

impl StatusNumber {
    /// For a response; 500 where the number is no status code at all, which no parsed one is.
    #[must_use]
    pub fn to_status(self) -> StatusCode {
        StatusCode::from_u16(self.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl fmt::Display for StatusNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StatusNumber {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let number = text
            .parse()
            .ok()
            .filter(|number| (100..=599).contains(number));
        number
            .map(Self)
            .ok_or_else(|| InvalidValue::new("not a status code: 100 to 599 are allowed"))
    }
}

impl<'de> Deserialize<'de> for StatusNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(deserializer)?;
        number.to_string().parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for StatusNumber {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatusNumber".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer",
            "title": "status",
            "description": "A status code, 100 to 599.",
            "minimum": 100,
            "maximum": 599,
            "examples": [302],
        })
    }
}
