//! A log of purges in a file, for edges of one machine or with a volume that they share.
//!
//! The first line names the log, every other one is a purge with its number. Writers take turns by a lock on `FILE.lock`;
//! readers look every 200 ms and trust whole lines only. A file that has grown too long is replaced by one with its newer
//! half. Another file in the same place is another log, and everything stored is purged.

mod format;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::cache::{LogPosition, LogUpdate, Purge, PurgeLog};
use cirrus_core::{BoxError, Updates};
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

use self::reader::Reader;

/// How often readers look for what is new: every 200 ms.
const LOOK: Duration = Duration::from_millis(200);

/// A longer file is replaced by its newer half: 4 MiB, which are some tens of thousands of purges.
const MOST_BYTES: u64 = 4 << 20;

/// A log of purges in a file. Clones are the same log.
#[derive(Clone, Debug)]
pub struct FileLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    position: Option<PathBuf>,
    most_bytes: u64,
    /// This process has appended something: its own readers need not wait for the next look.
    appended: Notify,
}

// === impl FileLog ===

impl FileLog {
    /// The log in this file, which is made if it is not there. How far this edge is is not kept.
    ///
    /// # Errors
    ///
    /// The file cannot be made, or is something else.
    pub fn open(file: impl Into<PathBuf>) -> io::Result<Self> {
        let log = Self(Arc::new(Inner {
            file: file.into(),
            position: None,
            most_bytes: MOST_BYTES,
            appended: Notify::new(),
        }));
        writer::ensure(&log.0.file)?;
        Ok(log)
    }

    /// With a file that keeps how far this edge is. No other edge may have the same one.
    #[must_use]
    pub fn keeping(self, position: impl Into<PathBuf>) -> Self {
        self.with(|inner| inner.position = Some(position.into()))
    }

    /// Replaced by its newer half when it is longer.
    #[cfg(test)]
    fn at_most(self, bytes: u64) -> Self {
        self.with(|inner| inner.most_bytes = bytes)
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner {
            file: self.0.file.clone(),
            position: self.0.position.clone(),
            most_bytes: self.0.most_bytes,
            appended: Notify::new(),
        };
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// As [`PurgeLog::append`], for programs that are not asynchronous.
    ///
    /// # Errors
    ///
    /// The file cannot be written; then nothing was appended.
    pub fn append_blocking(&self, purges: &[Purge]) -> io::Result<LogPosition> {
        let position = writer::append(&self.0.file, purges, self.0.most_bytes)?;
        self.0.appended.notify_waiters();
        Ok(position)
    }
}

#[async_trait]
impl PurgeLog for FileLog {
    async fn position(&self) -> Result<Option<LogPosition>, BoxError> {
        let Some(path) = self.0.position.clone() else {
            return Ok(None);
        };
        let read = move || match std::fs::read(&path) {
            // What cannot be understood is not known.
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(writer::of_file(&path, &error)),
        };
        Ok(blocking(read).await?)
    }

    fn follow(&self, after: Option<LogPosition>) -> Updates<LogUpdate> {
        let start = (Arc::clone(&self.0), Some(Reader::new(&self.0.file, after)));
        let looks = stream::unfold(start, |(log, reader)| async move {
            let mut reader = reader?;
            if reader.has_looked() {
                // Whoever appends between two looks is seen by the next one, a moment later.
                let appended = log.appended.notified();
                let _ = tokio::time::timeout(LOOK, appended).await;
            }
            let look = move || (reader.look(), reader);
            let (found, reader) = match tokio::task::spawn_blocking(look).await {
                Ok((found, reader)) => (found, Some(reader)),
                Err(error) => (Err(io::Error::other(error)), None),
            };
            let updates: Vec<Result<LogUpdate, BoxError>> = match found {
                Ok(updates) => updates.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error.into())],
            };
            Some((stream::iter(updates), (log, reader)))
        });
        Box::pin(looks.flatten())
    }

    async fn append(&self, purges: &[Purge]) -> Result<LogPosition, BoxError> {
        let (log, purges) = (self.clone(), purges.to_vec());
        Ok(blocking(move || log.append_blocking(&purges)).await?)
    }

    async fn applied(&self, position: &LogPosition) -> Result<(), BoxError> {
        let Some(path) = self.0.position.clone() else {
            return Ok(());
        };
        let text = serde_json::to_vec(position)?;
        Ok(blocking(move || writer::replace(&path, &text)).await?)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    }
}

/// `FILE.lock` for `FILE`.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
