//! Names of cookies and query parameters, one or many at once.

use std::fmt;
use std::str::FromStr;

use super::text::{InvalidValue, written_as_text};

/// The name of a cookie or query parameter, or with a star at its end every name that begins like this: `"utm_*"`.
/// Case counts. A query parameter's name is written as it reads, without escapes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamePattern {
    text: Box<str>,
    is_prefix: bool,
}

written_as_text!(
    NamePattern,
    title: "name pattern",
    expected: "a name, or the beginning of names and a star, for example \"session\" or \"utm_*\"",
    pattern: "^(\\*|[^*]+\\*?)$",
    example: "utm_*"
);

// === impl NamePattern ===

impl NamePattern {
    /// Whether it stands for this name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if self.is_prefix {
            name.starts_with(&*self.text)
        } else {
            name == &*self.text
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_prefix { "*" } else { "" };
        write!(f, "{}{star}", self.text)
    }
}

impl FromStr for NamePattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(name) => (name, true),
            None => (text, false),
        };
        if text.is_empty() {
            return Err(InvalidValue::new(
                "a name is empty: write one, such as \"session\"",
            ));
        }
        if name.contains('*') {
            return Err(InvalidValue::new(
                "a star stands at the end only, such as \"utm_*\"",
            ));
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidValue::new("a name has no control characters"));
        }
        Ok(Self {
            text: name.into(),
            is_prefix,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_ends_what_is_given() {
        let pattern = |text: &str| text.parse::<NamePattern>().unwrap();
        assert!(pattern("utm_*").matches("utm_source") && pattern("utm_*").matches("utm_"));
        assert!(!pattern("utm_*").matches("xutm_") && !pattern("utm_*").matches("UTM_x"));
        assert!(pattern("id").matches("id") && !pattern("id").matches("idx"));
        assert!(pattern("*").matches(""));
        for text in ["", "a*b", "**", "a\n"] {
            assert!(text.parse::<NamePattern>().is_err(), "{text:?}");
        }
        assert_eq!(pattern("utm_*").to_string(), "utm_*");
    }
}
