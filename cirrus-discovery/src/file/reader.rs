//! Reads a file again, and tells only what is new.

use std::fs::Metadata;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use cirrus_core::BoxError;
use cirrus_core::config::{Config, Format};
use tokio::time::Instant;

use super::{File, FileError, Reason};
use crate::reuse;

/// One watch's memory of a file. All its methods block.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    stamp: Option<Stamp>,
    /// When the stamp was seen first.
    since: Instant,
    /// The last reading was so long after it that whoever wrote later gave the file another stamp.
    settled: bool,
    /// What the last reading has found.
    seen: Option<Seen>,
    /// The last good configuration.
    config: Option<Config>,
    /// It was more than an empty file.
    spoken: bool,
    hasher: RandomState,
}

/// What changes when a file does, as far as it can be had without reading. Clocks of file systems are coarse: two
/// writes in a short time may leave the same stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    identity: Identity,
}

/// Device, inode, and the time of the last change of anything, which no program can set.
type Identity = (u64, u64, i64, i64);

/// The clock of no file system is coarser.
const COARSE: Duration = Duration::from_secs(3);

/// A hash of the content, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Content(u64),
    Error(String),
}

// === impl Reader ===

impl Reader {
    pub(super) fn of(file: File) -> Self {
        Self {
            file,
            stamp: None,
            since: Instant::now(),
            settled: false,
            seen: None,
            config: None,
            spoken: false,
            hasher: RandomState::new(),
        }
    }

    /// The stamp the file has now, if it is there.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        Stamp::of(&std::fs::metadata(&self.file.absolute).ok()?)
    }

    /// What the file says now, unless that was told before. The first time there is always something to tell.
    pub(super) fn look(&mut self) -> Option<Result<Config, BoxError>> {
        if self.is_known() {
            return None;
        }
        let bytes = self.file.bytes();
        let seen = match &bytes {
            Ok(bytes) => Seen::Content(self.hasher.hash_one(bytes)),
            Err(error) => Seen::Error(error.to_string()),
        };
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        self.seen = Some(seen);
        Some(self.judge(bytes))
    }

    /// Whether reading would find what it found last time. Takes the present stamp down.
    fn is_known(&mut self) -> bool {
        let stamp = self.stamp();
        if stamp.is_none() || stamp != self.stamp {
            self.stamp = stamp;
            self.since = Instant::now();
            self.settled = false;
        }
        let known = self.settled && matches!(self.seen, Some(Seen::Content(_)));
        self.settled = stamp.is_some() && self.since.elapsed() >= COARSE;
        known
    }

    fn judge(&mut self, bytes: Result<Vec<u8>, FileError>) -> Result<Config, BoxError> {
        Format::of(&self.file.path)?;
        let text = self.file.text(&bytes?)?;
        let blank = text.trim().is_empty();
        if blank && self.spoken {
            return Err(self.file.error(Reason::Emptied).into());
        }
        let (mut config, warnings) = self.file.parse(&text)?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        if let Some(before) = &self.config {
            reuse::keep_unchanged(&mut config, before);
        }
        self.spoken = !blank;
        Ok(self.config.insert(config).clone())
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(metadata),
        })
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    let (seconds, nanos) = (metadata.ctime(), metadata.ctime_nsec());
    (metadata.dev(), metadata.ino(), seconds, nanos)
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    (0, 0, 0, 0)
}
