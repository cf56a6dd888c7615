//! What must hold of `[certificates.acme]`.

use crate::config::faults::Faults;
use crate::config::model::{AcmeCertificateConfig, AcmeChallenge, AcmeConfig, AcmeDnsConfig};
use crate::downstream::ServerName;

const AT: &str = "certificates.acme";

pub(super) fn acme(config: Option<&AcmeConfig>, faults: &mut Faults) {
    let Some(config) = config else { return };
    if !config.agree_to_terms {
        let message =
            "authorities want you to agree to their terms of service: say `agree_to_terms = true`";
        faults.error(format!("{AT}.agree_to_terms"), None, message.to_owned());
    }
    numbers(config, faults);
    for (index, one) in config.certificate.iter().enumerate() {
        certificate(config, one, &format!("{AT}.certificate[{index}]"), faults);
    }
    unique(config, faults);
    for (index, one) in config.authority.iter().enumerate() {
        let at = format!("{AT}.authority[{index}]");
        if one.name.is_empty() {
            faults.error(format!("{at}.name"), None, "it needs a name".to_owned());
        }
        if !one.url.starts_with("https://") {
            let message = "the URL of the directory is needed: https://…".to_owned();
            faults.error(format!("{at}.url"), Some(one.url.clone()), message);
        }
        if one.binding_id.is_some() != one.binding_key_file.is_some() {
            let message = "`binding_id` and `binding_key_file` go together".to_owned();
            faults.error(format!("{at}.binding_id"), one.binding_id.clone(), message);
        }
    }
    if config
        .redis
        .as_ref()
        .is_some_and(|redis| redis.url.is_none())
    {
        let message = "it needs `url`".to_owned();
        faults.error(format!("{AT}.redis.url"), None, message);
    }
    if let Some(dns) = &config.dns {
        self::dns(dns, faults);
    }
    on_demand(config, faults);
}

fn numbers(config: &AcmeConfig, faults: &mut Faults) {
    for (key, value, most) in [
        ("in_flight", config.in_flight, 100),
        ("memory", config.memory, 1_000_000),
    ] {
        if !(1..=most).contains(&value) {
            let message = format!("1 to {most} are allowed");
            faults.error(format!("{AT}.{key}"), Some(value.to_string()), message);
        }
    }
    if std::time::Duration::from(config.renew_before).as_secs() < 3600 {
        let value = Some(config.renew_before.to_string());
        faults.error(
            format!("{AT}.renew_before"),
            value,
            "at least 1h is allowed".to_owned(),
        );
    }
}

fn certificate(config: &AcmeConfig, one: &AcmeCertificateConfig, at: &str, faults: &mut Faults) {
    let challenge = one.challenge.unwrap_or(config.challenge);
    let at = format!("{at}.names");
    if one.names.is_empty() {
        faults.error(&at, None, "at least one name is needed".to_owned());
    }
    if challenge == AcmeChallenge::Dns01 && config.dns.is_none() {
        let message = format!("`dns-01` needs `[{AT}.dns]`");
        faults.error(&at, one.names.first().cloned(), message);
    }
    for name in &one.names {
        let host = name.strip_prefix("*.").unwrap_or(name);
        let message = match () {
            () if ServerName::new(host).is_none() => {
                "not a DNS name, with or without `*.` in front"
            }
            () if host != name && challenge != AcmeChallenge::Dns01 => {
                "authorities give wildcards by `dns-01` only"
            }
            () => continue,
        };
        faults.error(&at, Some(name.clone()), message.to_owned());
    }
}

/// What is stored under a name can be only one of them.
fn unique(config: &AcmeConfig, faults: &mut Faults) {
    let mut seen = std::collections::HashSet::new();
    for (index, one) in config.certificate.iter().enumerate() {
        let first = one.names.first().map(|name| name.to_ascii_lowercase());
        if let Some(first) = first.filter(|first| !seen.insert(first.clone())) {
            let at = format!("{AT}.certificate[{index}].names");
            let message = "another certificate has the same first name: put all names into one";
            faults.error(at, Some(first), message.to_owned());
        }
    }
}

