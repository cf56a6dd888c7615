//! A file that is read again when it changes.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::middleware::Context;

/// How often the file is looked at, at the most, in milliseconds.
const LOOK: u64 = 5_000;

/// How long a request waits for a disk.
const WAIT: Duration = Duration::from_secs(1);

/// The largest file that is read.
const LARGEST: u64 = 16 * 1024 * 1024;

/// How a file's text becomes what is used.
pub(super) type Parse<T> = fn(&str) -> Result<T, String>;

/// What a file says, as long as that can be read; else what it said before.
///
/// Looked at when somebody asks. That request waits for the look, so that who was taken out of the file does not come in
/// once more, however long ago that was; but not longer than [`WAIT`], and the others do not.
pub(super) struct Watched<T> {
    path: PathBuf,
    parse: Parse<T>,
    value: ArcSwap<T>,
    /// When it was last looked at, by the engine's clock.
    looked: AtomicU64,
    seen: Mutex<Option<Stamp>>,
}

/// What tells that a file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

// === impl Watched ===

impl<T: Default + Send + Sync + 'static> Watched<T> {
    /// Reads the file. If that fails, nothing is in it until it can be read.
    pub(super) fn open(path: &Path, parse: Parse<T>) -> Arc<Self> {
        let watched = Self {
            path: path.to_owned(),
            parse,
            value: ArcSwap::default(),
            looked: AtomicU64::new(0),
            seen: Mutex::default(),
        };
        watched.look();
        Arc::new(watched)
    }

    /// What it says.
    ///
    /// # Cancel safety
    ///
    /// A look that was begun goes on.
    pub(super) async fn now(self: &Arc<Self>, cx: &Context) -> Arc<T> {
        let engine = &cx.worker.engine;
        let (now, last) = (
            engine.clock.now().as_millis(),
            self.looked.load(Ordering::Relaxed),
        );
        // Either way: a clock that was set back must not stop this.
        if now.abs_diff(last) >= LOOK && self.claim(last, now) {
            let watched = Arc::clone(self);
            let look = tokio::task::spawn_blocking(move || watched.look());
            // A look that panics or hangs leaves everything as it was.
            drop(tokio::time::timeout(WAIT, look).await);
        }
        self.value.load_full()
    }

    /// One of those who come at the same time looks.
    fn claim(&self, last: u64, now: u64) -> bool {
        self.looked
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn look(&self) {
        let mut seen = self.seen.lock();
        match self.read(*seen) {
            Ok(Some((stamp, value))) => {
                self.value.store(Arc::new(value));
                *seen = Some(stamp);
            }
            Ok(None) => {}
            Err((stamp, error)) => {
                // Said once for each state of the file.
                if stamp.is_none() || *seen != stamp {
                    let path = self.path.display();
                    tracing::warn!(%path, error, "what was read before stays in force");
                }
                *seen = stamp.or(*seen);
            }
        }
    }

    /// `None` if it has not changed.
    #[expect(clippy::type_complexity, reason = "one caller takes it apart at once")]
    fn read(&self, seen: Option<Stamp>) -> Result<Option<(Stamp, T)>, (Option<Stamp>, String)> {
        let (stamp, text) = read(&self.path, seen).map_err(|error| (None, error))?;
        let Some(text) = text else { return Ok(None) };
        match (self.parse)(&text) {
            Ok(value) => Ok(Some((stamp, value))),
            Err(error) => Err((Some(stamp), error)),
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.path).finish()
    }
}

/// Reads and parses a file once, to see whether it can be.
pub(super) fn try_read<T>(path: &Path, parse: Parse<T>) -> Result<T, String> {
    let (_, text) = read(path, None)?;
    parse(&text.unwrap_or_default())
}

/// The file's text, unless it is the one that was seen.
fn read(path: &Path, seen: Option<Stamp>) -> Result<(Stamp, Option<String>), String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    // A pipe would be waited for until somebody writes.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let stamp = Stamp::of(&metadata);
    if Some(stamp) == seen {
        return Ok((stamp, None));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LARGEST + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(format!("is larger than {} MiB", LARGEST >> 20));
    }
    Ok((stamp, Some(text)))
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            inode,
        }
    }
}
