//! A directory, for a single machine.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::{Clock, SystemClock, Timestamp};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::{CertStore, Lease, Slot, StoreError};

/// Keeps everything in files that only their owner may read (0600), in directories that only he may enter (0700).
///
/// A file is written beside its place, synced and renamed: after a crash it is the old one or the new one. Leases are
/// locks on files, which the kernel gives back when their process ends; several processes of one machine may share the
/// directory. A network file system is no place for it.
#[derive(Clone)]
pub struct DiskStore(Arc<Inner>);

struct Inner {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    changed: Arc<Notify>,
    /// Dropped, it notices nothing any more; the poll interval remains.
    _watcher: Option<RecommendedWatcher>,
}

/// The directories, by what is in them.
const FOLDERS: [&str; 6] = ["certs", "state", "keys", "tokens", "alpn", "locks"];

/// The one file that stands at the top.
const ACCOUNT: &str = "account.json";

// === impl DiskStore ===

impl DiskStore {
    /// Opens `root`, and makes it if it is not there (blocking).
    ///
    /// # Errors
    ///
    /// It cannot be made, or not be written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        for folder in FOLDERS {
            let path = root.join(folder);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|error| at(&path, error))?;
        }
        let changed = Arc::new(Notify::new());
        let watcher = watch(&root.join("certs"), &changed);
        Ok(Self(Arc::new(Inner {
            root,
            clock: Arc::new(SystemClock),
            changed,
            _watcher: watcher,
        })))
    }

    /// Does blocking work where it may block.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(StoreError::unavailable)?
    }
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DiskStore").field(&self.0.root).finish()
    }
}

#[async_trait]
impl CertStore for DiskStore {
    async fn read(&self, slot: &Slot<'_>) -> Result<Option<String>, StoreError> {
        let (path, is_answer) = (self.0.path(slot), is_answer(slot));
        self.work(move |inner| inner.read(&path, is_answer)).await
    }

    async fn write(&self, slot: &Slot<'_>, text: &str, _: &Lease) -> Result<(), StoreError> {
        // Whoever has the lease has the lock: nobody can have taken over while it lives.
        let (path, text) = (self.0.path(slot), text.to_owned());
        self.work(move |_| replace(&path, &text)).await
    }

    async fn publish(&self, slot: &Slot<'_>, text: &str, life: Duration) -> Result<(), StoreError> {
        let end = self.0.clock.now().after(life).as_secs();
        let (path, text) = (self.0.path(slot), format!("{end}\n{text}"));
        self.work(move |_| replace(&path, &text)).await
    }

    async fn remove(&self, slot: &Slot<'_>) -> Result<(), StoreError> {
        let path = self.0.path(slot);
        self.work(move |_| match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path, error)),
            _ => Ok(()),
        })
        .await
    }

    async fn names(&self) -> Result<Vec<String>, StoreError> {
        self.work(Inner::names).await
    }

    async fn acquire(&self, name: &str, _: Duration) -> Result<Option<Lease>, StoreError> {
        let name = name.to_owned();
        self.work(move |inner| inner.acquire(name)).await
    }

    async fn extend(&self, _: &Lease, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        drop(lease);
        Ok(())
    }

    async fn changed(&self) -> Option<String> {
        self.0.changed.notified().await;
        None
    }
}

// === impl Inner ===

impl Inner {
    fn path(&self, slot: &Slot<'_>) -> PathBuf {
        match slot {
            Slot::Cert(name) => self.root.join("certs").join(file_name(name, "json")),
            Slot::State(name) => self.root.join("state").join(file_name(name, "json")),
            Slot::CertKey(name) => self.root.join("keys").join(file_name(name, "pem")),
            Slot::Account => self.root.join(ACCOUNT),
            Slot::Token(token) => self.root.join("tokens").join(file_name(token, "txt")),
            Slot::Alpn(name) => self.root.join("alpn").join(file_name(name, "txt")),
        }
    }

