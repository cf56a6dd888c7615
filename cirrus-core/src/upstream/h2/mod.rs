//! HTTP/2 to the origin: one connection carries many requests, each relayed in its own task.
//!
//! A connection has a task of its own, which moves frames and finds out when the origin is gone.

mod body;
mod exchange;
mod pulse;
mod session;
mod sessions;
mod upload;

pub(crate) use exchange::exchange;
pub(crate) use session::Lease;
pub(crate) use sessions::{Origin, Sessions, Turn};

/// The most requests at once on one connection; the origin may want fewer. Then there is another connection.
const MAX_STREAMS: usize = 64;

/// What one response may send ahead of its reader.
const STREAM_WINDOW: u32 = 512 * 1024;

/// What all responses of a connection may send ahead together: room for each, so that readers who do not read hold up
/// nobody else.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;

/// How much of one request's body waits in memory for the socket.
const SEND_BUFFER: usize = 128 * 1024;
