//! Where an origin listens.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::text::{InvalidValue, written_as_text};
use crate::cache::Scheme;

/// Scheme, host and port of an origin: `http://127.0.0.1:3000`, `https://shop.internal`. Or a Unix socket:
/// `unix:/run/shop.sock`.
///
/// Kept in normal form (lower case, addresses in their shortest form, the scheme's own port left out), and equal if
/// those are. Cheap to clone.
#[derive(Clone)]
pub struct OriginUrl {
    text: Arc<str>,
    scheme: Scheme,
    host: Range<usize>,
    port: u16,
}

written_as_text!(
    OriginUrl,
    title: "origin URL",
    expected: "the URL of an origin, for example \"http://127.0.0.1:3000\"",
    pattern: "^([Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+/?|unix:/.+)$",
    example: "http://127.0.0.1:3000"
);

// === impl OriginUrl ===

impl OriginUrl {
    /// Whether the origin is spoken to through TLS.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The path of the Unix socket, if it is one. It has no host, no TLS, and port 0.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        self.text.strip_prefix(UNIX).map(Path::new)
    }

    /// The host name, or the IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.text[self.host.clone()]
    }

    /// The port, the scheme's own if none was written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a `Host` field says: brackets around an IPv6 address, no port if it is the scheme's own. A Unix socket has
    /// no such thing: this is all of it then.
    #[must_use]
    pub fn authority(&self) -> &str {
        if self.unix_path().is_some() {
            return &self.text;
        }
        &self.text[self.scheme.as_str().len() + "://".len()..]
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn unix(path: &str) -> Self {
        Self {
            text: format!("{UNIX}{path}").into(),
            scheme: Scheme::Http,
            host: 0..0,
            port: 0,
        }
    }

    fn new(scheme: Scheme, host: &str, port: u16) -> Self {
        let (open, close) = if host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let mut text = format!("{}://{open}", scheme.as_str());
        let start = text.len();
        text.push_str(host);
        let host = start..text.len();
        text.push_str(close);
        if port != default_port(scheme) {
            text.push_str(&format!(":{port}"));
        }
        Self {
            text: text.into(),
            scheme,
            host,
            port,
        }
    }
}

impl PartialEq for OriginUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for OriginUrl {}

impl std::hash::Hash for OriginUrl {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OriginUrl({})", self.text)
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for OriginUrl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return unix_path(path).map(Self::unix);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| without_scheme(text))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => {
                return Err(wrong(format!(
                    "`{other}` is not a scheme of origins: `http` and `https` are allowed"
                )));
            }
        };
        let authority = only_authority(rest)?;
        let (host, port) = split_port(authority)?;
        let port = port.map_or(Ok(default_port(scheme)), parse_port)?;
        Ok(Self::new(scheme, &parse_host(host)?, port))
    }
}

/// What a Unix socket begins with, and what its path may take (`sun_path`).
const UNIX: &str = "unix:";
const LONGEST_PATH: usize = 107;

fn unix_path(path: &str) -> Result<&str, InvalidValue> {
    if !path.starts_with('/') || path.starts_with("//") || path.ends_with('/') {
        return Err(wrong(
            "a Unix socket is written with its whole path, for example `unix:/run/shop.sock`",
        ));
    }
    if path.len() > LONGEST_PATH || path.contains('\0') {
        return Err(wrong(format!(
            "the path of a Unix socket has at most {LONGEST_PATH} bytes, none of them zero"
        )));
    }
    Ok(path)
}

fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// Proposes what the user most likely meant.
fn without_scheme(text: &str) -> InvalidValue {
    let guess = format!("http://{text}").parse::<OriginUrl>();
    let guess = guess
        .as_ref()
        .map_or("http://127.0.0.1:3000", OriginUrl::as_str);
    wrong(format!("an origin needs a scheme: write `{guess}`"))
}

fn only_authority(rest: &str) -> Result<&str, InvalidValue> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if !matches!(after, "" | "/") {
        let what = match after.as_bytes() {
            [b'?', ..] => "query",
            [b'#', ..] => "fragment",
            _ => "path",
        };
        return Err(wrong(format!(
            "an origin has no {what}: scheme, host and port are allowed"
        )));
    }
    if authority.contains('@') {
        return Err(wrong(
            "an origin has no user name or password: scheme, host and port are allowed",
        ));
    }
    Ok(authority)
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), InvalidValue> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| wrong("the bracket `[` of the address is never closed"))?;
        host.parse::<Ipv6Addr>()
            .map_err(|_| wrong(format!("`{host}` is not an IPv6 address")))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(wrong(
                "after the bracket `]` only a port is allowed, for example `[::1]:3000`",
            )),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(wrong(
            "an IPv6 address needs brackets, for example `http://[::1]:3000`",
        )),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn parse_port(port: &str) -> Result<u16, InvalidValue> {
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let number = port.parse().ok().filter(|number| digits && *number != 0);
    number.ok_or_else(|| wrong(format!("`{port}` is not a port: 1 to 65535 are allowed")))
}

/// The host in normal form.
fn parse_host(host: &str) -> Result<String, InvalidValue> {
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return Ok(address.to_string());
    }
    if host.is_empty() {
        return Err(wrong(
            "an origin needs a host, for example `http://127.0.0.1:3000`",
        ));
    }
    let labels_fit = host.split('.').all(is_label);
    if !labels_fit || host.len() > 253 {
        return Err(wrong(format!(
            "`{host}` is not a host: a name of letters, digits, `-`, `_` and `.` (international ones as `xn--…`) \
             or an IP address is allowed"
        )));
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    // RFC 3986, section 3.2.2: what looks like an address is one; `1.2.3` must not reach a resolver.
    if last.bytes().all(|b| b.is_ascii_digit()) {
        let address = host.parse::<Ipv4Addr>();
        return address
            .map(|a| a.to_string())
            .map_err(|_| wrong(format!("`{host}` is not an IPv4 address")));
    }
    Ok(host.to_ascii_lowercase())
}

fn is_label(label: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn wrong(message: impl Into<String>) -> InvalidValue {
    InvalidValue::new(message)
}
