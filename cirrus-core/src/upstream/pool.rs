//! Connections kept open between requests.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::BytesMut;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::h1::is_quiet;
use crate::config::{OriginProtocol, OriginUrl};

/// The most idle connections to one endpoint that one worker keeps.
pub const MAX_IDLE: usize = 128;

/// How long a connection may stay idle.
pub const IDLE_TIME: Duration = Duration::from_secs(60);

/// Everything that makes two connections interchangeable; compared in full, never by a hash alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transport {
    /// Scheme, host and port.
    pub(crate) url: OriginUrl,
    /// The name asked for and verified in TLS, if not the host.
    pub(crate) sni: Option<Arc<str>>,
    /// What is offered in TLS, and spoken without.
    pub(crate) protocol: OriginProtocol,
}

/// The idle connections of one worker. The lock is another worker's business only at reaping and shutdown.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Arc<Transport>, Vec<Idle>, RandomState>>,
}

struct Idle {
    wire: Wire,
    since: Instant,
}

/// One connection with what was read ahead on it.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) io: Io,
    pub(crate) read: BytesMut,
    /// It has carried a request before: the origin may close it under us.
    pub(crate) reused: bool,
}

/// The bytes' way, with or without TLS.
#[derive(Debug)]
pub(crate) enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Where a connection goes back to.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pool: Weak<Pool>,
    transport: Arc<Transport>,
}

// === impl Pool ===

impl Pool {
    /// Takes the connection that was idle for the shortest time. Never waits: `None` means "connect".
    pub(crate) fn take(&self, transport: &Transport) -> Option<Wire> {
        let now = Instant::now();
        loop {
            let mut idle = self.idle.lock().get_mut(transport)?.pop()?;
            // The origin has closed it, or sends what nobody asked for.
            if now - idle.since < IDLE_TIME && is_quiet(&mut idle.wire) {
                idle.wire.reused = true;
                return Some(idle.wire);
            }
        }
    }

    /// Where a connection of this transport goes back to.
    pub(crate) fn home(self: &Arc<Self>, transport: &Arc<Transport>) -> Home {
        Home {
            pool: Arc::downgrade(self),
            transport: Arc::clone(transport),
        }
    }

    fn put(&self, transport: Arc<Transport>, mut wire: Wire) {
        // An idle connection keeps no buffer.
        wire.read = BytesMut::new();
        let mut pool = self.idle.lock();
        let idle = pool.entry(transport).or_default();
        if idle.len() < MAX_IDLE {
            idle.push(Idle {
                wire,
                since: Instant::now(),
            });
        }
    }

    /// Closes what has been idle for too long.
    pub(crate) fn reap(&self) {
        let now = Instant::now();
        self.idle.lock().retain(|_, idle| {
            idle.retain(|one| now - one.since < IDLE_TIME);
            !idle.is_empty()
        });
    }

    /// How many connections are idle.
    pub(crate) fn len(&self) -> usize {
        self.idle.lock().values().map(Vec::len).sum()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.len()).finish()
    }
}

// === impl Home ===

impl Home {
    /// Gives a connection back that is ready for another request.
    pub(crate) fn put(self, wire: Wire) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self.transport, wire);
        }
    }
}

// === impl Wire ===

impl Wire {
    /// A connection that has carried nothing yet.
    pub(crate) fn new(io: Io) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            reused: false,
        }
    }
}

// === impl Io ===

impl Io {
    /// The protocol that was agreed on in TLS.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tcp(_) => None,
            Self::Tls(io) => io.get_ref().1.alpn_protocol(),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
