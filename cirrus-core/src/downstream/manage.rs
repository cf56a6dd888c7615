//! What operators are told about certificates, and have done with them.

use std::fmt;

use crate::BoxError;
use crate::clock::Timestamp;

/// How one certificate is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertReport {
    /// What tells it from the provider's others.
    pub name: String,
    /// The names in it; those that are wanted if there is none yet.
    pub names: Vec<String>,
    /// Where it comes from: `acme`, `directory`, …
    pub source: &'static str,
    /// The authority that issued it, if that is known.
    pub authority: Option<String>,
    /// The end of its validity; `None` if there is none, or it is not in memory.
    pub not_after: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// The last time that somebody tried to obtain it.
    pub last_attempt: Option<Timestamp>,
    /// What came of that, if nothing good.
    pub last_error: Option<String>,
    /// When it is tried to obtain the next one; `None` if nobody will.
    pub next_renewal: Option<Timestamp>,
}

/// What an operator wants.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertTask {
    /// Tells how the certificate is doing, with its chain.
    Show(String),
    /// The same, and its private key.
    Export(String),
    /// Obtains one certificate for these names now.
    Issue(Vec<String>),
    /// Obtains it anew, whether it is time or not.
    Renew(String),
    /// Keeps and serves this one.
    Import {
        /// The chain, PEM.
        chain: String,
        /// Its private key, PEM.
        key: String,
    },
    /// Has its authority revoke it.
    Revoke {
        /// Which one.
        name: String,
        /// Its key is known to others.
        compromised: bool,
    },
}

/// What came of a [`CertTask`].
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertDone {
    /// How the certificate is doing now.
    pub report: CertReport,
    /// Its chain, PEM: for `Show` and `Export`.
    pub chain: Option<String>,
    /// Its private key, PEM: for `Export` only.
    pub key: Option<String>,
}

/// Why a [`CertTask`] was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// No provider does that.
    #[error("no source of certificates here can do that: it takes `[certificates.acme]`")]
    Unsupported,
    /// There is no such certificate.
    #[error("there is no certificate `{0}` that this can be done with")]
    Unknown(String),
    /// What was given cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// It was tried, and failed.
    #[error("{0}")]
    Failed(BoxError),
}

// === impl CertReport ===

impl CertReport {
    /// Of a certificate that is served.
    #[must_use]
    pub fn new(name: impl Into<String>, source: &'static str) -> Self {
        Self {
            name: name.into(),
            source,
            ..Self::default()
        }
    }

    /// With what the certificate itself says.
    #[must_use]
    pub fn of(mut self, certificate: &super::Certificate) -> Self {
        self.names = certificate.names.iter().map(ToString::to_string).collect();
        self.not_after = Some(certificate.not_after);
        self
    }

    /// Days from `now` until `end`, with a fraction; less than 0 afterwards.
    pub(crate) fn days_left(end: Timestamp, now: Timestamp) -> f64 {
        const DAY: f64 = 24.0 * 60.0 * 60.0;
        (end.since(now).as_secs_f64() - now.since(end).as_secs_f64()) / DAY
    }
}

// === impl CertTask ===

impl fmt::Debug for CertTask {
    /// Never shows a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Show(name) => write!(f, "Show({name})"),
            Self::Export(name) => write!(f, "Export({name})"),
            Self::Issue(names) => write!(f, "Issue({names:?})"),
            Self::Renew(name) => write!(f, "Renew({name})"),
            Self::Import { .. } => f.write_str("Import"),
            Self::Revoke { name, .. } => write!(f, "Revoke({name})"),
        }
    }
}

// === impl CertDone ===

impl CertDone {
    /// How the certificate is doing, and no more.
    #[must_use]
    pub fn new(report: CertReport) -> Self {
        Self {
            report,
            ..Self::default()
        }
    }

    /// With the chain, PEM.
    #[must_use]
    pub fn with_chain(mut self, chain: impl Into<String>) -> Self {
        self.chain = Some(chain.into());
        self
    }

    /// With the private key, PEM.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl fmt::Debug for CertDone {
    /// Never shows a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertDone")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}