fn dns(dns: &AcmeDnsConfig, faults: &mut Faults) {
    let at = format!("{AT}.dns");
    let ways = [
        dns.acme_dns.is_some(),
        dns.update.is_some(),
        dns.script.is_some(),
    ];
    if ways.into_iter().filter(|way| *way).count() != 1 {
        let message = "one of `acme_dns`, `update` and `script` is needed".to_owned();
        faults.error(&at, None, message);
    }
    if dns.key.is_some() != dns.key_file.is_some() {
        let message = "`key` and `key_file` go together".to_owned();
        faults.error(format!("{at}.key"), dns.key.clone(), message);
    }
    if !["hmac-sha256", "hmac-sha384", "hmac-sha512"].contains(&dns.algorithm.as_str()) {
        let message = "hmac-sha256, hmac-sha384 and hmac-sha512 are allowed".to_owned();
        faults.error(
            format!("{at}.algorithm"),
            Some(dns.algorithm.clone()),
            message,
        );
    }
}

fn on_demand(config: &AcmeConfig, faults: &mut Faults) {
    let Some(on_demand) = &config.on_demand else {
        return;
    };
    let at = format!("{AT}.on_demand");
    if on_demand.allow.is_empty() && on_demand.ask.is_none() {
        let message =
            "without `allow` or `ask` anybody could have certificates ordered: give one of them";
        faults.error(&at, None, message.to_owned());
    }
    if config.challenge == AcmeChallenge::Dns01 && config.dns.is_none() {
        faults.error(&at, None, format!("`dns-01` needs `[{AT}.dns]`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "agree_to_terms = true\ncertificate = [{ names = [\"a.example\"] }]\n";

    /// The places of what is wrong with `[certificates.acme]`.
    fn faults(text: &str) -> Vec<String> {
        let config: AcmeConfig = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        acme(Some(&config), &mut faults);
        let places = faults.iter().map(|fault| fault.path.to_string());
        places
            .map(|place| place.trim_start_matches("certificates.acme.").to_owned())
            .collect()
    }

    #[test]
    fn each_fault_has_its_place() {
        assert_eq!(faults(GOOD), [""; 0]);
        for (wrong, place) in [
            ("in_flight = 0", "in_flight"),
            ("in_flight = 101", "in_flight"),
            ("memory = 0", "memory"),
            ("renew_before = \"59m\"", "renew_before"),
            ("redis = {}", "redis.url"),
            ("dns = {}", "dns"),
            ("dns = { script = \"a\", acme_dns = \"http://a\" }", "dns"),
            ("dns = { script = \"a\", key = \"k\" }", "dns.key"),
            (
                "dns = { script = \"a\", algorithm = \"md5\" }",
                "dns.algorithm",
            ),
            ("on_demand = {}", "on_demand"),
            (
                "authority = [{ name = \"a\", url = \"http://a\" }]",
                "authority[0].url",
            ),
            ("authority = [{ url = \"https://a\" }]", "authority[0].name"),
            (
                "authority = [{ name = \"a\", url = \"https://a\", binding_id = \"b\" }]",
                "authority[0].binding_id",
            ),
        ] {
            assert_eq!(faults(&format!("{GOOD}{wrong}")), [place], "{wrong}");
        }
        assert_eq!(faults(""), ["agree_to_terms"]);
    }

    #[test]
    fn names_are_those_that_authorities_give() {
        let of = |names: &str| {
            let certificate = format!("certificate = [{names}]");
            faults(&format!("agree_to_terms = true\n{certificate}"))
        };
        let at = |index: usize| format!("certificate[{index}].names");
        assert_eq!(of("{ names = [] }"), [at(0)]);
        assert_eq!(of("{ names = [\"a b\"] }"), [at(0)]);
        assert_eq!(of("{ names = [\"10.0.0.1\"] }"), [at(0)]);
        assert_eq!(of("{ names = [\"*.a.example\"] }"), [at(0)], "by HTTP-01");
        let by_dns = "{ names = [\"*.a.example\"], challenge = \"dns-01\" }";
        assert_eq!(of(by_dns), [at(0)], "nobody writes the record");
        let twice = "{ names = [\"a.example\"] }, { names = [\"A.example\", \"b.example\"] }";
        assert_eq!(of(twice), [at(1)]);
    }
}
