//! An authority for development: a root that is made once, and that a developer's machine is told to trust.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cirrus_core::{BoxError, Clock, Timestamp};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, DnValue, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A root in a directory: `root.pem`, which clients trust, and `root.key`, which nobody else should have. Made when it is
/// first opened, and the same one from then on.
///
/// For development: whoever has the key can pretend to be any host to those who trust the root.
pub struct LocalRoot {
    issuer: Issuer<'static, KeyPair>,
    path: PathBuf,
}

/// The directory of a root cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the local authority in `{}` cannot be used: {source}", path.display())]
pub struct LocalRootError {
    path: PathBuf,
    source: BoxError,
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What is signed with the root goes by its name; dates are of no interest to that.
const NAME: &str = "Cirrus local authority for development";

// === impl LocalRoot ===

impl LocalRoot {
    /// Reads the root in `directory`, or makes one that is valid for ten years from now on (blocking).
    ///
    /// # Errors
    ///
    /// The directory cannot be read or written, or has only half of a root.
    pub fn open(directory: impl AsRef<Path>, clock: &dyn Clock) -> Result<Self, LocalRootError> {
        let directory = directory.as_ref();
        open(directory, clock.now()).map_err(|source| LocalRootError {
            path: directory.to_owned(),
            source,
        })
    }

    /// The file with the root's certificate, for clients to trust.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn sign(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
    ) -> Result<Certificate, rcgen::Error> {
        params.signed_by(key, &self.issuer)
    }
}

impl fmt::Debug for LocalRoot {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRoot")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn open(directory: &Path, now: Timestamp) -> Result<LocalRoot, BoxError> {
    let (path, key_path) = (directory.join("root.pem"), directory.join("root.key"));
    let key = match (path.try_exists()?, key_path.try_exists()?) {
        (true, true) => KeyPair::from_pem(&fs::read_to_string(&key_path)?)?,
        (false, false) => make(directory, &path, &key_path, now)?,
        (true, false) => return Err("it has root.pem without root.key: remove it".into()),
        (false, true) => return Err("it has root.key without root.pem: remove it".into()),
    };
    Ok(LocalRoot {
        issuer: Issuer::new(params(now), key),
        path,
    })
}

fn make(
    directory: &Path,
    path: &Path,
    key_path: &Path,
    now: Timestamp,
) -> Result<KeyPair, BoxError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let root = params(now).self_signed(&key)?;
    fs::create_dir_all(directory)?;
    write(key_path, &key.serialize_pem())?;
    write(path, &root.pem())?;
    tracing::info!(
        path = %path.display(),
        "made an authority for development; tell your machine to trust it:\n{}",
        root.pem()
    );
    Ok(key)
}

/// A file that was not there, and that only its owner can read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = DnValue::Utf8String(NAME.to_owned());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_secs());
    params.not_before = now - Duration::from_secs(24 * 60 * 60);
    params.not_after = now + YEAR * 10;
    params
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cirrus_core::SystemClock;
    use cirrus_core::testing::cert_suite::Handshakes;
    use cirrus_core::testing::certs::client_trusting;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::SelfSigned;

    #[tokio::test]
    async fn who_trusts_the_root_trusts_what_is_made_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("ca");
        let root = LocalRoot::open(&at, &SystemClock).unwrap();
        let der = CertificateDer::from_pem_file(root.path()).unwrap();
        drop(root);
        for _ in 0..2 {
            let root = LocalRoot::open(&at, &SystemClock).unwrap();
            let provider = Arc::new(SelfSigned::new().signed_by(root));
            let client = client_trusting(std::slice::from_ref(&der), &[]);
            let handshakes = Handshakes::between(client, provider);
            for name in ["a.example", "localhost", "127.0.0.1"] {
                handshakes.shake(name).await.unwrap();
            }
        }
    }

    #[test]
    fn the_key_is_its_owners_and_half_a_root_is_none() {
        let directory = tempfile::tempdir().unwrap();
        LocalRoot::open(directory.path(), &SystemClock).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let key = fs::metadata(directory.path().join("root.key")).unwrap();
            assert_eq!(key.permissions().mode() & 0o777, 0o600);
        }
        fs::remove_file(directory.path().join("root.pem")).unwrap();
        let error = LocalRoot::open(directory.path(), &SystemClock).unwrap_err();
        assert!(
            error.to_string().contains("root.key without root.pem"),
            "{error}"
        );
    }
}
