//! A certificate with its key as one text, so that they can never be half updated.

use std::fmt;

use cirrus_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::pem::{Loaded, PemError};

/// A chain, its private key, and when they were issued.
///
/// Stored as JSON: `{"fullchain": PEM, "key": PEM, "issued_at": seconds since 1970}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CertRecord {
    /// The chain, PEM.
    #[serde(
        rename = "fullchain",
        alias = "chain",
        alias = "fullchain_pem",
        alias = "cert"
    )]
    pub chain: String,
    /// The private key, PEM.
    #[serde(alias = "private_key", alias = "privkey", alias = "key_pem")]
    pub key: String,
    /// When it was issued: seconds since 1970; 0 if nobody has written that down.
    #[serde(default, rename = "issued_at", alias = "issued")]
    pub issued: u64,
    /// The authority that issued it, by its name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// A record that cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is not JSON of this shape.
    #[error("it is no certificate record: {0}")]
    Shape(String),
    /// Chain and key are not fit to be served.
    #[error(transparent)]
    Pem(#[from] PemError),
}

// === impl CertRecord ===

impl CertRecord {
    /// Of a chain and its key, issued at `issued`.
    #[must_use]
    pub fn new(chain: impl Into<String>, key: impl Into<String>, issued: Timestamp) -> Self {
        Self {
            chain: chain.into(),
            key: key.into(),
            issued: issued.as_secs(),
            authority: None,
        }
    }

    /// By this authority.
    #[must_use]
    pub fn by(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// As it is stored.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Strings and a number: that cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what is stored, and what other programs have stored under the same keys.
    ///
    /// # Errors
    ///
    /// [`RecordError::Shape`]. Whether chain and key can be served is [`load`](Self::load)'s business.
    pub fn from_text(text: &str) -> Result<Self, RecordError> {
        serde_json::from_str(text).map_err(|error| RecordError::Shape(error.to_string()))
    }

    /// As the engine takes it.
    ///
    /// # Errors
    ///
    /// See [`Loaded::from_pem`].
    pub fn load(&self) -> Result<Loaded, RecordError> {
        Ok(Loaded::from_pem(
            self.chain.as_bytes(),
            self.key.as_bytes(),
        )?)
    }
}

impl fmt::Debug for CertRecord {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertRecord")
            .field("issued", &self.issued)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

// === impl RecordError ===

impl RecordError {
    pub(crate) fn stored(self, name: &str) -> StoreError {
        StoreError::Damaged {
            name: name.to_owned(),
            reason: self.to_string(),
        }
    }
}
