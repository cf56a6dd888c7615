//! A directory of certificates.

mod index;
mod pairs;
mod rivals;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use cirrus_core::downstream::{
    CertDone, CertError, CertProvider, CertReport, CertTask, Certificate, Hello, Lookup,
    ManageError, ServerName,
};
use cirrus_core::{Clock, SystemClock};

use index::Index;
use pairs::Pairs;

/// Serves the certificates of a directory: pairs `NAME.pem` (the chain) and `NAME.key`, or `NAME.pem` with both. An OCSP
/// response in `NAME.ocsp` (DER) is sent to clients that ask for it, as long as it is believed.
///
/// **Choice.** By the names inside the certificates, not the files'. An exact name goes before a wildcard, which stands
/// for one label. If several cover a name, one that the client can verify, ECDSA before RSA, and then the one that is
/// valid longest; a certificate that is expired or not valid yet only if there is no other. Clients that name no host get
/// `default.pem`; without it the only certificate, if there is just one; otherwise they are refused.
///
/// **Change.** [`maintain`](CertProvider::maintain) watches the directory and takes changes up within a second; because
/// notifications get lost, it reads everything again each minute too. All changes come into force at once.
///
/// **Trouble.** A pair that is half written, mismatched or unreadable keeps the certificate it had, and so does every
/// pair if the directory vanishes. It is logged once for each change, and stands in [`report`](Self::report). Deleting
/// both files ends a pair.
///
/// Clones are one folder.
#[derive(Clone)]
pub struct Folder(Arc<Inner>);

struct Inner {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// What the next reading is compared with; locked by one reading at a time.
    pairs: Mutex<Pairs>,
    served: ArcSwap<Served>,
}

/// What one reading has made of the directory.
#[derive(Default)]
struct Served {
    index: Index,
    /// By the files' names.
    certificates: Vec<(String, Arc<Certificate>)>,
    problems: Vec<Problem>,
}

/// Something in a folder that an operator should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file, or the folder itself.
    pub file: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// The directory cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the certificate directory `{}` cannot be read", path.display())]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

// === impl Folder ===

impl Folder {
    /// Serves `path`, and reads it once before it returns (blocking). If that fails, or parts of it do, the folder is
    /// the poorer for it until they can be read; see [`report`](Self::report).
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::read(path.into(), Arc::new(SystemClock))
    }

    /// Like [`at`](Self::at), for programs that would rather not start than start without the directory.
    ///
    /// # Errors
    ///
    /// The directory cannot be read. Faults of single files are no error.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        let path = path.into();
        match std::fs::read_dir(&path) {
            Ok(_) => Ok(Self::at(path)),
            Err(source) => Err(FolderError { path, source }),
        }
    }

    /// With another clock. Reads the directory again.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self::read(self.0.path.clone(), clock)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What is wrong at the moment, by file.
    #[must_use]
    pub fn report(&self) -> Vec<Problem> {
        self.0.served.load().problems.clone()
    }

    /// Reads the directory now (blocking), without waiting for a notification.
    pub fn reload(&self) {
        self.0.reload();
    }

    fn read(path: PathBuf, clock: Arc<dyn Clock>) -> Self {
        let (pairs, served) = (Mutex::default(), ArcSwap::default());
        let folder = Self(Arc::new(Inner {
            path,
            clock,
            pairs,
            served,
        }));
        folder.reload();
        folder
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CertProvider for Folder {
    fn lookup(&self, hello: &Hello<'_>) -> Lookup {
        let served = self.0.served.load();
        let found = match hello.name {
            Some(name) => served.index.find(name, hello, self.0.clock.now()),
            None => served.index.nameless(),
        };
        found.map_or(Lookup::Unknown, Lookup::Found)
    }

    async fn load(&self, name: &ServerName) -> Result<Arc<Certificate>, CertError> {
        match self.lookup(&Hello::new(Some(name))) {
            Lookup::Found(certificate) => Ok(certificate),
            Lookup::Cold(_) | Lookup::Unknown => Err(CertError::NotFound(name.clone())),
        }
    }

    async fn maintain(&self) {
        watch::run(&self.0).await;
    }

    fn reports(&self) -> Vec<CertReport> {
        let served = self.0.served.load();
        let all = served.certificates.iter();
        all.map(|(stem, one)| CertReport::new(stem, "directory").of(one))
            .collect()
    }

    /// Only shows: files are changed by who owns them.
    async fn manage(&self, task: &CertTask) -> Result<CertDone, ManageError> {
        let CertTask::Show(name) = task else {
            return Err(ManageError::Unsupported);
        };
        let served = self.0.served.load_full();
        let found = served.certificates.iter().find(|(stem, one)| {
            stem == name || one.names.iter().any(|covered| **covered == **name)
        });
        let (stem, one) = found.ok_or_else(|| ManageError::Unknown(name.clone()))?;
        let report = CertReport::new(stem, "directory").of(one);
        Ok(CertDone::new(report).with_chain(crate::pem::chain_pem(&one.key.cert)))
    }
}

// === impl Inner ===

impl Inner {
    fn reload(&self) {
        // What a panic left behind is compared with the files again; nothing in it is trusted.
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.read(&self.path, self.clock.now());
        let served = Served {
            index: Index::new(pairs.served()),
            certificates: pairs
                .served()
                .map(|(stem, loaded)| (stem.to_owned(), Arc::clone(&loaded.certificate)))
                .collect(),
            problems: pairs.problems(),
        };
        self.served.store(Arc::new(served));
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.message)
    }
}
