//! TLS to origins: whom it believes, and who it says it is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_platform_verifier::Verifier;

use crate::config::{OriginProtocol, UpstreamTlsConfig, UpstreamTlsVersion};

/// A cluster's TLS, made once: connections resume the sessions of others with the same settings. Equal if the settings
/// are.
pub(crate) struct ClientTls {
    settings: UpstreamTlsConfig,
    made: Result<Arc<ClientConfig>, Unusable>,
}

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {why}", file.display())]
pub(crate) struct Unusable {
    /// Which of the settings.
    pub(crate) key: &'static str,
    pub(crate) file: PathBuf,
    pub(crate) why: String,
}

/// What stands in the files.
struct Material {
    roots: Option<RootCertStore>,
    identity: Option<CertifiedKey>,
}

/// Believes everybody who holds the key of the certificate shown.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

// === impl ClientTls ===

impl ClientTls {
    /// Reads the files. What is wrong with them fails every connection.
    pub(crate) fn new(settings: &UpstreamTlsConfig) -> Self {
        Self {
            settings: settings.clone(),
            made: make(settings).map(Arc::new),
        }
    }

    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, Unusable> {
        self.made.clone()
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Eq for ClientTls {}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Whether the files can be read and belong together.
pub(crate) fn check(settings: &UpstreamTlsConfig) -> Result<(), Unusable> {
    Material::read(settings).map(drop)
}

fn make(settings: &UpstreamTlsConfig) -> Result<ClientConfig, Unusable> {
    let Material { roots, identity } = Material::read(settings)?;
    let system = |error: Error| Unusable {
        key: "ca",
        file: PathBuf::from("system"),
        why: error.to_string(),
    };
    let verifier = verifier(settings.verify, roots).map_err(system)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(settings.min_version))
        .map_err(system)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match identity {
        Some(identity) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
        None => config.with_no_client_auth(),
    })
}

/// What the origin may choose from, the best first.
pub(super) fn alpn(protocol: OriginProtocol) -> Vec<Vec<u8>> {
    let offered: &[&[u8]] = match protocol {
        OriginProtocol::Http1 => &[b"http/1.1"],
        OriginProtocol::Http2 => &[b"h2"],
        OriginProtocol::Auto => &[b"h2", b"http/1.1"],
    };
    offered.iter().map(|name| name.to_vec()).collect()
}

/// Whom to believe: nobody is asked, the roots given, or the system's (`SSL_CERT_FILE` names others).
fn verifier(
    verify: bool,
    roots: Option<RootCertStore>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    Ok(match roots {
        _ if !verify => Arc::new(Anyone(provider())),
        Some(roots) => WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?,
        None => Arc::new(Verifier::new(provider())?),
    })
}

const ONLY_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn versions(least: UpstreamTlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match least {
        UpstreamTlsVersion::V1_2 => rustls::ALL_VERSIONS,
        UpstreamTlsVersion::V1_3 => ONLY_1_3,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

// === impl Material ===

impl Material {
    fn read(settings: &UpstreamTlsConfig) -> Result<Self, Unusable> {
        let roots = settings.ca.as_deref().map(roots).transpose()?;
        let identity = match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => Some(identity(certificate, key)?),
            _ => None,
        };
        Ok(Self { roots, identity })
    }
}

fn roots(file: &Path) -> Result<RootCertStore, Unusable> {
    let unusable = |why: String| Unusable::new("ca", file, why);
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", file)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(format!("has a certificate that is none: {error}")))?;
    }
    Ok(roots)
}

fn identity(certificate: &Path, key: &Path) -> Result<CertifiedKey, Unusable> {
    let chain = certificates("certificate", certificate)?;
    let der = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| Unusable::new("key", key, format!("cannot be read as a key: {error}")))?;
    CertifiedKey::from_der(chain, der, &provider()).map_err(|error| {
        Unusable::new(
            "key",
            key,
            format!("is not the key of the certificate: {error}"),
        )
    })
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => Err(Unusable::new(key, file, "has no certificate")),
        Ok(all) => Ok(all),
        Err(error) => Err(Unusable::new(key, file, format!("cannot be read: {error}"))),
    }
}

// === impl Unusable ===

impl Unusable {
    fn new(key: &'static str, file: &Path, why: impl Into<String>) -> Self {
        Self {
            key,
            file: file.to_owned(),
            why: why.into(),
        }
    }
}

// === impl Anyone ===

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
