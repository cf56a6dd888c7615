//! What goes wrong with Redis.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Unreadable;
use crate::tls::TlsError;

/// Redis was not asked, or gave no answer that makes sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// An address is none.
    #[error("`{0}` is no address of Redis: write host:port")]
    Address(String),
    /// A file cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS to Redis: {0}")]
    Tls(String),
    /// No connection, or it broke, or Redis says no.
    #[error("Redis at {at}: {source}")]
    Redis {
        /// Which server.
        at: String,
        /// What is wrong.
        source: redis::RedisError,
    },
    /// No answer in time.
    #[error("Redis at {at} does not answer within {limit:?}")]
    Late {
        /// Which server.
        at: String,
        /// The time that it had.
        limit: Duration,
    },
    /// The Sentinel has never heard of it.
    #[error("the Sentinel at {at} knows no master `{master}`")]
    NoMaster {
        /// Which Sentinel.
        at: String,
        /// Whom it was asked for.
        master: String,
    },
    /// The server that Sentinel names is not the master any more, or not yet.
    #[error("Redis at {0} is not the master just now")]
    NotMaster(String),
    /// The nodes send each other's visitors around.
    #[error("the nodes of the cluster do not agree on who has the key")]
    Redirects,
    /// The key is neither a hash nor a set.
    #[error("the key is a {0}: a hash or a set is needed")]
    Kind(String),
}

impl From<TlsError> for RedisError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::File { path, source } => Self::File { path, source },
            TlsError::Rustls(error) => Self::Tls(error.to_string()),
        }
    }
}

impl From<Unreadable> for RedisError {
    fn from(Unreadable { path, source }: Unreadable) -> Self {
        Self::File { path, source }
    }
}
