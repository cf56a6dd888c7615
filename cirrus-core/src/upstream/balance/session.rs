//! Sessions that stay with their endpoints, by a cookie that does not tell which these are.

use std::sync::Arc;

use aws_lc_rs::hmac;
use http::HeaderValue;

use crate::config::StickyConfig;
use crate::discovery::Endpoint;

/// The cookie of a cluster whose sessions stay with their endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Sticky {
    cookie: Arc<str>,
    /// What stands behind the value.
    attributes: Arc<str>,
    key: hmac::Key,
}

// === impl Sticky ===

impl Sticky {
    pub(crate) fn new(config: &StickyConfig) -> Self {
        Self {
            cookie: config.cookie.as_str().into(),
            attributes: attributes(config).into(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret(config)),
        }
    }

    /// What an endpoint's sessions are known by: without the secret it cannot be told from it which endpoint it is.
    pub(crate) fn session(&self, endpoint: &Endpoint) -> u64 {
        let mut name = endpoint.url.to_string().into_bytes();
        name.push(0);
        name.extend(endpoint.sni.iter().flat_map(|sni| sni.bytes()));
        let tag = hmac::sign(&self.key, &name);
        let first = tag.as_ref().first_chunk().copied();
        first.map_or(0, u64::from_be_bytes)
    }

    /// The session that a request belongs to, if it says so.
    pub(crate) fn asked(&self, headers: &http::HeaderMap) -> Option<u64> {
        let value = super::cookie(headers, &self.cookie)?;
        if value.len() != 16 {
            return None;
        }
        u64::from_str_radix(value, 16).ok()
    }

    /// Tells the client its session.
    pub(crate) fn tell(&self, session: u64) -> Option<HeaderValue> {
        let (name, attributes) = (&self.cookie, &self.attributes);
        HeaderValue::try_from(format!("{name}={session:016x}{attributes}")).ok()
    }
}

fn attributes(config: &StickyConfig) -> String {
    let mut text = format!("; Path={}", config.path);
    if let Some(ttl) = config.ttl {
        text.push_str(&format!("; Max-Age={}", ttl.as_duration().as_secs()));
    }
    if config.secure {
        text.push_str("; Secure");
    }
    if config.http_only {
        text.push_str("; HttpOnly");
    }
    text.push_str("; SameSite=");
    text.push_str(config.same_site.word());
    text
}

/// Without one that is written: another one for each process.
fn secret(config: &StickyConfig) -> Vec<u8> {
    static CHANCE: std::sync::LazyLock<[u8; 32]> = std::sync::LazyLock::new(|| {
        let mut secret = [0; 32];
        if aws_lc_rs::rand::fill(&mut secret).is_err() {
            tracing::error!("no random numbers: sticky sessions can be told from each other");
        }
        secret
    });
    match &config.secret {
        Some(secret) => secret.as_str().into(),
        None => CHANCE.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sticky(secret: &str) -> Sticky {
        Sticky::new(&StickyConfig {
            secret: Some(secret.into()),
            ..StickyConfig::default()
        })
    }

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new(url.parse().unwrap())
    }

    #[test]
    fn a_session_is_known_by_its_endpoint_and_the_secret() {
        let one = sticky("a").session(&endpoint("http://a:1"));
        assert_eq!(
            one,
            sticky("a").session(&endpoint("http://a:1").with_weight(7))
        );
        assert_ne!(one, sticky("b").session(&endpoint("http://a:1")));
        assert_ne!(one, sticky("a").session(&endpoint("http://a:2")));
        assert_ne!(
            one,
            sticky("a").session(&endpoint("http://a:1").with_sni("b"))
        );
    }

    #[test]
    fn what_is_told_is_understood() {
        let sticky = sticky("a");
        let told = sticky.tell(0xbeef).unwrap();
        assert_eq!(
            told,
            "cirrus_endpoint=000000000000beef; Path=/; HttpOnly; SameSite=Lax"
        );
        let ask = |cookie: &'static str| {
            let mut headers = http::HeaderMap::new();
            headers.append("cookie", HeaderValue::from_static("a=b"));
            headers.append("cookie", HeaderValue::from_static(cookie));
            sticky.asked(&headers)
        };
        assert_eq!(ask("c=d; cirrus_endpoint=000000000000beef"), Some(0xbeef));
        for other in [
            "cirrus_endpoint=beef",
            "cirrus_endpoint=",
            "cirrus_endpoint=+00000000000beef1",
            "x=1",
        ] {
            assert_ne!(ask(other), Some(0xbeef));
        }
    }
}
