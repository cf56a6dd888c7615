//! TLS with clients.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Period, StatusNumber};

/// TLS with clients, for all listeners. A change needs a restart, except of the versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The newest version that is spoken.
    pub max_version: TlsVersion,
    /// Refuses clients that name no host, or one that no site has, whatever certificates there are; and answers 421 to
    /// HTTP/1.1 requests too whose host the certificate does not cover.
    pub strict_sni: bool,
    /// The host whose certificate is shown to clients that name none, or one without a certificate. By default the former
    /// get the one that `[certificates]` has for them, if any, and the latter are refused.
    pub default_name: Option<String>,
    /// How clients that come back are spared most of the handshake.
    pub resumption: Resumption,
    /// With `"tickets"`: files with a secret that all edges of a fleet have in common, so that a client resumes its
    /// session on any of them. At least 32 bytes each; their keys follow from it and the time. The first one's are given
    /// out, those of the others still taken. Read again when they change. By default every process makes keys of its own.
    pub ticket_secrets: Vec<PathBuf>,
    /// How long tickets are given out with one key, 1 minute to 3 days; they are taken twice as long.
    pub ticket_rotation: Period,
    /// With `"stateful"`: sessions that are remembered, 1 to 10000000.
    pub sessions: u32,
}

/// How clients that come back are spared most of the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resumption {
    /// Clients keep their sessions, encrypted with a key that only the server has.
    #[default]
    Tickets,
    /// This process remembers sessions: nothing of them leaves it, and all workers share one table.
    Stateful,
    /// Every handshake is a full one.
    Off,
}

/// A version of TLS.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// What clients of a site have to do with TLS. What is not given here is as in `[tls]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SiteTlsConfig {
    /// The oldest version that is spoken.
    pub min_version: Option<TlsVersion>,
    /// The newest version that is spoken.
    pub max_version: Option<TlsVersion>,
    /// Whether HTTP/2 is offered (ALPN), on listeners that have it. By default it is.
    pub http2: Option<bool>,
    /// Sends requests that come without TLS to the same address with it, by this status: 301, 302, 307 or 308. Requests
    /// for `/.well-known/acme-challenge/` are served. By default both are served alike.
    pub redirect: Option<StatusNumber>,
    /// The port that `redirect` sends to. By default 443.
    pub redirect_port: Option<u16>,
    /// Tells browsers to come with TLS only (`Strict-Transport-Security`), in every response over TLS.
    pub hsts: Option<HstsConfig>,
    /// Asks clients for a certificate.
    pub client_auth: Option<ClientAuthConfig>,
}

/// Tells browsers to come with TLS only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HstsConfig {
    /// How long they remember; whole seconds. `"0s"` makes them forget.
    pub max_age: Period,
    /// For all hosts below the site's as well.
    pub include_subdomains: bool,
    /// Asks to be in the list that browsers bring along. Needs `include_subdomains` and a `max_age` of at least a year.
    pub preload: bool,
}

/// Asks clients for a certificate, which counts only for requests on the very connection that it was verified on. Others
/// over TLS are answered 421; without TLS the answer is 403 where a certificate is required.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientAuthConfig {
    /// A PEM file of the only authorities believed. Relative paths start at the configuration file. Read again when it
    /// changes.
    pub ca: PathBuf,
    /// PEM files of the authorities' lists of revoked certificates. Read again when they change. By default revocation is
    /// not looked at.
    #[serde(default)]
    pub crl: Vec<PathBuf>,
    /// With `crl`: whether a certificate is believed whose authority has no list, or one that is too old.
    #[serde(default)]
    pub allow_unknown_revocation: bool,
    /// Whether clients must have one.
    #[serde(default)]
    pub mode: ClientAuthMode,
    /// What the origin is told of the certificate, each in a field of its own: `"certificate"` (`Client-Cert`), `"chain"`
    /// (`Client-Cert-Chain`), `"subject"`, `"issuer"`, `"names"`, `"serial"` and `"fingerprint"` (`X-Client-Cert-Subject` and so
    /// on). What clients say in these fields themselves is always taken away.
    #[serde(default = "certificate")]
    pub pass: Vec<ClientCertField>,
}

/// Whether clients must have a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClientAuthMode {
    /// Who has none gets no connection.
    #[default]
    Required,
    /// Who has none is served all the same; one that is not valid is refused.
    Optional,
}

/// What origins can be told of a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClientCertField {
    /// `Client-Cert`: the certificate itself (RFC 9440).
    Certificate,
    /// `Client-Cert-Chain`: what it was sent with (RFC 9440).
    Chain,
    /// `X-Client-Cert-Subject`: its subject (RFC 4514).
    Subject,
    /// `X-Client-Cert-Issuer`: its issuer (RFC 4514).
    Issuer,
    /// `X-Client-Cert-Names`: its alternative names, such as `dns:a.example, uri:spiffe://a/b, email:a@b.example`.
    Names,
    /// `X-Client-Cert-Serial`: its serial number, hexadecimal.
    Serial,
    /// `X-Client-Cert-Fingerprint`: its SHA-256, hexadecimal.
    Fingerprint,
}

// === defaults ===

fn certificate() -> Vec<ClientCertField> {
    vec![ClientCertField::Certificate]
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            strict_sni: false,
            default_name: None,
            resumption: Resumption::default(),
            ticket_secrets: Vec::new(),
            ticket_rotation: Period::secs(6 * 60 * 60),
            sessions: 20_000,
        }
    }
}

impl Default for HstsConfig {
    fn default() -> Self {
        Self {
            max_age: Period::secs(365 * 24 * 60 * 60),
            include_subdomains: false,
            preload: false,
        }
    }
}
