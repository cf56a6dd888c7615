//! Which instances of which service, in one line.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

/// Which instances of which service: `[consul://][DATACENTRE/]SERVICE[?KEY=VALUE&…]`.
///
/// Without a datacentre, or with an empty one, it is the asked agent's own. The keys, each percent-encoded where needed:
///
/// * `tag`: only instances with this tag; more than once: with all of them
/// * `filter`: only instances for which [Consul's expression](https://developer.hashicorp.com/consul/api-docs/features/filtering) holds
/// * `near`: a node's name, or `_agent`: nearest first; that is only the order in which they are listed
/// * `ns`, `partition`: of Consul Enterprise
/// * `passing`: `only` (the default): all checks pass; `warning`: checks may warn too
/// * `scheme`: `http` (the default) or `https`; the service's own meta value `scheme` goes before it
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsulService {
    /// By default the agent's own.
    pub datacentre: Option<String>,
    /// Its name in Consul.
    pub service: String,
    /// Every one of them must be there.
    pub tags: Vec<String>,
    /// An expression that Consul evaluates.
    pub filter: Option<String>,
    /// Whose distance sorts the instances.
    pub near: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The admin partition.
    pub partition: Option<String>,
    /// Which instances take requests.
    pub policy: CheckPolicy,
    /// Whether instances are spoken to with TLS.
    pub tls: bool,
}

/// Which instances take requests, by their checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckPolicy {
    /// All checks pass.
    #[default]
    Passing,
    /// Checks pass or warn; with a warning the instance has the weight that it has for that.
    Warning,
}

/// A name that is none of a service in Consul.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no service in Consul: {why}")]
pub struct InvalidService {
    name: String,
    why: &'static str,
}

// === impl ConsulService ===

impl ConsulService {
    /// All instances of a service whose checks pass.
    #[must_use]
    pub fn new(datacentre: Option<String>, service: impl Into<String>) -> Self {
        Self {
            datacentre,
            service: service.into(),
            tags: Vec::new(),
            filter: None,
            near: None,
            namespace: None,
            partition: None,
            policy: CheckPolicy::default(),
            tls: false,
        }
    }

    /// Path and query of the request for its instances. Those whose checks fail are asked for as well: without them
    /// nobody could tell "nobody is well" from "unknown".
    pub(super) fn target(&self, index: u64, wait: Duration) -> String {
        let mut target = "/v1/health/service/".to_owned();
        encode(&self.service, &mut target);
        // `write!` to a string does not fail.
        let _ = write!(target, "?index={index}&wait={}ms", wait.as_millis());
        let single = [
            ("dc", &self.datacentre),
            ("filter", &self.filter),
            ("near", &self.near),
            ("ns", &self.namespace),
            ("partition", &self.partition),
        ];
        let single = single
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)));
        for (key, value) in single.chain(self.tags.iter().map(|tag| ("tag", tag))) {
            let _ = write!(target, "&{key}=");
            encode(value, &mut target);
        }
        target
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), &'static str> {
        match (key, value.as_str()) {
            ("tag", _) => self.tags.push(value),
            ("filter", _) => self.filter = Some(value),
            ("near", _) => self.near = Some(value),
            ("ns", _) => self.namespace = Some(value),
            ("partition", _) => self.partition = Some(value),
            ("passing", "only") => self.policy = CheckPolicy::Passing,
            ("passing", "warning") => self.policy = CheckPolicy::Warning,
            ("passing", _) => return Err("`passing` is `only` or `warning`"),
            ("scheme", "http") => self.tls = false,
            ("scheme", "https") => self.tls = true,
            ("scheme", _) => return Err("`scheme` is `http` or `https`"),
            _ => return Err("the keys are tag, filter, near, ns, partition, passing and scheme"),
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix("consul://").unwrap_or(text);
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let (datacentre, service) = match path.split_once('/') {
            Some((datacentre, service)) => (decode(datacentre)?, service),
            None => (String::new(), path),
        };
        if service.contains('/') {
            return Err("a slash in a name is written %2F");
        }
        let service = decode(service)?;
        if service.is_empty() {
            return Err("a service has a name");
        }
        let mut parsed = Self::new((!datacentre.is_empty()).then_some(datacentre), service);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or("a key has a value")?;
            parsed.set(key, decode(&value.replace('+', " "))?)?;
        }
        Ok(parsed)
    }
}

