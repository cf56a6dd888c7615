//! The last good endpoints of each service, on the disk: an edge starts with its registry down, and serves.

use std::collections::HashSet;
use std::hash::Hasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Endpoint, Endpoints, ServiceName};
use crate::clock::Clock;

/// How long a file stays whose service nobody follows: who takes a reference out and puts it back finds its endpoints,
/// and names that come and go do not fill the disk.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// A directory with a file for each service. A file's time of modification tells when its service was last followed.
pub(crate) struct StateDirectory {
    path: PathBuf,
    clock: Arc<dyn Clock>,
}

/// What a file says.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// In full: file names are hashes, and hashes may meet.
    service: String,
    endpoints: Vec<Endpoint>,
}

// === impl StateDirectory ===

impl StateDirectory {
    /// Makes the directory if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(crate) fn open(path: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let path = path.to_owned();
        Ok(Self { path, clock })
    }

    /// What was kept for a service, if that can be read.
    pub(crate) fn load(&self, service: &ServiceName) -> Option<Endpoints> {
        let path = self.path(service);
        let kept = std::fs::read(&path).and_then(|text| Ok(serde_json::from_slice::<Kept>(&text)?));
        match kept {
            Ok(kept) => {
                (kept.service == service.as_str()).then(|| kept.endpoints.into_iter().collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = path.display();
                tracing::warn!(%service, %path, %error, "the endpoints of before cannot be read");
                None
            }
        }
    }

    /// Keeps the endpoints of a service. What goes wrong is logged.
    pub(crate) fn save(&self, service: &ServiceName, endpoints: &Endpoints) {
        let kept = Kept {
            service: service.as_str().to_owned(),
            endpoints: endpoints.iter().cloned().collect(),
        };
        let written = serde_json::to_vec(&kept)
            .map_err(io::Error::from)
            .and_then(|text| replace_file(&self.path(service), &text))
            .and_then(|()| self.touch(&self.path(service)));
        if let Err(error) = written {
            tracing::error!(%service, %error, "endpoints cannot be kept for the next start");
        }
    }

    /// Keeps nothing of a service any more. What goes wrong is logged.
    pub(crate) fn remove(&self, service: &ServiceName) {
        match std::fs::remove_file(self.path(service)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%service, %error, "endpoints of before cannot be removed");
            }
            _ => {}
        }
    }

    /// Removes the files of services that nobody has followed for long; those that are in use are noted as such.
    pub(crate) fn sweep(&self, followed: &[ServiceName]) {
        let used: HashSet<PathBuf> = followed.iter().map(|one| self.path(one)).collect();
        for path in &used {
            // It need not be there.
            let _ = self.touch(path);
        }
        let Ok(files) = std::fs::read_dir(&self.path) else {
            return;
        };
        for path in files.flatten().map(|file| file.path()) {
            if !used.contains(&path) && is_ours(&path) && self.is_old(&path) {
                tracing::info!(path = %path.display(), "endpoints that nobody has wanted for long are forgotten");
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        let file = std::fs::OpenOptions::new().write(true).open(path)?;
        file.set_modified(self.clock.now().into())
    }

    fn is_old(&self, path: &Path) -> bool {
        let modified = std::fs::metadata(path).and_then(|file| file.modified());
        let since = modified.map(|at| SystemTime::from(self.clock.now()).duration_since(at));
        matches!(since, Ok(Ok(since)) if since > KEPT_FOR)
    }

    fn path(&self, service: &ServiceName) -> PathBuf {
        // FNV-1a: the same in every version of the program.
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        hash.write(service.as_str().as_bytes());
        self.path.join(format!("{:016x}.json", hash.finish()))
    }
}

/// What else is in the directory is somebody else's.
fn is_ours(path: &Path) -> bool {
    let part =
        |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
    let (stem, extension) = (part(path.file_stem()), part(path.extension()));
    let is_hash = |stem: &String| stem.len() == 16 && stem.bytes().all(|c| c.is_ascii_hexdigit());
    stem.as_ref().is_some_and(is_hash) && matches!(extension.as_deref(), Some("json" | "new"))
}

impl std::fmt::Debug for StateDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StateDirectory").field(&self.path).finish()
    }
}

/// Replaces a file as a whole: whoever reads it sees the old one or the new one, also after a crash.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // The name too has to be on the disk. Not every file system can.
    if let Some(directory) = path
        .parent()
        .and_then(|path| std::fs::File::open(path).ok())
    {
        let _ = directory.sync_all();
    }
    Ok(())
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn clock() -> ManualClock {
        ManualClock::at(crate::clock::Timestamp::from_secs(1_795_200_000))
    }

    fn name(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    #[test]
    fn keeps_what_it_is_told_and_survives_what_it_finds() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&directory.path().join("a/b"), Arc::new(clock())).unwrap();
        let (one, other) = (name("dns://a:1"), name("dns://b:1"));
        assert_eq!(state.load(&one), None);
        let endpoint = Endpoint::new("https://10.0.0.1:8443".parse().unwrap());
        let endpoints: Endpoints = [endpoint.with_weight(7).with_sni("a.example")]
            .into_iter()
            .collect();
        state.save(&one, &endpoints);
        state.save(&one, &endpoints);
        assert_eq!(state.load(&one), Some(endpoints.clone()));
        state.remove(&one);
        state.remove(&one);
        assert_eq!(state.load(&one), None);
        state.save(&one, &endpoints);
        assert_eq!(state.load(&other), None);
        // Another service under this name, and half a file.
        std::fs::copy(state.path(&one), state.path(&other)).unwrap();
        assert_eq!(state.load(&other), None);
        std::fs::write(state.path(&one), b"{\"service\": \"dns").unwrap();
        assert_eq!(state.load(&one), None);
    }

    #[test]
    fn forgets_what_nobody_has_followed_for_long_and_nothing_else() {
        let (directory, clock) = (tempfile::tempdir().unwrap(), clock());
        let state = StateDirectory::open(directory.path(), Arc::new(clock.clone())).unwrap();
        let (used, old, new) = (name("dns://a:1"), name("dns://b:1"), name("dns://c:1"));
        let endpoints = Endpoints::default();
        state.save(&used, &endpoints);
        state.save(&old, &endpoints);
        let foreign = directory.path().join("registry.json");
        std::fs::write(&foreign, "{}").unwrap();
        state.touch(&foreign).unwrap();
        clock.advance(KEPT_FOR / 2);
        state.sweep(std::slice::from_ref(&used));
        state.save(&new, &endpoints);
        clock.advance(KEPT_FOR / 2 + Duration::from_secs(1));
        state.sweep(&[]);
        let is_kept = |service| state.path(service).exists();
        assert!(is_kept(&used), "noted when it was in use");
        assert!(!is_kept(&old));
        assert!(is_kept(&new));
        assert!(foreign.exists());
        // In use it stays, however long nothing has changed and whatever the clock did.
        clock.advance(KEPT_FOR * 2);
        state.sweep(std::slice::from_ref(&used));
        assert!(is_kept(&used) && !is_kept(&new));
    }
}