    fn read(&self, path: &Path, is_answer: bool) -> Result<Option<String>, StoreError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(path, error)),
        };
        if !is_answer {
            return Ok(Some(text));
        }
        let now = self.clock.now();
        Ok(text.split_once('\n').and_then(|(end, answer)| {
            let end = Timestamp::from_secs(end.parse().ok()?);
            (now < end).then(|| answer.to_owned())
        }))
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let path = self.root.join("certs");
        let entries = fs::read_dir(&path).map_err(|error| at(&path, error))?;
        let names = entries.filter_map(|entry| {
            let file = entry.ok()?.file_name();
            Some(file.to_str()?.strip_suffix(".json")?.replacen('@', "*", 1))
        });
        Ok(names.collect())
    }

    fn acquire(&self, name: String) -> Result<Option<Lease>, StoreError> {
        let path = self.root.join("locks").join(file_name(&name, "lock"));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| at(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(at(&path, error)),
        }
        let fence = count_up(&mut file).map_err(|error| at(&path, error))?;
        Ok(Some(Lease::new(name, fence).holding(file)))
    }
}

fn watch(certs: &Path, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let notice = move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| !event.kind.is_access()) {
            changed.notify_one();
        }
    };
    let watching = notify::recommended_watcher(notice).and_then(|mut watcher| {
        watcher.watch(certs, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watching
        .inspect_err(|error| {
            let path = certs.display();
            tracing::warn!(%path, %error, "cannot be watched: changes are noticed within a minute");
        })
        .ok()
}

/// Answers are of no use after a while.
fn is_answer(slot: &Slot<'_>) -> bool {
    matches!(slot, Slot::Token(_) | Slot::Alpn(_))
}

/// Names are DNS names with a `*` in front at most, tokens base64url: whatever else there may be in them cannot lead out
/// of the directory.
fn file_name(name: &str, extension: &str) -> String {
    let safe = |letter: char| match letter {
        '*' => '@',
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => letter,
        _ => '+',
    };
    let name: String = name.chars().map(safe).collect();
    format!("{name}.{extension}")
}

fn replace(path: &Path, text: &str) -> Result<(), StoreError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_out(&beside, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.map_err(|error| at(path, error))?;
    // The renaming itself has to survive a crash too.
    let folder = path.parent().map(File::open).transpose();
    let synced = folder.and_then(|folder| folder.map_or(Ok(()), |folder| folder.sync_all()));
    synced.map_err(|error| at(path, error))
}

fn write_out(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The number in the file, plus one, which it holds from then on.
fn count_up(file: &mut File) -> io::Result<u64> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let next = text.trim().parse::<u64>().unwrap_or(0) + 1;
    file.rewind()?;
    file.set_len(0)?;
    write!(file, "{next}")?;
    Ok(next)
}

fn at(path: &Path, error: io::Error) -> StoreError {
    StoreError::unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::acme::store::suite::store_suite;

    store_suite!({
        let directory = tempfile::tempdir().unwrap();
        let open = DiskStore::open(directory.path()).unwrap();
        let again = DiskStore::open(directory.path()).unwrap();
        (open, again, directory)
    });

    #[tokio::test]
    async fn only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskStore::open(directory.path().join("state")).unwrap();
        let lease = store.acquire("a.example", LIFE).await.unwrap().unwrap();
        let slot = Slot::Cert("a.example");
        store.write(&slot, "secret", &lease).await.unwrap();
        let file = store.0.path(&slot);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        let files = fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing is left beside it");
    }

    #[test]
    fn names_lead_nowhere_else() {
        assert_eq!(
            file_name("../../etc/passwd", "json"),
            "..+..+etc+passwd.json"
        );
        assert_eq!(file_name("*.a.example", "json"), "@.a.example.json");
    }

    const LIFE: Duration = Duration::from_secs(60);
}
