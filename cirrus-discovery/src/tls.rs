//! TLS to whoever knows endpoints.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::TlsConnector;

/// Whom to believe, and what to show.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    /// Certificate and key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must be for, if not its address.
    pub(crate) server_name: Option<String>,
}

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot use {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

// === impl TlsFiles ===

impl TlsFiles {
    /// The name that the certificate of the server at `host` must be for. `None` if it can be for none.
    pub(crate) fn name(&self, host: &str) -> Option<ServerName<'static>> {
        let name = self.server_name.as_deref();
        let name = name.unwrap_or(host.trim_matches(['[', ']']));
        ServerName::try_from(name.to_owned()).ok()
    }

    /// Reads the files.
    pub(crate) fn connector(&self) -> Result<TlsConnector, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let verified = match &self.ca {
            Some(ca) => builder.with_root_certificates(roots(ca)?),
            None => platform(builder)?,
        };
        let config = match &self.identity {
            None => verified.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error))?;
                verified.with_client_auth_cert(certificates(certificate)?, key)?
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

type Verified = ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn platform(builder: ConfigBuilder<ClientConfig, WantsVerifier>) -> Result<Verified, TlsError> {
    Ok(builder.with_platform_verifier()?)
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| bad(file, error))?;
    if certificates.is_empty() {
        return Err(bad(file, "no certificate in it"));
    }
    Ok(certificates)
}

fn bad(file: &Path, error: impl ToString) -> TlsError {
    TlsError::File {
        path: file.to_owned(),
        source: io::Error::other(error.to_string()),
    }
}
