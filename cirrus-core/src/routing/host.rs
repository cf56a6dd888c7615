//! The host that a request names, in its one normal form.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::cache::Scheme;

/// The longest name that DNS can hold, without its final dot.
const MAX_NAME: usize = 253;

/// The longest label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// The host of a request or a cache key. Cheap to clone.
///
/// Two spellings of the same host are equal: it is lower-case, without the root's final dot, and has a port only if that
/// is not the scheme's own (RFC 9110 §4.2.3). An IPv6 address is in brackets and in the form of RFC 5952.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Host {
    text: Arc<str>,
    /// Where the name ends and `:port` begins. Follows from `text`.
    name: usize,
}

// === impl Host ===

impl Host {
    /// Reads `host [":" port]`, as in `Host` or `:authority`.
    ///
    /// Strict: letters, digits, `-`, `_` and dots, at most 253 bytes and 63 between dots, or an IPv6 address in brackets;
    /// a port from 1 to 65535. An empty port is the scheme's own (RFC 3986 §6.2.3). Anything else is `None`: user
    /// information, spaces, escapes, zones and bytes outside ASCII have no place in a request's host.
    #[must_use]
    pub fn parse(authority: &str, scheme: Scheme) -> Option<Self> {
        let (name, digits) = split(authority)?;
        let port = port(digits)?.filter(|port| *port != own_port(scheme));
        let name = normal_name(name)?;
        let text = match (port, &name) {
            (None, name) => Arc::from(name.as_ref()),
            // Already as it should be: one copy is enough.
            (Some(_), Cow::Borrowed(name)) if is_plain(authority, name, digits) => {
                Arc::from(authority)
            }
            (Some(port), name) => Arc::from(format!("{name}:{port}")),
        };
        Some(Self {
            text,
            name: name.len(),
        })
    }

    /// The host of a request that has not said one yet. Nothing is served under it.
    pub(crate) fn unknown() -> Self {
        Self {
            text: Arc::default(),
            name: 0,
        }
    }

    /// The host, with its port if that is not the scheme's own.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host without a port: what [`Hosts::lookup`](super::Hosts::lookup) takes. An IPv6 address keeps its brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(..self.name).unwrap_or_default()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

// === parts ===

/// Name and digits of the port; the latter are empty if there are none.
fn split(authority: &str) -> Option<(&str, &str)> {
    if !authority.starts_with('[') {
        return Some(authority.split_once(':').unwrap_or((authority, "")));
    }
    let (name, rest) = authority.split_at(authority.find(']')? + 1);
    match rest.strip_prefix(':') {
        Some(digits) => Some((name, digits)),
        None => rest.is_empty().then_some((name, "")),
    }
}

/// `Some(None)` for no digits, `None` for what is not a port.
fn port(digits: &str) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    // `parse` alone would take a sign.
    if digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port = digits.parse().ok().filter(|port| *port != 0)?;
    Some(Some(port))
}

fn own_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// Whether `authority` is nothing but `name:digits`, the digits without leading zeros.
fn is_plain(authority: &str, name: &str, digits: &str) -> bool {
    authority.len() == name.len() + 1 + digits.len() && !digits.starts_with('0')
}

/// A name without port in its normal form, or `None` if it is not one. Borrows what is normal already.
pub(super) fn normal_name(name: &str) -> Option<Cow<'_, str>> {
    if name.starts_with('[') {
        return normal_address(name);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let has_upper = scan(name)?;
    Some(if has_upper {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

fn normal_address(bracketed: &str) -> Option<Cow<'_, str>> {
    let inner = bracketed.strip_prefix('[')?.strip_suffix(']')?;
    let normal = format!("[{}]", inner.parse::<Ipv6Addr>().ok()?);
    Some(if normal == bracketed {
        Cow::Borrowed(bracketed)
    } else {
        Cow::Owned(normal)
    })
}

/// Whether a valid name has upper-case letters; `None` for what is not a name.
fn scan(name: &str) -> Option<bool> {
    if name.len() > MAX_NAME {
        return None;
    }
    let (mut has_upper, mut label) = (false, 0);
    for byte in name.bytes() {
        label += 1;
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' if label <= MAX_LABEL => {}
            b'A'..=b'Z' if label <= MAX_LABEL => has_upper = true,
            b'.' if label > 1 => label = 0,
            _ => return None,
        }
    }
    // An empty last label is an empty name or a second final dot.
    (label > 0).then_some(has_upper)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn http(authority: &str) -> Option<String> {
        Host::parse(authority, Scheme::Http).map(|host| host.to_string())
    }

    #[test]
    fn spellings_of_one_host_are_equal() {
        let host = Host::parse("shop.example", Scheme::Http).unwrap();
        for spelling in [
            "SHOP.Example",
            "shop.example.",
            "shop.example:80",
            "Shop.example.:0080",
            "shop.example:",
        ] {
            assert_eq!(
                Host::parse(spelling, Scheme::Http),
                Some(host.clone()),
                "{spelling}"
            );
        }
    }

    #[test]
    fn only_the_schemes_own_port_is_dropped() {
        assert_eq!(http("a.example:443").as_deref(), Some("a.example:443"));
        assert_eq!(http("A.example.:08080").as_deref(), Some("a.example:8080"));
        let https = Host::parse("a.example:443", Scheme::Https).unwrap();
        assert_eq!(https.as_str(), "a.example");
    }

    #[test]
    fn name_leaves_the_port_out() {
        let host = Host::parse("A.example:8080", Scheme::Http).unwrap();
        assert_eq!(
            (host.name(), host.as_str()),
            ("a.example", "a.example:8080")
        );
        let host = Host::parse("[::1]:8080", Scheme::Http).unwrap();
        assert_eq!((host.name(), host.as_str()), ("[::1]", "[::1]:8080"));
    }

    #[test]
    fn addresses_have_one_form() {
        assert_eq!(http("[0:0::0:1]:80").as_deref(), Some("[::1]"));
        assert_eq!(http("[2001:DB8::1]").as_deref(), Some("[2001:db8::1]"));
        assert_eq!(http("127.0.0.1").as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn refuses_what_is_not_a_host() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = vec!["a".repeat(49); 6].join(".");
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            ":80",
            "a:0",
            "a:65536",
            "a:+80",
            "a:80:80",
            "a:8 0",
            "user@a",
            "a b",
            "a/b",
            "a%2e",
            "a\0",
            "bücher.example",
            "::1",
            "[::1",
            "[::1]x",
            "[::1].",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "[]",
            "a[::1]",
            "a,b",
            "*",
            "*.a",
            &long_label,
            &long_name,
        ] {
            assert_eq!(http(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(authority in r"(\[?[a-zA-Z0-9.:_\-]{0,20}\]?|\PC{0,20})") {
            for scheme in [Scheme::Http, Scheme::Https] {
                if let Some(host) = Host::parse(&authority, scheme) {
                    prop_assert_eq!(Host::parse(host.as_str(), scheme), Some(host.clone()));
                    prop_assert!(host.as_str().starts_with(host.name()));
                    prop_assert!(!host.as_str().contains(' '));
                }
            }
        }
    }
}
