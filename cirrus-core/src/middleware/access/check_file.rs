//! What is wrong with the files that policies read, for the check of a configuration.

use std::path::Path;

use super::entries::entries;
use super::jwks::Keys;
use super::watched::try_read;
use crate::config::{KeyHash, PasswordHash};

/// Of `users_file`.
pub(crate) fn users_fault(path: &Path) -> Option<String> {
    try_read(path, entries::<PasswordHash>).err()
}

/// Of `keys_file`.
pub(crate) fn keys_fault(path: &Path) -> Option<String> {
    try_read(path, entries::<KeyHash>).err()
}

/// Of `jwks_file`.
pub(crate) fn jwks_fault(path: &Path) -> Option<String> {
    try_read(path, Keys::parse).err()
}
