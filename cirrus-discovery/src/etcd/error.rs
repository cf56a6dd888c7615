//! What goes wrong with etcd.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::link::LinkError;
use crate::secret::Unreadable;
use crate::tls::TlsError;

/// etcd was not asked, or gave no answer that makes sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// An address is none.
    #[error("`{0}` is no address of etcd: write host:port")]
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
    #[error("TLS to etcd: {0}")]
    Tls(String),
    /// No connection.
    #[error("cannot connect to etcd at {at}: {source}")]
    Connect {
        /// Which server.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or was closed before there was an answer.
    #[error("etcd: {0}")]
    Broken(String),
    /// No answer in time.
    #[error("etcd at {at} does not answer within {limit:?}")]
    Late {
        /// Which server.
        at: String,
        /// The time that it had.
        limit: Duration,
    },
    /// It says no.
    #[error("etcd answers {status}: {text}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// What it says about it.
        text: String,
    },
    /// There is no JSON gateway.
    #[error(
        "etcd has no JSON gateway: start it with --enable-grpc-gateway, in version 3.4 or newer"
    )]
    NoGateway,
    /// The answer is no JSON, or another one than was asked for.
    #[error("etcd's answer makes no sense: {0}")]
    Answer(String),
}

impl From<LinkError> for EtcdError {
    fn from(error: LinkError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<TlsError> for EtcdError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::File { path, source } => Self::File { path, source },
            TlsError::Rustls(error) => Self::Tls(error.to_string()),
        }
    }
}

impl From<Unreadable> for EtcdError {
    fn from(Unreadable { path, source }: Unreadable) -> Self {
        Self::File { path, source }
    }
}
