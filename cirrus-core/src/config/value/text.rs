//! What all values written as strings have in common.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};

/// A text that is not a value of the wanted type. Its message says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(String);

/// Accepts a string and parses it.
struct Text<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

/// Implements serde and JSON Schema for a type that is written as a string.
macro_rules! written_as_text {
    ($type:ty, title: $title:literal, expected: $expected:literal, pattern: $pattern:literal, example: $example:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::config::value::text::read(deserializer, $expected)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "title": $title,
                    "description": $expected,
                    "pattern": $pattern,
                    "examples": [$example],
                })
            }
        }
    };
}

pub(super) use written_as_text;

/// Reads a string and parses it. `expected` completes "expected …" when something else stands there.
pub(super) fn read<'de, T, D>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(Text {
        expected,
        value: PhantomData,
    })
}

// === impl InvalidValue ===

impl InvalidValue {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

// === impl Text ===

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
