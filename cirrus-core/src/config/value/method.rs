//! Request methods.

use std::fmt;
use std::str::FromStr;

use http::Method;

use super::text::{InvalidValue, written_as_text};

/// A request method. Methods are case-sensitive (RFC 9110, section 9.1); only upper-case ones are accepted, because
/// `get` is a method that no client uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MethodName(Method);

written_as_text!(
    MethodName,
    title: "method",
    expected: "a request method in upper case, for example \"GET\"",
    pattern: "^[-!#$%&'*+.^_`|~0-9A-Z]+$",
    example: "GET"
);

// === impl MethodName ===

impl MethodName {
    /// The method itself.
    #[must_use]
    pub fn to_method(&self) -> Method {
        self.0.clone()
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl From<Method> for MethodName {
    fn from(method: Method) -> Self {
        Self(method)
    }
}

impl FromStr for MethodName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let method = Method::from_bytes(text.as_bytes()).map_err(|_| {
            InvalidValue::new("not a request method: write a token such as \"GET\" or \"POST\"")
        })?;
        if text.bytes().any(|b| b.is_ascii_lowercase()) {
            let upper = text.to_ascii_uppercase();
            return Err(InvalidValue::new(format!(
                "methods are written in upper case: \"{upper}\""
            )));
        }
        Ok(Self(method))
    }
}
