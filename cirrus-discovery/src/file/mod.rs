//! A configuration file.

mod hints;
mod reader;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use hints::Hints;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use cirrus_core::config::{Config, ConfigSource, Faults, Format};
use cirrus_core::{BoxError, Updates};

/// The configuration in a file, TOML or JSON by its extension. Relative paths in it start at its directory.
///
/// **Change.** A watch takes a change up as soon as the file has been at rest for 100 ms, whether it was written in
/// place, renamed over, or is a link that was turned round, as Kubernetes does. Because notifications get lost, the
/// file is looked at every 30 s too (every 2 s where there are none); what is behind a link into another directory is
/// only noticed so. Unchanged sites and clusters keep their `Arc`.
///
/// **Trouble.** A file that has faults, is gone or cannot be read is an error, once for each change; the watch goes on.
/// So is one that has become empty: that is a writer that died or a full disk. Whoever means it writes a comment.
///
/// Faults and errors name the path as it was given. Watches need a tokio runtime with time; they begin when they are
/// polled first, and end when they are dropped.
#[derive(Clone, Debug)]
pub struct File {
    /// As it was given.
    path: PathBuf,
    /// Still the same when the program changes its working directory.
    absolute: PathBuf,
}

/// A configuration file cannot be read.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Io(io::Error),
    NoFile,
    Large(u64),
    NoText(usize),
    Emptied,
}

/// A larger file is a mistake: a hundred thousand sites take a fraction of this.
const LARGEST: u64 = 256 << 20;

// === impl File ===

impl File {
    /// The file of this path. Nothing is opened yet.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        Self { path, absolute }
    }

    /// The path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file once (blocking): the configuration, and the warnings there are.
    ///
    /// # Errors
    ///
    /// [`Faults`], every one of them; or a [`FileError`] if it cannot be read.
    pub fn load(&self) -> Result<(Config, Faults), BoxError> {
        // What the file is called is wrong even if it is not there.
        Format::of(&self.path)?;
        let text = self.text(&self.bytes()?)?;
        Ok(self.parse(&text)?)
    }

    fn directory(&self) -> &Path {
        self.absolute.parent().unwrap_or(&self.absolute)
    }

    fn bytes(&self) -> Result<Vec<u8>, FileError> {
        let read = || {
            // Before it is opened: opening a pipe would wait for somebody to write.
            let metadata = std::fs::metadata(&self.absolute)?;
            match metadata.len() {
                _ if !metadata.is_file() => Err(Reason::NoFile),
                length if length > LARGEST => Err(Reason::Large(length)),
                _ => Ok(std::fs::read(&self.absolute)?),
            }
        };
        read().map_err(|reason| self.error(reason))
    }

    fn text(&self, bytes: &[u8]) -> Result<String, FileError> {
        let text = std::str::from_utf8(bytes).map(str::to_owned);
        text.map_err(|error| self.error(Reason::NoText(error.valid_up_to())))
    }

    fn parse(&self, text: &str) -> Result<(Config, Faults), Faults> {
        let (mut config, warnings) = Config::parse_file_text(text, &self.path)?;
        config.resolve_paths(self.directory());
        Ok((config, warnings))
    }

    fn error(&self, reason: Reason) -> FileError {
        FileError {
            path: self.path.clone(),
            reason,
        }
    }
}

impl ConfigSource for File {
    fn watch(&self) -> Updates<Config> {
        watch::begin(self.clone())
    }
}

// === impl FileError ===

impl FileError {
    /// The file, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(&self.reason, Reason::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: the configuration file cannot be used: ",
            self.path.display()
        )?;
        match &self.reason {
            Reason::Io(_) if self.is_missing() => f.write_str("it does not exist"),
            Reason::Io(error) => write!(f, "{error}"),
            Reason::NoFile => f.write_str("it is no regular file"),
            Reason::Large(length) => {
                write!(
                    f,
                    "it has {length} bytes; {LARGEST} at the most are allowed"
                )
            }
            Reason::NoText(at) => write!(f, "byte {at} is not UTF-8, as TOML and JSON must be"),
            Reason::Emptied => f.write_str("it is empty now, and was not before"),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Io(error) => Some(error),
            _ => None,
        }
    }
}

// === impl Reason ===

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
