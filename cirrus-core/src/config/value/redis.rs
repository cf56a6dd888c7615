//! Where a Redis server answers.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use super::OriginUrl;
use super::text::{InvalidValue, written_as_text};

/// Host, port and database of a Redis server, with what it takes to log in: `redis://10.0.0.5`,
/// `rediss://edge:secret@redis.internal:6380/2`. `Debug` hides the password; `Display` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    text: Arc<str>,
    password: Range<usize>,
}

written_as_text!(
    RedisUrl,
    title: "Redis URL",
    expected: "the URL of a Redis server, for example \"redis://10.0.0.5:6379\"",
    pattern: "^rediss?://([^/?#@]*@)?[^/?#@]+(/[0-9]*)?$",
    example: "redis://10.0.0.5:6379"
);

// === impl RedisUrl ===

impl RedisUrl {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is spoken to through TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.text.starts_with("rediss")
    }
}

impl FromStr for RedisUrl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let wrong = |what: &str| {
            Err(InvalidValue::new(format!(
                "{what}: \"redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]\" is allowed, or rediss:// for TLS"
            )))
        };
        let rest = text
            .strip_prefix("redis://")
            .or_else(|| text.strip_prefix("rediss://"));
        let Some(rest) = rest else {
            return wrong("not the URL of a Redis server");
        };
        if rest.contains(|c: char| c.is_whitespace() || c.is_control() || "?#".contains(c)) {
            return wrong("spaces, `?` and `#` are written %20, %3F and %23");
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        if !database.is_empty() && database.parse::<u16>().is_err() {
            return wrong("the database is no number (and `/` in a password is written %2F)");
        }
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if login.contains('@') {
            return wrong("`@` in a password is written %40");
        }
        if format!("http://{host}").parse::<OriginUrl>().is_err() {
            return wrong("no host and port");
        }
        let begin = text.len() - rest.len();
        let password = login.find(':').map_or(login.len(), |colon| colon + 1);
        Ok(Self {
            text: text.into(),
            password: begin + password..begin + login.len(),
        })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.password.is_empty() { "" } else { "…" };
        let (before, after) = (
            &self.text[..self.password.start],
            &self.text[self.password.end..],
        );
        write!(f, "{before}{hidden}{after}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_client_understands() {
        for right in [
            "redis://localhost",
            "redis://127.0.0.1:6379",
            "redis://[::1]:6379/0",
            "rediss://edge:s%40cret@redis.internal:6380/2",
            "redis://:secret@a",
            "redis://edge@a/",
        ] {
            assert_eq!(right.parse::<RedisUrl>().unwrap().to_string(), right);
        }
        for wrong in [
            "",
            "localhost:6379",
            "http://localhost",
            "redis://",
            "redis://a:port",
            "redis://a/one",
            "redis://a/1/2",
            "redis://u:p@q@a",
            "redis://u:p/q@a",
            "redis://a?b",
            "redis://a b",
        ] {
            assert!(wrong.parse::<RedisUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn debug_hides_the_password() {
        for (written, told) in [
            ("redis://edge:secret@a/1", "redis://edge:…@a/1"),
            ("redis://:secret@a", "redis://:…@a"),
            ("redis://edge@a", "redis://edge@a"),
            ("redis://a", "redis://a"),
        ] {
            assert_eq!(format!("{:?}", written.parse::<RedisUrl>().unwrap()), told);
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(text in "rediss?://[a-z0-9:@%/.\\[\\]]{0,24}") {
            if let Ok(url) = text.parse::<RedisUrl>() {
                prop_assert_eq!(url.to_string().parse::<RedisUrl>().unwrap(), url);
            }
        }
    }
}
