//! Where servers listen.

use std::fmt;

/// A host and a port, as people write them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    /// An IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

// === impl Address ===

impl Address {
    /// `host`, `host:port`, `[::1]:port`. `None` for anything else.
    pub(crate) fn parse(text: &str, port: u16) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // A colon of an address in brackets.
            Some((_, behind)) if behind.contains(']') => (text, port),
            Some((host, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, digits.parse().ok().filter(|port| *port != 0)?)
            }
            Some(_) => return None,
            None => (text, port),
        };
        let authority: http::uri::Authority = host.parse().ok()?;
        // Without brackets it would not be clear where the port begins.
        if authority.as_str().contains('@') || authority.host() != host {
            return None;
        }
        if host.contains(':') && !host.starts_with('[') {
            return None;
        }
        Some(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        })
    }

    /// A list with commas. The error is what makes no sense.
    pub(crate) fn parse_all(text: &str, port: u16) -> Result<Vec<Self>, &str> {
        let parts = text.split(',').map(str::trim);
        parts
            .map(|part| Self::parse(part, port).ok_or(part))
            .collect()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_port_may_be_left_out() {
        for (text, written) in [
            ("10.0.0.1:2379", "10.0.0.1:2379"),
            ("a.internal", "a.internal:7"),
            ("[::1]", "[::1]:7"),
            ("[::1]:9", "[::1]:9"),
        ] {
            let parsed = Address::parse(text, 7).map(|address| address.to_string());
            assert_eq!(parsed.as_deref(), Some(written), "{text}");
        }
        for text in [
            "", ":1", "a:", "a:0", "a:70000", "u@a:1", "a b", "http://a", "::1",
        ] {
            assert_eq!(Address::parse(text, 7), None, "{text}");
        }
        assert_eq!(Address::parse_all("a:1, b", 7).map(|all| all.len()), Ok(2));
        assert_eq!(Address::parse_all("a:1,,b", 7), Err(""));
    }

    proptest! {
        #[test]
        fn is_read_as_it_is_written(text in "\\PC{0,24}") {
            if let Some(address) = Address::parse(&text, 7) {
                prop_assert_eq!(Address::parse(&address.to_string(), 1), Some(address));
            }
        }
    }
}
