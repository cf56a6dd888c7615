//! Origins of the web, in the sense of RFC 6454: scheme, host and port.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::text::{InvalidValue, written_as_text};

/// One origin, those of all hosts below a name, or any: `https://a.example`, `https://*.b.example:8443`, `*`.
///
/// Kept as browsers write it: in lower case, without the port that is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebOrigin(Form);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    Any,
    One(Box<str>),
    /// `https://` and `.b.example:8443`.
    Below {
        scheme: Box<str>,
        ending: Box<str>,
    },
}

written_as_text!(
    WebOrigin,
    title: "web origin",
    expected: "an origin without a path, for example \"https://a.example\" or \"https://*.a.example\", or \"*\" for any",
    pattern: "^([*]|[A-Za-z][-+.0-9A-Za-z]*://([*][.])?([-._0-9A-Za-z]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?)$",
    example: "https://a.example"
);

// === impl WebOrigin ===

impl WebOrigin {
    /// Whether it stands for every origin.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == Form::Any
    }

    /// Whether it covers the origin that a browser names. `null` is covered by `*` only.
    #[must_use]
    pub fn covers(&self, origin: &str) -> bool {
        match &self.0 {
            Form::Any => true,
            Form::One(one) => **one == *origin,
            Form::Below { scheme, ending } => origin
                .strip_prefix(&**scheme)
                .and_then(|host| host.strip_suffix(&**ending))
                .is_some_and(is_labels),
        }
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Any => f.write_str("*"),
            Form::One(one) => f.write_str(one),
            Form::Below { scheme, ending } => write!(f, "{scheme}*{ending}"),
        }
    }
}

impl FromStr for WebOrigin {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == "*" {
            return Ok(Self(Form::Any));
        }
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text
            .split_once("://")
            .filter(|(scheme, _)| is_scheme(scheme))
            .ok_or_else(wrong)?;
        let (below, authority) = match authority.strip_prefix("*.") {
            Some(authority) => (true, authority),
            None => (false, authority),
        };
        let (host, port) = split_port(authority)?;
        let is_address = !below
            && host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
        if !is_labels(host) && !is_address {
            return Err(wrong());
        }
        let port = match (scheme, port) {
            ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        Ok(Self(if below {
            Form::Below {
                scheme: format!("{scheme}://").into(),
                ending: format!(".{host}{port}").into(),
            }
        } else {
            Form::One(format!("{scheme}://{host}{port}").into())
        }))
    }
}

fn wrong() -> InvalidValue {
    InvalidValue::new(
        "not an origin: write scheme and host, with a port if it is not the scheme's own and without a path, \
         such as \"https://a.example\" or \"https://*.a.example\"; \"*\" is any origin",
    )
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// One label or more, with single dots between them.
fn is_labels(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), InvalidValue> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_number = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
    match port {
        None => Ok((host, None)),
        Some(port) => Some(port)
            .filter(is_number)
            .and_then(|port| port.parse().ok())
            .map(|port| (host, Some(port)))
            .ok_or_else(wrong),
    }
}