impl FromStr for ConsulService {
    type Err = InvalidService;

    fn from_str(text: &str) -> Result<Self, InvalidService> {
        Self::parse(text).map_err(|why| InvalidService {
            name: text.to_owned(),
            why,
        })
    }
}

impl fmt::Display for ConsulService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = "consul://".to_owned();
        encode(self.datacentre.as_deref().unwrap_or_default(), &mut text);
        text.push('/');
        encode(&self.service, &mut text);
        let passing = (self.policy == CheckPolicy::Warning).then(|| "warning".to_owned());
        let scheme = self.tls.then(|| "https".to_owned());
        let single = [
            ("filter", &self.filter),
            ("near", &self.near),
            ("ns", &self.namespace),
            ("partition", &self.partition),
            ("passing", &passing),
            ("scheme", &scheme),
        ];
        let single = single
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let tags = self.tags.iter().map(|tag| ("tag", tag));
        for (number, (key, value)) in tags.chain(single).enumerate() {
            let before = if number == 0 { '?' } else { '&' };
            let _ = write!(text, "{before}{key}=");
            encode(value, &mut text);
        }
        f.write_str(&text)
    }
}

/// Writes everything but unreserved characters as `%XX`.
pub(super) fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn decode(text: &str) -> Result<String, &'static str> {
    const BAD: &str =
        "a percent sign has two hexadecimal digits behind it, and what they say is UTF-8";
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = rest
            .get(..2)
            .filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let digits = digits
            .and_then(|two| std::str::from_utf8(two).ok())
            .ok_or(BAD)?;
        out.push(u8::from_str_radix(digits, 16).map_err(|_| BAD)?);
        rest = &rest[2..];
    }
    String::from_utf8(out).map_err(|_| BAD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> ConsulService {
        text.parse().unwrap()
    }

    #[test]
    fn short_and_long_names_say_the_same() {
        let plain = ConsulService::new(None, "payment");
        for text in [
            "payment",
            "/payment",
            "consul:///payment",
            "consul://payment?",
        ] {
            assert_eq!(parsed(text), plain, "{text}");
        }
        let far = ConsulService::new(Some("dc1".into()), "payment");
        assert_eq!(parsed("dc1/payment"), far);
        assert_eq!(parsed("consul://dc1/payment?passing=only&scheme=http"), far);
    }

    #[test]
    fn every_key_is_asked_for() {
        let service = parsed(
            "consul://dc1/a%2Fb?tag=v2&tag=eu&filter=Node.Meta.x+%3D%3D+%22y%22&near=_agent&ns=n&partition=p&passing=warning&scheme=https",
        );
        assert_eq!(service.policy, CheckPolicy::Warning);
        assert!(service.tls);
        assert_eq!(
            service.target(7, Duration::from_secs(2)),
            "/v1/health/service/a%2Fb?index=7&wait=2000ms&dc=dc1&filter=Node.Meta.x%20%3D%3D%20%22y%22\
             &near=_agent&ns=n&partition=p&tag=v2&tag=eu"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "",
            "dc1/",
            "a/b/c",
            "x?tag",
            "x?color=red",
            "x?passing=no",
            "x%2",
            "x%zz",
            "%ff",
        ] {
            assert!(text.parse::<ConsulService>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            datacentre in proptest::option::of(".{1,8}"),
            service in ".{1,8}",
            tags in proptest::collection::vec(".{0,8}", 0..3),
            filter in proptest::option::of(".{0,12}"),
            tls: bool,
        ) {
            let service = ConsulService { tags, filter, tls, ..ConsulService::new(datacentre, service) };
            prop_assert_eq!(parsed(&service.to_string()), service);
        }

        #[test]
        fn reading_never_panics(text in ".{0,40}") {
            let _ = text.parse::<ConsulService>();
        }
    }
}
