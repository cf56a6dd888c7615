//! What proves who asks.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A token or a password, and where it is.
#[derive(Clone, Default)]
pub(crate) enum Secret {
    #[default]
    None,
    Text(Arc<str>),
    /// Read again whenever it is needed, so that it may change.
    File(Arc<PathBuf>),
}

/// A file with a secret cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

// === impl Secret ===

impl Secret {
    /// Without spaces and line ends around it.
    pub(crate) async fn read(&self) -> Result<Option<String>, Unreadable> {
        match self {
            Self::None => Ok(None),
            Self::Text(text) => Ok(Some(text.trim().to_owned())),
            Self::File(path) => {
                let read = tokio::fs::read_to_string(&**path).await;
                let text = read.map_err(|source| Unreadable {
                    path: path.to_path_buf(),
                    source,
                })?;
                Ok(Some(text.trim().to_owned()))
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
        }
    }
}
