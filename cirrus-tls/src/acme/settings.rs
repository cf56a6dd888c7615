//! What is wanted: certificates, authorities, and how to get the one from the other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cirrus_core::BoxError;

use super::dns::DnsSolver;

/// An authority that issues certificates by ACME.
#[derive(Clone)]
#[non_exhaustive]
pub struct Authority {
    /// What it is called in records, logs and metrics.
    pub name: String,
    /// The URL of its directory.
    pub directory: String,
    /// The only roots believed for its own TLS, PEM. By default the system's.
    pub roots: Option<Vec<u8>>,
    /// An account that one has with it already (external account binding): key id and HMAC key.
    pub binding: Option<(String, Vec<u8>)>,
    /// The profile asked for, if a certificate names none. By default the authority's choice.
    pub profile: Option<String>,
}

/// A certificate that is to be there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wanted {
    /// The names in it, lower-case; the first is what it is stored under. `*.` in front needs DNS-01.
    pub names: Vec<String>,
    /// How control over the names is shown.
    pub challenge: Challenge,
    /// The profile asked for. By default the authority's entry decides.
    pub profile: Option<String>,
}

/// How control over a name is shown (RFC 8555 §8, RFC 8737).
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Challenge {
    /// A file on port 80, which any edge that shares the store answers.
    #[default]
    Http01,
    /// A certificate on port 443, which any edge that shares the store answers.
    TlsAlpn01,
    /// A TXT record, written by this.
    Dns01(Arc<dyn DnsSolver>),
}

/// When certificates are renewed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Renewal {
    /// This long before they end, or when a third of their life is left, whichever is later. The authority's own wish
    /// (RFC 9773) goes before both. Default: 30 days.
    pub before: Duration,
    /// Orders at the same time. Default: 4.
    pub in_flight: usize,
    /// The longest time for one order. Default: 5 minutes.
    pub limit: Duration,
    /// The same key again and again; otherwise each certificate has its own. Default: `false`.
    pub reuse_key: bool,
}

/// The HMAC key of an account that one has already, from base64url as authorities give it, with or without padding.
///
/// # Errors
///
/// It is not base64url.
pub fn binding_key(text: &str) -> Result<Vec<u8>, BoxError> {
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    key.map_err(|error| format!("the key is not base64url: {error}").into())
}

// === impl Authority ===

impl Authority {
    /// The one whose directory is there, believed by the system's roots.
    #[must_use]
    pub fn new(name: impl Into<String>, directory: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            directory: directory.into(),
            roots: None,
            binding: None,
            profile: None,
        }
    }

    /// Let's Encrypt.
    #[must_use]
    pub fn lets_encrypt() -> Self {
        let directory = instant_acme::LetsEncrypt::Production.url();
        Self::new("letsencrypt", directory)
    }

    /// Its TLS is believed by these roots (PEM) and no others.
    #[must_use]
    pub fn with_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// With an account that one has with it already.
    #[must_use]
    pub fn with_binding(mut self, id: impl Into<String>, key: impl Into<Vec<u8>>) -> Self {
        self.binding = Some((id.into(), key.into()));
        self
    }

    /// Asks for this profile.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }
}

impl fmt::Debug for Authority {
    /// Never shows the key of the binding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("name", &self.name)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

// === impl Wanted ===

impl Wanted {
    /// One certificate for all of these names, by HTTP-01.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let lower = |name: String| name.to_ascii_lowercase();
        Self {
            names: names.into_iter().map(|name| lower(name.into())).collect(),
            challenge: Challenge::default(),
            profile: None,
        }
    }

    /// Shows control this way.
    #[must_use]
    pub fn by(mut self, challenge: Challenge) -> Self {
        self.challenge = challenge;
        self
    }

    /// Asks for this profile.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }

    /// What it is stored under.
    #[must_use]
    pub fn id(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

// === impl Challenge ===

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01(_) => "dns-01",
        })
    }
}

// === impl Renewal ===

impl Default for Renewal {
    fn default() -> Self {
        Self {
            before: Duration::from_secs(30 * 24 * 60 * 60),
            in_flight: 4,
            limit: Duration::from_secs(5 * 60),
            reuse_key: false,
        }
    }
}
