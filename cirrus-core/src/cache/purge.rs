//! Removal by URL, prefix, tag, host or all.

use std::sync::Arc;

use super::key::CacheKey;

/// What to remove, and how thoroughly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purge {
    /// Which objects.
    pub what: Selection,
    /// Removed, or only made stale.
    pub mode: Mode,
}

/// Which objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Selection {
    /// All variants of one URL.
    Url(CacheKey),
    /// Every URL of this host, both schemes, whose path and query begin with this.
    Prefix {
        /// The host, as in [`CacheKey::host`].
        host: Arc<str>,
        /// The beginning of the target.
        path: Arc<str>,
    },
    /// Everything with this label.
    Tag(Arc<str>),
    /// Everything of this host, both schemes.
    Host(Arc<str>),
    /// Everything.
    All,
}

/// Removed, or only made stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not found any more.
    #[default]
    Hard,
    /// Found, but stale: it may be revalidated, or served while that happens.
    Soft,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// How many objects it concerned, where that is known without looking for them.
    pub objects: Option<u64>,
}

// === impl Purge ===

impl Purge {
    /// Removes.
    #[must_use]
    pub fn hard(what: Selection) -> Self {
        Self {
            what,
            mode: Mode::Hard,
        }
    }

    /// Makes stale.
    #[must_use]
    pub fn soft(what: Selection) -> Self {
        Self {
            what,
            mode: Mode::Soft,
        }
    }
}

// === impl Purged ===

impl Purged {
    /// It concerned this many objects.
    #[must_use]
    pub fn counted(objects: u64) -> Self {
        Self {
            objects: Some(objects),
        }
    }
}
