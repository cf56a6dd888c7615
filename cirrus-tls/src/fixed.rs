//! One certificate that the program brings along.

use std::sync::Arc;

use async_trait::async_trait;
use cirrus_core::downstream::{
    CertError, CertProvider, CertReport, Certificate, Hello, Lookup, ServerName,
};
use cirrus_core::{Clock, SystemClock};

use crate::pem::{Loaded, PemError};

/// Serves one certificate under every name that it covers, and to clients that name no host.
#[derive(Clone, Debug)]
pub struct Fixed(Arc<Certificate>);

// === impl Fixed ===

impl Fixed {
    /// Serves `certificate`.
    #[must_use]
    pub fn new(certificate: Certificate) -> Self {
        Self(Arc::new(certificate))
    }

    /// Serves a chain and its key as they stand in PEM files. What is worth a warning is logged.
    ///
    /// # Errors
    ///
    /// See [`Loaded::from_pem`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PemError> {
        let loaded = Loaded::from_pem(chain, key)?;
        for warning in loaded.warnings(SystemClock.now()) {
            tracing::warn!(names = ?loaded.certificate.names, "{warning}");
        }
        Ok(Self(loaded.certificate))
    }
}

#[async_trait]
impl CertProvider for Fixed {
    fn lookup(&self, hello: &Hello<'_>) -> Lookup {
        match hello.name {
            Some(name) if !self.0.covers(name.as_str()) => Lookup::Unknown,
            _ => Lookup::Found(Arc::clone(&self.0)),
        }
    }

    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        match self.lookup(&Hello::new(Some(name))) {
            Lookup::Found(certificate) => Ok(certificate),
            Lookup::Cold(_) | Lookup::Unknown => Err(CertError::NotFound(name.clone())),
        }
    }

    fn reports(&self) -> Vec<CertReport> {
        let name = self.0.names.first().map_or("", |name| name);
        vec![CertReport::new(name, "fixed").of(&self.0)]
    }
}

#[cfg(test)]
mod tests {
    use cirrus_core::testing::{cert_provider_suite, certs};

    use super::*;

    cert_provider_suite!(fixed);

    #[test]
    fn serves_clients_that_name_no_host() {
        assert!(matches!(
            fixed().lookup(&Hello::new(None)),
            Lookup::Found(_)
        ));
    }

    #[test]
    fn refuses_what_cannot_be_served() {
        let error = Fixed::from_pem(b"", b"").unwrap_err();
        assert_eq!(error, PemError::NoCertificate);
    }

    fn fixed() -> Fixed {
        let pair = certs::for_names(&["known.example", "*.known.example"]);
        Fixed::from_pem(pair.chain_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap()
    }
}
