//! Where certificates, accounts and answers to challenges are kept, and who may change them.

mod disk;
mod record;
#[cfg(feature = "redis")]
mod redis;
#[cfg(test)]
pub(crate) mod suite;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::BoxError;

pub use disk::DiskStore;
pub use record::{CertRecord, RecordError};
#[cfg(feature = "redis")]
pub use redis::RedisStore;

/// Keeps texts by [`Slot`], and gives out leases.
///
/// A write under a lease that has been lost is refused ([`StoreError::Fenced`]): whoever took over wins, even against a
/// node that was only slow. A write happens whole or not at all.
#[async_trait]
pub trait CertStore: Send + Sync + 'static {
    /// What stands there; `None` if nothing does.
    async fn read(&self, slot: &Slot<'_>) -> Result<Option<String>, StoreError>;

    /// Replaces what stands there.
    async fn write(&self, slot: &Slot<'_>, text: &str, lease: &Lease) -> Result<(), StoreError>;

    /// Has an answer to a challenge stand there for a while. It needs no lease: its name is the authority's choice.
    async fn publish(&self, slot: &Slot<'_>, text: &str, life: Duration) -> Result<(), StoreError>;

    /// Clears it; that nothing stands there is no error.
    async fn remove(&self, slot: &Slot<'_>) -> Result<(), StoreError>;

    /// The names of all certificates.
    async fn names(&self) -> Result<Vec<String>, StoreError>;

    /// The lease for `name`, if nobody else has it. Without [`extend`](Self::extend) it ends after `life`.
    async fn acquire(&self, name: &str, life: Duration) -> Result<Option<Lease>, StoreError>;

    /// Keeps a lease for another `life`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`]: it has been lost.
    async fn extend(&self, lease: &Lease, life: Duration) -> Result<(), StoreError>;

    /// Gives a lease back.
    async fn release(&self, lease: Lease) -> Result<(), StoreError>;

    /// Resolves when certificates may have changed: `Some` the name of the one, `None` any of them. A hint, which may get
    /// lost.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses no hint.
    async fn changed(&self) -> Option<String>;
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Slot<'a> {
    /// A certificate with its key: a [`CertRecord`].
    Cert(&'a str),
    /// What is known of attempts to get it, and credentials for its challenges.
    State(&'a str),
    /// The private key that renewals reuse.
    CertKey(&'a str),
    /// The accounts with all authorities.
    Account,
    /// An answer to HTTP-01, by its token.
    Token(&'a str),
    /// An answer to TLS-ALPN-01, by its host.
    Alpn(&'a str),
}

/// The right to change what belongs to one name.
pub struct Lease {
    /// What it is for.
    pub name: String,
    /// Greater than that of every lease for the name before.
    pub fence: u64,
    /// Held as long as the lease; backends put their lock here.
    guard: Option<Arc<dyn Send + Sync>>,
}

/// Why a store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else has the lease now; what was to be written is not.
    #[error("another node has taken over `{0}`")]
    Fenced(String),
    /// What stands there cannot be read.
    #[error("what is stored for `{name}` cannot be read: {reason}")]
    Damaged {
        /// Which name's.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be asked now.
    #[error("the certificate store cannot be used: {0}")]
    Unavailable(#[source] BoxError),
}

// === impl Lease ===

impl Lease {
    /// A lease that nothing but the store's own memory holds.
    #[must_use]
    pub fn new(name: impl Into<String>, fence: u64) -> Self {
        Self {
            name: name.into(),
            fence,
            guard: None,
        }
    }

    /// Holds `guard` for as long as it lives.
    #[must_use]
    pub fn holding(mut self, guard: impl Send + Sync + 'static) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("name", &self.name)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

// === impl StoreError ===

impl StoreError {
    /// It cannot be asked now, because of `cause`.
    pub fn unavailable(cause: impl Into<BoxError>) -> Self {
        Self::Unavailable(cause.into())
    }
}
