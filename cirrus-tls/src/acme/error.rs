//! Why there is no new certificate, and who could do better.

use cirrus_core::BoxError;

use super::dns::SolverError;
use super::store::{RecordError, StoreError};

/// Why an order came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The authority refuses, or cannot be reached.
    #[error("{}", told(.0))]
    Authority(#[from] instant_acme::Error),
    /// The authority tried and does not see what it should.
    #[error("the authority could not confirm {name}: {reason}")]
    Unconfirmed {
        /// The name that was to be confirmed.
        name: String,
        /// What it says.
        reason: String,
    },
    /// The authority does not offer the challenge for this name.
    #[error("the authority offers no {challenge} for {name}")]
    NoChallenge {
        /// The name that was to be confirmed.
        name: String,
        /// The challenge that was wanted.
        challenge: &'static str,
    },
    /// The record for DNS-01 could not be written.
    #[error(transparent)]
    Solver(#[from] SolverError),
    /// The certificate that came cannot be served.
    #[error("what the authority issued cannot be served: {0}")]
    Unusable(#[from] RecordError),
    /// The request could not be made.
    #[error("the certificate request cannot be made: {0}")]
    Request(#[source] BoxError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another node does this just now.
    #[error("another node is busy with {0}")]
    Busy(&'static str),
    /// It took too long.
    #[error("it took too long")]
    Timeout,
    /// There is no authority, or all of them want to be left alone.
    #[error("no authority can be asked now")]
    NoAuthority,
    /// The name may have no certificate.
    #[error("{0} may have no certificate")]
    NotAllowed(String),
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another authority may do better.
    Ask,
    /// The next one would find the same.
    Wait,
    /// The authority does not know the account.
    Register,
}

/// Problems that are ours, whoever is asked (RFC 8555 §6.7).
const OURS: [&str; 5] = [
    "connection",
    "dns",
    "incorrectResponse",
    "tls",
    "unauthorized",
];

// === impl IssueError ===

impl IssueError {
    /// The last word of the problem's name, if the authority has named one.
    pub(super) fn problem(&self) -> Option<&str> {
        match self {
            Self::Authority(instant_acme::Error::Api(problem)) => {
                problem.r#type.as_deref()?.rsplit(':').next()
            }
            _ => None,
        }
    }

    pub(super) fn is_bad_nonce(&self) -> bool {
        self.problem() == Some("badNonce")
    }

    pub(super) fn next(&self) -> Next {
        match self.problem() {
            Some("accountDoesNotExist") => return Next::Register,
            Some(problem) if OURS.contains(&problem) => return Next::Wait,
            _ => {}
        }
        match self {
            Self::Authority(_) | Self::NoChallenge { .. } | Self::Unusable(_) | Self::Timeout => {
                Next::Ask
            }
            _ => Next::Wait,
        }
    }
}

/// With the cause: the outer words of an HTTP client say nothing.
fn told(error: &instant_acme::Error) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    told
}
