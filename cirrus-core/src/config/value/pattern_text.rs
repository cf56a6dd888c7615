//! Regular expressions.

use std::fmt;
use std::str::FromStr;

use regex::bytes::{Regex, RegexBuilder};

use super::text::{InvalidValue, written_as_text};

/// A regular expression, matched in time that grows with the text and not with the expression's tricks.
#[derive(Clone, Debug)]
pub struct PatternText(Regex);

/// Bytes that a compiled expression may take.
const SIZE: usize = 1 << 20;

written_as_text!(
    PatternText,
    title: "regular expression",
    expected: "a regular expression, for example \"status: *(ok|up)\"",
    pattern: "",
    example: "status: *(ok|up)"
);

// === impl PatternText ===

impl PatternText {
    /// Whether it matches anywhere in `text`.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for PatternText {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for PatternText {}

impl std::hash::Hash for PatternText {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl fmt::Display for PatternText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for PatternText {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let built = RegexBuilder::new(text).size_limit(SIZE).build();
        built.map(Self).map_err(|error| {
            let error = error.to_string();
            // The last line says what is wrong; those before it draw where.
            let what = error.lines().last().unwrap_or_default();
            InvalidValue::new(format!("not a regular expression: {what}"))
        })
    }
}
