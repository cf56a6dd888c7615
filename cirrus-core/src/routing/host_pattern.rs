//! Host names as a configuration writes them.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::host::normal_name;

/// Which hosts a site serves.
///
/// * `shop.example`: this host; an IPv6 address stands in brackets;
/// * `*.shop.example`: every host below it, at any depth, but not `shop.example` itself;
/// * `*`: every host.
///
/// Kept in the form of [`Host`](super::Host): lower-case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(Form);

/// What was written is not a [`HostPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidHost(#[from] Fault);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Form {
    Exact(Arc<str>),
    /// Holds what stands after `*.`.
    Below(Arc<str>),
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("a host is empty: write a name such as \"shop.example\", \"*.shop.example\" or \"*\"")]
    Empty,
    #[error("a host has no scheme here: write the name alone, such as \"shop.example\"")]
    Scheme,
    #[error("a host has no path here: write it in a route's `path`")]
    Path,
    #[error("a host has no port here: write it in `listen`")]
    Port,
    #[error("an IPv6 address stands in brackets, such as \"[::1]\"")]
    Bare,
    #[error("a star stands alone (\"*\") or for the labels before a name (\"*.shop.example\")")]
    Star,
    #[error("a host is ASCII here: write an international name in its \"xn--\" form")]
    NotAscii,
    #[error(
        "not a host name: letters, digits, \"-\", \"_\" and single dots are allowed, \
         at most 253 characters and 63 between dots"
    )]
    Name,
}

// === impl HostPattern ===

impl HostPattern {
    /// Whether it stands for `name`, which is as [`Host::name`](super::Host::name) gives it.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.0 {
            Form::Exact(host) => &**host == name,
            Form::Below(parent) => name
                .strip_suffix(&**parent)
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty()),
            Form::Any => true,
        }
    }

    /// The host, if it stands for only one.
    #[must_use]
    pub fn as_exact(&self) -> Option<&str> {
        match &self.0 {
            Form::Exact(host) => Some(host),
            Form::Below(_) | Form::Any => None,
        }
    }

    pub(super) fn form(&self) -> &Form {
        &self.0
    }
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if text == "*" {
            return Ok(Self(Form::Any));
        }
        let (name, form): (_, fn(Arc<str>) -> Form) = match text.strip_prefix("*.") {
            // Nothing is below an address.
            Some(parent) if parent.starts_with('[') => return Err(Fault::Star.into()),
            Some(parent) => (parent, Form::Below),
            None => (text, Form::Exact),
        };
        match normal_name(name) {
            Some(name) => Ok(Self(form(name.into()))),
            None => Err(fault(text).into()),
        }
    }
}

/// What is wrong with a text that is no pattern.
fn fault(text: &str) -> Fault {
    match text {
        "" => Fault::Empty,
        _ if text.contains("://") => Fault::Scheme,
        _ if text.contains('/') => Fault::Path,
        _ if text.parse::<Ipv6Addr>().is_ok() => Fault::Bare,
        _ if has_port(text) => Fault::Port,
        _ if text.contains('*') => Fault::Star,
        _ if !text.is_ascii() => Fault::NotAscii,
        _ => Fault::Name,
    }
}

fn has_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Exact(host) => f.write_str(host),
            Form::Below(parent) => write!(f, "*.{parent}"),
            Form::Any => f.write_str("*"),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = InvalidHost;

    fn try_from(text: String) -> Result<Self, InvalidHost> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl JsonSchema for HostPattern {
    fn schema_name() -> Cow<'static, str> {
        "HostPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A host name, \"*.\" and a name for every host below it, or \"*\" for every host.",
            "examples": ["shop.example", "*.shop.example", "*"],
            "minLength": 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    fn complaint(text: &str) -> String {
        text.parse::<HostPattern>().unwrap_err().to_string()
    }

    #[test]
    fn a_star_is_any_depth_below_but_not_the_name_itself() {
        let below = pattern("*.shop.example");
        assert!(below.matches("a.shop.example"));
        assert!(below.matches("a.b.shop.example"));
        assert!(!below.matches("shop.example"));
        assert!(!below.matches(".shop.example"));
        assert!(!below.matches("ashop.example"));
    }

    #[test]
    fn exact_is_exact_and_any_is_any() {
        assert!(pattern("Shop.Example.").matches("shop.example"));
        assert!(!pattern("shop.example").matches("a.shop.example"));
        assert!(pattern("*").matches("[::1]"));
        assert_eq!(pattern("[0::1]").as_exact(), Some("[::1]"));
    }

    #[test]
    fn faults_say_what_to_write_instead() {
        assert!(complaint("").contains("empty"));
        assert!(complaint("https://shop.example").contains("no scheme"));
        assert!(complaint("shop.example/a").contains("no path"));
        assert!(complaint("shop.example:8080").contains("no port here: write it in `listen`"));
        assert!(complaint("*.shop.example:80").contains("no port"));
        assert!(complaint("[::1]:80").contains("no port"));
        assert!(complaint("::1").contains("brackets"));
        for star in [
            "**",
            "*shop.example",
            "a.*.example",
            "*.*.example",
            "*.[::1]",
        ] {
            assert!(complaint(star).contains("a star stands"), "{star}");
        }
        assert!(complaint("bücher.example").contains("xn--"));
        for name in ["a..b", "a b", "user@a", "*.", "-\0"] {
            assert!(complaint(name).starts_with(if name == "*." {
                "a star"
            } else {
                "not a host"
            }));
        }
    }

    #[test]
    fn is_a_string_in_the_configuration() {
        let json = "\"*.Shop.example\"";
        let read: HostPattern = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"*.shop.example\"");
        assert!(serde_json::from_str::<HostPattern>("\"a:80\"").is_err());
        assert_eq!(
            schemars::schema_for!(HostPattern).get("type"),
            Some(&"string".into())
        );
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(text in r"(\*\.)?([a-zA-Z0-9_\-]{1,8}\.?){1,4}|\*|\PC{0,12}") {
            if let Ok(pattern) = text.parse::<HostPattern>() {
                prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
            }
        }
    }
}
