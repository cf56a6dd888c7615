//! HTTP/1.1 and HTTP/1.0 from clients, by hand (RFC 9112).
//!
//! One future for a connection, and no channel: the request's head is parsed once and strictly ([`decode`]), the
//! handler is polled in place, its body is read from the socket by whoever wants it ([`body`]), and the response is
//! written as it comes ([`respond`]). Between requests the connection gives up everything but its socket ([`park`]).
//!
//! What has two readings is refused with 400 before anything sees it; a body that breaks off or is not valid reaches
//! the origin as an aborted request.

mod body;
mod decode;
mod encode;
mod link;
mod park;
mod respond;
mod room;
mod session;
mod tunnel;
mod waits;

use std::io;

#[cfg(fuzzing)]
pub use decode::fuzz::request_head;
pub(super) use park::Socket;
pub(super) use session::Session;

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The client said nothing for too long.
    #[error("the client was silent for too long")]
    Silent,
    /// The client took nothing for too long.
    #[error("the client took nothing for too long")]
    Stuck,
    /// The time for draining is over.
    #[error("the time for draining is over")]
    Drained,
    /// The client left before its response was there.
    #[error("the client went away")]
    Gone,
    /// The response broke off.
    #[error("the response broke off")]
    Aborted,
    /// What came was no valid HTTP; the client has been told.
    #[error("no valid HTTP: {0}")]
    Malformed(&'static str),
    /// The socket failed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}
