//! Certificates that are obtained and renewed by themselves.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Period, RedisUrl};

/// Certificates from authorities that speak ACME (RFC 8555), such as Let's Encrypt: obtained, renewed in time, and shared
/// by all edges with the same `redis`. A change needs a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AcmeConfig {
    /// Whether you agree to the terms of service of the authorities. Needed.
    pub agree_to_terms: bool,
    /// Where authorities may write to, such as `["mailto:admin@shop.example"]`.
    pub contact: Vec<String>,
    /// The directory for keys, certificates and accounts, which only the owner can read. Of one machine; with `redis` it is
    /// not used. Relative paths start at the configuration file.
    pub state: PathBuf,
    /// How control over names is shown, unless a certificate says otherwise.
    pub challenge: AcmeChallenge,
    /// This long before its end a certificate is renewed, or when a third of its life is left, whichever is later; at
    /// least 1 h. What the authority itself suggests (RFC 9773) goes before both.
    pub renew_before: Period,
    /// Certificates that are ordered at the same time, 1 to 100.
    pub in_flight: u32,
    /// Whether a renewed certificate has the same key.
    pub reuse_key: bool,
    /// Parsed certificates in memory, 1 to 1000000. Others are read when they are asked for.
    pub memory: u32,
    /// A Redis server instead of `state`, which edges share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<AcmeRedisConfig>,
    /// What writes records for `dns-01`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<AcmeDnsConfig>,
    /// Certificates for names when they are first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemandConfig>,
    /// The authorities, which are asked one after the other. By default Let's Encrypt.
    pub authority: Vec<AcmeAuthorityConfig>,
    /// The certificates that are obtained and renewed.
    pub certificate: Vec<AcmeCertificateConfig>,
}

/// How control over a name is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub enum AcmeChallenge {
    /// A file on port 80 (RFC 8555 §8.3). A listener without `tls` must be reachable there.
    #[default]
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate on port 443 (RFC 8737). A listener with `tls` must be reachable there.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A TXT record (RFC 8555 §8.4), written by what `dns` says. The only one for wildcards.
    #[serde(rename = "dns-01")]
    Dns01,
}

/// One certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AcmeCertificateConfig {
    /// The names in it; it is stored under the first. `*.` in front stands for one label. Needed: the hosts of sites are
    /// not taken by themselves.
    pub names: Vec<String>,
    /// How control over them is shown. By default as `challenge` above says.
    pub challenge: Option<AcmeChallenge>,
    /// The profile asked for, which is the authority's word for a kind of certificate, such as `"shortlived"`. By default
    /// the authority's entry decides.
    pub profile: Option<String>,
}

/// An authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AcmeAuthorityConfig {
    /// What it is called in logs and records. Needed.
    pub name: String,
    /// The URL of its directory, `https://`. Needed.
    pub url: String,
    /// A PEM file of the only roots believed for its TLS. By default the system's trusted roots.
    pub ca: Option<PathBuf>,
    /// The profile asked for. By default the authority's choice.
    pub profile: Option<String>,
    /// The id of an account that you have with it already (external account binding). Goes with `binding_key_file`.
    pub binding_id: Option<String>,
    /// A file with the HMAC key of that account, in base64url, as the authority gives it.
    pub binding_key_file: Option<PathBuf>,
}

/// A Redis server for certificates, in the keys `cdn:cert:NAME`, `cdn:acme:NAME`, `cdn:acmecertkey:NAME` and
/// `cdn:acmeacct:global`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AcmeRedisConfig {
    /// Where it answers, and how to log in; `rediss://` with TLS. Needed.
    pub url: Option<RedisUrl>,
    /// What the names of its keys begin with.
    pub prefix: String,
}

/// What writes TXT records: one of `acme_dns`, `update` and `script`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AcmeDnsConfig {
    /// The URL of an acme-dns server's API. Each domain gets an account there by itself; its owner has to make
    /// `_acme-challenge.DOMAIN` an alias (CNAME) of the account's name, which is told.
    pub acme_dns: Option<String>,
    /// The primary name server, which takes dynamic updates (RFC 2136): `"10.0.0.53:53"`.
    pub update: Option<SocketAddr>,
    /// The name of the key that updates are signed with (TSIG). Goes with `key_file`.
    pub key: Option<String>,
    /// A file with that key's secret, in base64. Relative paths start at the configuration file.
    pub key_file: Option<PathBuf>,
    /// Its algorithm: `"hmac-sha256"`, `"hmac-sha384"` or `"hmac-sha512"`.
    pub algorithm: String,
    /// A program that is run as `PROGRAM present NAME VALUE DOMAIN`, and later with `cleanup` in place of `present`. It has a
    /// minute. Relative paths start at the configuration file.
    pub script: Option<PathBuf>,
    /// Name servers that are asked for aliases and zones. By default those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// Name servers that must have a record before the authority looks. By default all of its zone.
    pub servers: Vec<SocketAddr>,
    /// The longest wait for these servers; with `"0s"` none of them is asked.
    pub wait: Period,
}

/// Certificates for names when they are first asked for; control is shown as `challenge` above says. Needs `allow`, `ask`, or
/// both: then both must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OnDemandConfig {
    /// Names that may have one: `["*.customers.example"]`; `*.` in front stands for one label or more.
    pub allow: Vec<String>,
    /// A URL that is asked with `?domain=NAME` behind it, and answers 200 if the name may have one.
    pub ask: Option<String>,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            agree_to_terms: false,
            contact: Vec::new(),
            state: "acme".into(),
            challenge: AcmeChallenge::default(),
            renew_before: Period::secs(30 * 24 * 60 * 60),
            in_flight: 4,
            reuse_key: false,
            memory: 10_000,
            redis: None,
            dns: None,
            on_demand: None,
            authority: Vec::new(),
            certificate: Vec::new(),
        }
    }
}

impl Default for AcmeRedisConfig {
    fn default() -> Self {
        Self {
            url: None,
            prefix: "cdn:".into(),
        }
    }
}

impl Default for AcmeDnsConfig {
    fn default() -> Self {
        Self {
            acme_dns: None,
            update: None,
            key: None,
            key_file: None,
            algorithm: "hmac-sha256".into(),
            script: None,
            resolvers: Vec::new(),
            servers: Vec::new(),
            wait: Period::secs(120),
        }
    }
}

// === impl AcmeConfig ===

impl AcmeConfig {
    /// The files it names.
    pub(in crate::config) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let authorities = self.authority.iter_mut();
        let of_authorities = authorities.flat_map(|one| [&mut one.ca, &mut one.binding_key_file]);
        let of_dns = self.dns.iter_mut();
        let of_dns = of_dns.flat_map(|dns| [&mut dns.key_file, &mut dns.script]);
        let optional = of_authorities.chain(of_dns).flatten();
        std::iter::once(&mut self.state).chain(optional)
    }
}
