//! Pieces of the engine on their own, for benches.

use std::sync::Arc;

use tokio::net::UnixStream;

use crate::body::Request;
use crate::cache::Scheme;
pub use crate::cache::pieces::{CacheHit, Freshnesses};
use crate::config::{BalancePolicy, OriginProtocol};
use crate::discovery::{Endpoint, Endpoints};
use crate::downstream::{Connection, KnownHost, hygiene};
use crate::upstream::pool::{Io, Pool, Transport, Wire};
use crate::upstream::{Balance, Cluster, Keep, Plan, Wanted};

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

/// The endpoints of a cluster, and who is next.
#[derive(Debug)]
pub struct Choice {
    cluster: Cluster,
    key: std::cell::Cell<u64>,
}

// === impl Choice ===

impl Choice {
    /// Needs a runtime. So many endpoints under a policy.
    #[must_use]
    pub fn new(policy: BalancePolicy, endpoints: usize) -> Self {
        let plan = Plan {
            policy,
            ..Plan::default()
        };
        let balance = Balance {
            plan,
            hash: None,
            sticky: None,
            subset: None,
        };
        let cluster = Cluster::of_balance(balance, &Self::endpoints(endpoints));
        Self {
            cluster,
            key: std::cell::Cell::new(0),
        }
    }

    /// So many endpoints.
    #[must_use]
    pub fn endpoints(count: usize) -> Endpoints {
        let url = |n: usize| format!("http://10.0.{}.{}:80", n / 256, n % 256).parse();
        (0..count)
            .filter_map(|n| url(n).ok().map(Endpoint::new))
            .collect()
    }

    /// Whether there is a next one.
    #[must_use]
    pub fn pick(&self) -> bool {
        self.key
            .set(self.key.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let wanted = Wanted {
            key: Some(self.key.get()),
            session: None,
        };
        self.cluster.pick_for(&[], wanted, None).is_some()
    }

    /// Other endpoints.
    pub fn update(&self, endpoints: &Endpoints) {
        self.cluster.update(endpoints);
    }
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
        let wire = self.pool.take(&self.transport, tokio::time::Instant::now());
        let is_there = wire.is_some();
        wire.into_iter().for_each(|wire| self.put(wire));
        is_there
    }

    fn put(&self, wire: Box<Wire>) {
        let home = self.pool.home(&self.transport, Keep::default());
        home.put(wire, tokio::time::Instant::now());
    }
}

impl Default for Checkout {
    fn default() -> Self {
        Self::new()
    }
}
