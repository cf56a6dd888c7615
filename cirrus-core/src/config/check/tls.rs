//! TLS with clients: values that belong together, and files that can be used.

use std::collections::HashSet;
use std::path::Path;

use crate::config::faults::Faults;
use crate::config::model::{Config, HstsConfig, SiteTlsConfig, TlsConfig, TlsVersion};
use crate::config::value::{Period, StatusNumber};
use crate::downstream::ServerName;
use crate::downstream::tls::{check_auth, check_secret};

/// A year: what browsers' makers ask for.
const YEAR: Period = Period::secs(365 * 24 * 60 * 60);

/// Checks the table `[tls]`.
pub(super) fn tls(tls: &TlsConfig, faults: &mut Faults) {
    versions(tls.min_version, tls.max_version, "tls", faults);
    if let Some(name) = &tls.default_name
        && ServerName::new(name).is_none()
    {
        let message = "not a host name, such as \"www.shop.example\"";
        faults.error("tls.default_name", Some(name.clone()), message);
    }
    for (index, file) in tls.ticket_secrets.iter().enumerate() {
        if let Err(bad) = check_secret(file) {
            let path = format!("tls.ticket_secrets[{index}]");
            faults.error(path, Some(shown(file)), format!("the file {}", bad.why));
        }
    }
}

/// Checks the table of a site that stands at `path`.
pub(super) fn site_tls(own: &SiteTlsConfig, tls: &TlsConfig, path: &str, faults: &mut Faults) {
    let (min, max) = (own.min_version, own.max_version);
    if min.is_some() || max.is_some() {
        let (min, max) = (
            min.unwrap_or(tls.min_version),
            max.unwrap_or(tls.max_version),
        );
        versions(min, max, path, faults);
    }
    if let Some(status) = own.redirect
        && ![301, 302, 307, 308].map(StatusNumber).contains(&status)
    {
        let message = "not a redirect that keeps clients: 301, 302, 307 and 308 are allowed";
        faults.error(
            format!("{path}.redirect"),
            Some(status.to_string()),
            message,
        );
    }
    if own.redirect.is_none()
        && let Some(port) = own.redirect_port
    {
        let message = "of no use without `redirect`";
        faults.error(
            format!("{path}.redirect_port"),
            Some(port.to_string()),
            message,
        );
    }
    if let Some(own) = &own.hsts {
        hsts(own, &format!("{path}.hsts"), faults);
    }
    let Some(auth) = &own.client_auth else { return };
    if let Err(bad) = check_auth(auth) {
        let field = format!("{path}.client_auth.{}", bad.key);
        faults.error(
            field,
            Some(shown(&bad.file)),
            format!("the file {}", bad.why),
        );
    }
}

/// Checks the tables `[[passthrough]]`: each name once, and clusters that there are.
pub(super) fn passthrough(config: &Config, names: &HashSet<&str>, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (index, one) in config.passthrough.iter().enumerate() {
        let path = format!("passthrough[{index}]");
        if one.names.is_empty() {
            faults.error(format!("{path}.names"), None, "at least one name is needed");
        }
        if !names.contains(&*one.cluster) {
            let message = "there is no such cluster: define it as `[[cluster]]`";
            faults.error(
                format!("{path}.cluster"),
                Some(one.cluster.clone()),
                message,
            );
        }
        for (number, name) in one.names.iter().enumerate() {
            if !seen.insert(name) {
                let message = "this name stands above already; each can stand once";
                let path = format!("{path}.names[{number}]");
                faults.error(path, Some(name.to_string()), message);
            }
        }
    }
}

fn versions(min: TlsVersion, max: TlsVersion, path: &str, faults: &mut Faults) {
    if min > max {
        let message = "newer than `max_version`: no version is left";
        faults.error(format!("{path}.min_version"), None, message);
    }
}

fn hsts(hsts: &HstsConfig, path: &str, faults: &mut Faults) {
    if hsts.preload && (!hsts.include_subdomains || hsts.max_age < YEAR) {
        let message = "the lists of browsers take only those with `include_subdomains` and a `max_age` of at least \"365d\"";
        faults.error(format!("{path}.preload"), Some("true".to_owned()), message);
    }
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

#[cfg(test)]
mod tests {
    use crate::config::{Abilities, Config, Format, check};
    use crate::testing::certs;

    fn faults(global: &str, site: &str) -> String {
        let text = format!(
            "{global}\n[[site]]\nhosts = [\"a.example\"]\ntls = {{ {site} }}\nroute = [{{ respond = {{}} }}]\n"
        );
        match Config::parse(&text, Format::Toml) {
            Ok((config, _)) => check(&config, Abilities::default()).to_string(),
            Err(faults) => faults.to_string(),
        }
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (short, ca) = (
            file("short", "secret"),
            file("ca", certs::Authority::new().pem()),
        );
        let auth =
            |ca: &str, crl: &str| format!("client_auth = {{ ca = \"{ca}\", crl = [{crl}] }}");
        assert_eq!(faults("", &auth(&ca, "")), "");
        for (global, site, fault) in [
            (
                "[tls]\nmin_version = \"1.3\"\nmax_version = \"1.2\"",
                "",
                "tls.min_version: newer",
            ),
            ("[tls]\nmin_version = \"1.1\"", "", "1.1"),
            (
                "[tls]\nmin_version = \"1.3\"",
                "max_version = \"1.2\"",
                "no version is left",
            ),
            ("[tls]\ndefault_name = \"a b\"", "", "not a host name"),
            ("[tls]\nticket_rotation = \"5s\"", "", "out of range"),
            (
                &format!("[tls]\nticket_secrets = [\"{short}\"]"),
                "",
                "at least 32 are needed",
            ),
            ("", "redirect = 303", "301, 302, 307 and 308"),
            ("", "redirect_port = 8443", "of no use without"),
            ("", "hsts = { preload = true }", "include_subdomains"),
            ("", &auth("/nowhere", ""), "client_auth.ca"),
            ("", &auth(&short, ""), "has no certificate"),
            (
                "",
                &auth(&ca, &format!("\"{short}\"")),
                "has no list of revoked",
            ),
            (
                "[[passthrough]]\nnames = [\"a\"]\ncluster = \"b\"",
                "",
                "no such cluster",
            ),
        ] {
            let told = faults(global, site);
            assert!(told.contains(fault), "{global} {site}: {told}");
        }
    }
}
