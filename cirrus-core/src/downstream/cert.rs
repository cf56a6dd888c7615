//! The trait for server certificates.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::manage::{CertDone, CertReport, CertTask, ManageError};
use crate::clock::Timestamp;

/// Supplies server certificates.
///
/// `cirrus_core::testing::cert_provider_suite!` checks a backend against this contract.
#[async_trait]
pub trait CertProvider: Send + Sync + 'static {
    /// Answers a ClientHello from memory, on every handshake: no lock that others hold for long, no I/O.
    fn lookup(&self, hello: &Hello<'_>) -> Lookup;

    /// Fetches what [`lookup`](Self::lookup) called cold.
    ///
    /// The engine calls it once per name at a time, with a time limit, and lets it outlive the client that asked.
    /// What it returns is also what later lookups find.
    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError>;

    /// Renews, reloads, evicts; runs beside the listeners until they end.
    async fn maintain(&self) {
        std::future::pending::<()>().await;
    }

    /// What to answer to `GET /.well-known/acme-challenge/{token}` (RFC 8555 §8.3). `None`, the default, leaves the request
    /// to its route.
    async fn http_challenge(&self, token: &str) -> Option<String> {
        let _ = token;
        None
    }

    /// What to show to a client that offers nothing but `acme-tls/1` (RFC 8737). `None`, the default, refuses it.
    async fn alpn_challenge(&self, name: &ServerName) -> Option<Arc<CertifiedKey>> {
        let _ = name;
        None
    }

    /// How the certificates are doing that are in memory or wanted; asked for with each scrape of metrics, so without I/O.
    /// By default nothing is told.
    fn reports(&self) -> Vec<CertReport> {
        Vec::new()
    }

    /// Does what an operator wants; that may take minutes. By default nothing is done.
    async fn manage(&self, task: &CertTask) -> Result<CertDone, ManageError> {
        let _ = task;
        Err(ManageError::Unsupported)
    }
}

#[async_trait]
impl<P: CertProvider + ?Sized> CertProvider for Arc<P> {
    fn lookup(&self, hello: &Hello<'_>) -> Lookup {
        (**self).lookup(hello)
    }

    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        (**self).load(name).await
    }

    async fn maintain(&self) {
        (**self).maintain().await;
    }

    async fn http_challenge(&self, token: &str) -> Option<String> {
        (**self).http_challenge(token).await
    }

    async fn alpn_challenge(&self, name: &ServerName) -> Option<Arc<CertifiedKey>> {
        (**self).alpn_challenge(name).await
    }

    fn reports(&self) -> Vec<CertReport> {
        (**self).reports()
    }

    async fn manage(&self, task: &CertTask) -> Result<CertDone, ManageError> {
        (**self).manage(task).await
    }
}

/// What a client says before it gets a certificate.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Hello<'a> {
    /// The name it asks for (SNI), lower-case; `None` if it names none, or no valid DNS name.
    pub name: Option<&'a ServerName>,
    /// The signatures it can verify; `None` if that is not known.
    pub schemes: Option<&'a [SignatureScheme]>,
}

/// What a provider knows at once.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// This one.
    Found(Arc<Certificate>),
    /// Not in memory; [`CertProvider::load`] may get it.
    Cold(ServerName),
    /// Nothing is served under this name.
    Unknown,
}

/// A DNS name, lower-case, without a trailing dot. Never empty, never an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(Arc<str>);

/// One record of chain and key: they can never be half updated.
#[derive(Clone)]
#[non_exhaustive]
pub struct Certificate {
    /// The chain and its key, as rustls takes them.
    pub key: Arc<CertifiedKey>,
    /// Names it is valid for, lower-case; `*.` for wildcards of one label.
    pub names: Arc<[Arc<str>]>,
    /// The end of its validity.
    pub not_after: Timestamp,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// There is none; the handshake is refused, and the answer remembered.
    #[error("there is no certificate for `{0}`")]
    NotFound(ServerName),
    /// There is one that cannot be used; an operator has to look.
    #[error("the certificate for `{name}` cannot be used: {reason}")]
    Invalid {
        /// The name asked for.
        name: ServerName,
        /// What is wrong with it.
        reason: String,
    },
    /// Cannot be told now; this handshake is refused, the next one asks again.
    #[error("the certificate for `{name}` cannot be fetched now")]
    Unavailable {
        /// The name asked for.
        name: ServerName,
        /// What failed.
        #[source]
        source: crate::BoxError,
    },
}

// === impl Hello ===

impl<'a> Hello<'a> {
    /// A client that asks for `name`.
    #[must_use]
    pub fn new(name: Option<&'a ServerName>) -> Self {
        Self {
            name,
            schemes: None,
        }
    }

    /// A client that can verify these signatures.
    #[must_use]
    pub fn with_schemes(mut self, schemes: &'a [SignatureScheme]) -> Self {
        self.schemes = Some(schemes);
        self
    }

    /// Whether the client can make use of a certificate with such a key.
    #[must_use]
    pub fn can_verify(&self, certificate: &Certificate) -> bool {
        self.schemes
            .is_none_or(|schemes| certificate.key.key.choose_scheme(schemes).is_some())
    }
}

// === impl ServerName ===

impl ServerName {
    /// Takes a DNS name in any case, with or without its last dot. `None` if it is not one.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match rustls::pki_types::ServerName::try_from(name.as_str()) {
            Ok(rustls::pki_types::ServerName::DnsName(_)) => Some(Self(name.into())),
            _ => None,
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Certificate ===

impl Certificate {
    /// A chain with its key, the names it is valid for, and the end of its validity.
    #[must_use]
    pub fn new(
        key: CertifiedKey,
        names: impl IntoIterator<Item = String>,
        not_after: Timestamp,
    ) -> Self {
        let names = names
            .into_iter()
            .map(|name| name.to_ascii_lowercase().into())
            .collect();
        Self {
            key: Arc::new(key),
            names,
            not_after,
        }
    }

    /// Its key is ECDSA or Ed25519: signing costs a fraction of what it does with RSA.
    #[must_use]
    pub fn is_elliptic(&self) -> bool {
        matches!(
            self.key.key.algorithm(),
            SignatureAlgorithm::ECDSA | SignatureAlgorithm::ED25519
        )
    }

    /// Whether it is valid for `host` (lower-case, without a port): exactly, or by a wildcard for one label
    /// (RFC 6125 §6.4.3).
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => **name == *host,
        })
    }
}

impl fmt::Debug for Certificate {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
