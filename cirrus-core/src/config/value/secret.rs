//! A secret that several programs share.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::text::{InvalidValue, written_as_text};

/// The fewest characters of a secret.
const LEAST: usize = 16;

/// A secret that several edges have in common: 16 characters or more, such as `openssl rand -hex 32` gives. `Debug` hides
/// it; `Display` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

written_as_text!(
    Secret,
    title: "shared secret",
    expected: "a secret of at least 16 characters, for example from `openssl rand -hex 32`",
    pattern: "^[!-~]{16,}$",
    example: "5f0e6c1b9a7d48e3b2c4d6f8a0917263"
);

// === impl Secret ===

impl Secret {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        // The text itself is not told: faults end up in logs.
        if text.len() < LEAST {
            return Err(InvalidValue::new(format!(
                "the secret is too short: at least {LEAST} characters are allowed, for example from `openssl rand -hex 32`"
            )));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidValue::new(
                "the secret has a character that is not allowed: visible ASCII without spaces is",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_invisible_secrets_are_refused_without_being_told() {
        for wrong in [
            "",
            "fifteen-letters",
            "a space within it",
            "übermäßig-geheim",
        ] {
            let error = wrong.parse::<Secret>().unwrap_err().to_string();
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
        let right: Secret = "sixteen-letters!".parse().unwrap();
        assert_eq!(right.to_string(), "sixteen-letters!");
        assert_eq!(format!("{right:?}"), "…");
    }
}
