//! Clients' certificates: whom a site believes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context as Digest, SHA256};
use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::config::{ClientAuthConfig, ClientAuthMode, ClientCertField};

/// Whom the sites with these settings believe. The files are read again when they change.
pub(crate) struct ClientAuth {
    settings: ClientAuthConfig,
    believed: ArcSwap<Believed>,
    seen: Mutex<Vec<Option<Stamp>>>,
}

/// What stands in the files.
pub(super) struct Believed {
    /// Without one nobody is believed, and nobody let in.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) domain: Domain,
}

/// What a session may be resumed under: the same rules about clients' certificates, made of the same files. A client
/// whose certificate was revoked does not come back with what it was given before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Domain([u8; 32]);

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {why}", file.display())]
pub(crate) struct BadAuth {
    /// Which of the settings.
    pub(crate) key: &'static str,
    pub(crate) file: PathBuf,
    pub(crate) why: String,
}

/// What tells that a file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// Far beyond any bundle and most lists.
const LARGEST: u64 = 64 << 20;

// === impl ClientAuth ===

impl ClientAuth {
    /// Reads the files (blocking). If they cannot be used, nobody is let in until they can.
    pub(crate) fn open(settings: &ClientAuthConfig) -> Self {
        let believed = Believed::read(settings).unwrap_or_else(|error| {
            tracing::error!(%error, "no client is let in");
            Believed::nobody()
        });
        Self {
            settings: settings.clone(),
            believed: ArcSwap::from_pointee(believed),
            seen: Mutex::new(stamps(settings)),
        }
    }

    /// Looks whether a file has changed (blocking). What cannot be used changes nothing.
    pub(crate) fn reload(&self) {
        let mut seen = self.seen.lock();
        let stamps = stamps(&self.settings);
        if *seen == stamps {
            return;
        }
        *seen = stamps;
        match Believed::read(&self.settings) {
            Ok(believed) => {
                tracing::info!(ca = %self.settings.ca.display(), "clients' authorities have changed");
                self.believed.store(Arc::new(believed));
            }
            Err(error) => tracing::warn!(%error, "clients' authorities stay as they were"),
        }
    }

    pub(super) fn believed(&self) -> Arc<Believed> {
        self.believed.load_full()
    }

    pub(crate) fn is_required(&self) -> bool {
        self.settings.mode == ClientAuthMode::Required
    }

    /// What origins are told.
    pub(super) fn passed(&self) -> &[ClientCertField] {
        &self.settings.pass
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Whether the files can be used.
pub(crate) fn check_auth(settings: &ClientAuthConfig) -> Result<(), BadAuth> {
    Believed::read(settings).map(drop)
}

fn stamps(settings: &ClientAuthConfig) -> Vec<Option<Stamp>> {
    let files = [&settings.ca].into_iter().chain(&settings.crl);
    files.map(|file| Stamp::of(file)).collect()
}

// === impl Believed ===

impl Believed {
    fn nobody() -> Self {
        Self {
            verifier: None,
            domain: Domain::default(),
        }
    }

    fn read(settings: &ClientAuthConfig) -> Result<Self, BadAuth> {
        let mut print = Digest::new(&SHA256);
        print.update(
            format!("{:?} {}", settings.mode, settings.allow_unknown_revocation).as_bytes(),
        );
        let text = read("ca", &settings.ca, &mut print)?;
        let roots = roots(&settings.ca, &text)?;
        let mut lists = Vec::new();
        for file in &settings.crl {
            let text = read("crl", file, &mut print)?;
            lists.extend(revoked(file, &text)?);
        }
        let mut domain = Domain::default();
        domain.0.copy_from_slice(print.finish().as_ref());
        let verifier = verifier(settings, roots, lists)?;
        Ok(Self {
            verifier: Some(verifier),
            domain,
        })
    }
}

fn verifier(
    settings: &ClientAuthConfig,
    roots: RootCertStore,
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, BadAuth> {
    let key = if lists.is_empty() { "ca" } else { "crl" };
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).with_crls(lists);
    if settings.mode == ClientAuthMode::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder = match settings.allow_unknown_revocation {
        true => builder.allow_unknown_revocation_status(),
        false => builder.enforce_revocation_expiration(),
    };
    builder.build().map_err(|error| {
        let file = settings.crl.first().filter(|_| key == "crl");
        BadAuth::new(key, file.unwrap_or(&settings.ca), error.to_string())
    })
}

fn read(key: &'static str, file: &Path, print: &mut Digest) -> Result<Vec<u8>, BadAuth> {
    let bad = |why: String| BadAuth::new(key, file, why);
    let metadata =
        std::fs::metadata(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
    // Opening a pipe waits for its writer.
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(bad(format!("is no file of at most {} MiB", LARGEST >> 20)));
    }
    let text = std::fs::read(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
    print.update(&(text.len() as u64).to_be_bytes());
    print.update(&text);
    Ok(text)
}

fn roots(file: &Path, text: &[u8]) -> Result<RootCertStore, BadAuth> {
    let bad = |why: String| BadAuth::new("ca", file, why);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|error| bad(format!("is no PEM: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| bad(format!("has a certificate that is none: {error}")))?;
    }
    match roots.is_empty() {
        true => Err(bad("has no certificate".to_owned())),
        false => Ok(roots),
    }
}

fn revoked(
    file: &Path,
    text: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, BadAuth> {
    let bad = |why: String| BadAuth::new("crl", file, why);
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(format!("is no PEM: {error}")))?;
    match lists.is_empty() {
        true => Err(bad("has no list of revoked certificates".to_owned())),
        false => Ok(lists),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

// === impl BadAuth ===

impl BadAuth {
    fn new(key: &'static str, file: &Path, why: String) -> Self {
        let file = file.to_owned();
        Self { key, file, why }
    }
}

// === impl Domain ===

impl Domain {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn testing(number: u8) -> Self {
        Self([number; 32])
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(file).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            inode,
        })
    }
}
