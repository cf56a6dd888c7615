//! One process at a time writes a registry's file.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::RegistryError;

/// Held for as long as the file is used; the system takes it back however the process ends.
///
/// The table's own file cannot be locked: it is replaced with every change.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

// === impl Lock ===

impl Lock {
    /// Takes the lock of the registry at `path`, without waiting.
    pub(super) fn take(path: &Path) -> Result<Self, RegistryError> {
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let failed = |source| RegistryError::File {
            path: lock.clone().into(),
            source,
        };
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(&lock).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(RegistryError::InUse {
                path: path.to_owned(),
                lock: lock.into(),
            }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
