//! Backends with records under keys: addresses, and what goes together.

use std::path::PathBuf;

use crate::config::faults::Faults;
use crate::config::model::{Config, RedisMode};

/// What the tables have in common.
struct Backend<'a> {
    at: &'static str,
    addresses: &'a [String],
    example: &'static str,
    login: [bool; 3],
    files: [&'a Option<PathBuf>; 3],
    is_tls: bool,
}

pub(super) fn discovery(config: &Config, faults: &mut Faults) {
    let etcd = &config.discovery.etcd;
    Backend {
        at: "discovery.etcd",
        addresses: &etcd.addresses,
        example: "10.0.0.1:2379",
        login: [
            etcd.password.is_some(),
            etcd.password_file.is_some(),
            etcd.user.is_some(),
        ],
        files: [&etcd.ca, &etcd.certificate, &etcd.key],
        is_tls: etcd.tls,
    }
    .check(faults);
    if etcd.user.is_none() && (etcd.password.is_some() || etcd.password_file.is_some()) {
        faults.error("discovery.etcd", None, "a password needs a `user`");
    }
    let redis = &config.discovery.redis;
    Backend {
        at: "discovery.redis",
        addresses: &redis.addresses,
        example: "10.0.0.5:6379",
        login: [
            redis.password.is_some(),
            redis.password_file.is_some(),
            redis.user.is_some(),
        ],
        files: [&redis.ca, &redis.certificate, &redis.key],
        is_tls: redis.tls,
    }
    .check(faults);
    mode(config, faults);
}

fn mode(config: &Config, faults: &mut Faults) {
    let redis = &config.discovery.redis;
    if (redis.mode == RedisMode::Sentinel) != redis.master.is_some() {
        let message = "`mode = \"sentinel\"` and `master` go together";
        faults.error("discovery.redis", None, message);
    }
    if redis.mode == RedisMode::Cluster && redis.database != 0 {
        let message = "a cluster has the database 0 only";
        let value = Some(redis.database.to_string());
        faults.error("discovery.redis.database", value, message);
    }
}

// === impl Backend ===

impl Backend<'_> {
    fn check(&self, faults: &mut Faults) {
        let at = self.at;
        self.addresses(faults);
        let [password, file, user] = self.login;
        if password && file {
            let message = "either `password` or `password_file`, not both";
            faults.error(format!("{at}.password_file"), None, message);
        }
        if user && !password && !file {
            let message = "a `user` needs `password_file` or `password`";
            faults.error(format!("{at}.user"), None, message);
        }
        let [ca, certificate, key] = self.files;
        if certificate.is_some() != key.is_some() {
            faults.error(at, None, "`certificate` and `key` go together");
        }
        if !self.is_tls && (ca.is_some() || certificate.is_some()) {
            let message = "`ca` and `certificate` are for `tls = true`";
            faults.error(format!("{at}.tls"), None, message);
        }
    }

    fn addresses(&self, faults: &mut Faults) {
        let place = format!("{}.addresses", self.at);
        if self.addresses.is_empty() {
            let message = format!("at least one is needed, such as \"{}\"", self.example);
            faults.error(place.clone(), None, message);
        }
        for address in self.addresses.iter().filter(|address| !is_address(address)) {
            let message = format!(
                "{address} is no address: \"host:port\" is allowed, such as \"{}\"",
                self.example
            );
            faults.error(place.clone(), Some(address.clone()), message);
        }
    }
}

fn is_address(text: &str) -> bool {
    let Ok(authority) = text.parse::<http::uri::Authority>() else {
        return false;
    };
    // `Authority::port` tells nothing of a port that is too large, as if none were written.
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_end = |rest: &str| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    let host = authority.host();
    !host.is_empty() && text.strip_prefix(host).is_some_and(is_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;

    fn told(text: &str) -> String {
        let (config, _) = Config::parse(text, Format::Toml).unwrap();
        let mut faults = Faults::default();
        discovery(&config, &mut faults);
        let told = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.path, fault.message));
        told.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_goes_together_is_told() {
        for (text, wanted) in [
            ("etcd.addresses = []", "etcd.addresses: at least one"),
            (
                "etcd.addresses = ['http://a:1']",
                "http://a:1 is no address",
            ),
            (
                "redis.addresses = ['a:0']",
                "redis.addresses: a:0 is no address",
            ),
            (
                "redis.addresses = ['a:65536']",
                "redis.addresses: a:65536 is no address",
            ),
            ("etcd.password = 'x'", "needs a `user`"),
            ("etcd.user = 'x'", "needs `password_file`"),
            (
                "redis = { password = 'x', password_file = 'y' }",
                "not both",
            ),
            ("redis = { tls = true, key = 'x' }", "go together"),
            ("redis.ca = 'x'", "redis.tls: `ca`"),
            ("redis.mode = 'sentinel'", "and `master` go together"),
            ("redis.master = 'x'", "and `master` go together"),
            (
                "redis = { mode = 'cluster', database = 1 }",
                "database 0 only",
            ),
        ] {
            let told = told(&format!("[discovery]\n{text}"));
            assert!(told.contains(wanted), "{text}: {told}");
            assert!(told.starts_with("discovery."), "{told}");
        }
        let fine = "[discovery]\netcd = { addresses = ['a', '[::1]:1'], user = 'u', password = 'p' }\n\
                    redis = { mode = 'sentinel', master = 'm', password = 'p', tls = true, ca = 'x' }";
        assert_eq!(told(fine), "");
    }
}
