//! Pieces of the engine on their own, for benches.

use std::sync::Arc;

use tokio::net::UnixStream;

use crate::body::Request;
use crate::cache::Scheme;
pub use crate::cache::pieces::{CacheHit, Freshnesses};
use crate::config::OriginProtocol;
use crate::downstream::{Connection, KnownHost, hygiene};
use crate::upstream::Keep;
use crate::upstream::pool::{Io, Pool, Transport, Wire};

/// Header hygiene as every request of one connection has it.
#[derive(Debug)]
pub struct Hygiene {
    connection: Connection,
    known: KnownHost,
}

/// A pool with one idle connection.
#[derive(Debug)]
pub struct Checkout {
    pool: Arc<Pool>,
    transport: Arc<Transport>,
    _origin: UnixStream,
}

// === impl Hygiene ===

impl Default for Hygiene {
    fn default() -> Self {
        let (peer, local) = (([192, 0, 2, 1], 50_000).into(), ([192, 0, 2, 2], 80).into());
        Self {
            connection: Connection::plain(peer, local),
            known: KnownHost::default(),
        }
    }
}

impl Hygiene {
    /// Whether the request may be routed.
    #[must_use]
    pub fn admits(&self, request: Request) -> bool {
        let known = Some(&self.known);
        hygiene::admit(Box::new(request), &self.connection, Scheme::Http, known).is_ok()
    }
}

// === impl Checkout ===

impl Checkout {
    /// Needs a runtime.
    ///
    /// # Panics
    ///
    /// Without file descriptors.
    #[must_use]
    pub fn new() -> Self {
        let (Ok((ours, origin)), Ok(url)) = (UnixStream::pair(), "http://origin.example".parse())
        else {
            panic!("no sockets")
        };
        let checkout = Self {
            pool: Arc::default(),
            transport: Arc::new(Transport {
                url,
                sni: None,
                tls: None,
                introduction: None,
                protocol: OriginProtocol::Http1,
                owner: None,
            }),
            _origin: origin,
        };
        checkout.put(Wire::new(Io::Unix(ours)));
        checkout
    }

    /// Takes the connection and gives it back; whether it was there.
    #[must_use]
    pub fn round(&self) -> bool {
        let wire = self.pool.take(&self.transport);
        let is_there = wire.is_some();
        wire.into_iter().for_each(|wire| self.put(wire));
        is_there
    }

    fn put(&self, wire: Box<Wire>) {
        let home = self.pool.home(&self.transport, Keep::default());
        home.put(wire);
    }
}

impl Default for Checkout {
    fn default() -> Self {
        Self::new()
    }
}
