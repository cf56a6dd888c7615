//! The last good endpoints of each service, on the disk: an edge starts with its registry down, and serves.

use std::hash::Hasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Endpoint, Endpoints, ServiceName};

/// A directory with a file for each service.
#[derive(Debug)]
pub(crate) struct StateDirectory(PathBuf);

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
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self(path.to_owned()))
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
            .and_then(|text| replace_file(&self.path(service), &text));
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

    fn path(&self, service: &ServiceName) -> PathBuf {
        // FNV-1a: the same in every version of the program.
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        hash.write(service.as_str().as_bytes());
        self.0.join(format!("{:016x}.json", hash.finish()))
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

    fn name(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    #[test]
    fn keeps_what_it_is_told_and_survives_what_it_finds() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&directory.path().join("a/b")).unwrap();
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
}
