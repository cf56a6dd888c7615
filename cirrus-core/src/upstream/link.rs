//! What a request goes to its origin on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::connect::Connector;
use super::h2::{Lease, Sessions, Turn};
use super::pool::{Pool, Transport, Wire};
use crate::cache::Scheme;
use crate::config::OriginProtocol;

/// What a request goes to its origin on.
pub(super) enum Link {
    /// A connection to itself.
    Http1(Box<Wire>),
    /// Room on one that it shares with others.
    Http2(Lease),
}

/// Who wants a connection, and how it may look for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) transport: &'a Arc<Transport>,
    /// It asks for another protocol, which only HTTP/1.1 can.
    pub(super) switches: bool,
    /// Longest wait for a new connection, TLS and HTTP/2's settings included.
    pub(super) limit: Duration,
}

/// What came of looking for a connection.
pub(super) enum Found {
    /// It was there already.
    Pooled(Link),
    /// It was opened.
    Opened(io::Result<Link>),
    /// Somebody else tried to open one just now, in vain.
    Failed(io::Error),
}

// === impl Link ===

impl Link {
    /// It has carried a request before: the origin may close it under us.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(wire) => wire.reused,
            Self::Http2(lease) => lease.reused,
        }
    }
}

// === impl Wish ===

impl Wish<'_> {
    /// Whether requests may share a connection.
    pub(super) fn is_shared(&self) -> bool {
        match self.transport.protocol {
            OriginProtocol::Http1 => false,
            OriginProtocol::Http2 => true,
            OriginProtocol::Auto => !self.switches && self.transport.url.scheme() == Scheme::Https,
        }
    }

    /// A connection for this request alone, by `transport`: its own, with the client's addresses filled in.
    pub(super) async fn dial(
        self,
        transport: &Transport,
        connector: &Connector,
    ) -> io::Result<Box<Wire>> {
        if transport.protocol == OriginProtocol::Http1 {
            return connector.connect(transport, self.limit).await;
        }
        let plain = Transport {
            protocol: OriginProtocol::Http1,
            ..transport.clone()
        };
        connector.connect(&plain, self.limit).await
    }

    /// Room on a connection that others have opened, or on a new one; one of its own if that is what the origin chooses.
    pub(super) async fn share(
        self,
        sessions: &Sessions,
        pool: &Pool,
        connector: &Connector,
    ) -> Found {
        let origin = sessions.of(self.transport);
        let gate = match origin.turn().await {
            Turn::Go(lease) => return Found::Pooled(Link::Http2(lease)),
            Turn::Failed(error) => return Found::Failed(error),
            Turn::Open(gate) => gate,
        };
        if gate.is_none()
            && let Some(wire) = pool.take(self.transport, Instant::now())
        {
            return Found::Pooled(Link::Http1(wire));
        }
        let opened = self.open(sessions, &origin, connector).await;
        if let Err(error) = &opened {
            origin.failed(error);
        }
        drop(gate);
        Found::Opened(opened)
    }

    async fn open(
        self,
        sessions: &Sessions,
        origin: &Arc<super::h2::Origin>,
        connector: &Connector,
    ) -> io::Result<Link> {
        let begun = Instant::now();
        let wire = connector.connect(self.transport, self.limit).await?;
        let plain = self.transport.url.scheme() == Scheme::Http;
        let http1 = !plain && wire.io.alpn() != Some(b"h2");
        if http1 && self.transport.protocol == OriginProtocol::Http2 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the origin does not offer HTTP/2 (ALPN)",
            ));
        }
        origin.chose_http1(http1);
        if http1 {
            return Ok(Link::Http1(wire));
        }
        let left = self.limit.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, sessions.open(origin, self.transport, wire)).await {
            Ok(lease) => lease.map(Link::Http2),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP/2 in time")),
        }
    }
}
