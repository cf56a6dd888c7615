//! What all workers share.

use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::Semaphore;

use super::supervise::{Background, Tasks};
use crate::cache::purger::Purger;
use crate::cache::{CacheStore, Flights, Outage, Purges};
use crate::clock::Clock;
use crate::config::Live;
use crate::discovery::Registry;
use crate::discovery::feed::Feeds;
use crate::downstream::{CertProvider, Clients};
use crate::health::Checks;
use crate::metrics::{Cells, SiteCells, Sites};
use crate::middleware::{AccessLog, Stack};
use crate::upstream::Connector;

/// What all workers share. Nothing here is locked on the way of a cache hit.
pub(crate) struct Engine {
    /// The configuration in force.
    pub(crate) live: Arc<Live>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Option<Arc<dyn CacheStore>>,
    /// Answers challenges of certificate authorities.
    pub(crate) certs: Option<Arc<dyn CertProvider>>,
    /// Removes from the store what operators and origins want removed.
    pub(crate) purger: Option<Purger>,
    /// What was purged here that other edges need not have heard of.
    pub(crate) purges: Arc<Purges>,
    /// The services whose endpoints are watched.
    pub(crate) feeds: Option<Arc<Feeds>>,
    /// Endpoints that operators and programs put in and take out.
    pub(crate) registry: Option<Registry>,
    pub(crate) background: Background,
    /// Fetches that others wait for.
    pub(crate) flights: Flights,
    /// Whether the store can be asked.
    pub(crate) outage: Outage,
    /// Fills and revalidations that outlive the request that began them.
    pub(crate) tasks: Tasks,
    pub(crate) connector: Connector,
    /// What looks after endpoints.
    pub(crate) checks: Arc<Checks>,
    /// Each worker's counters.
    pub(crate) cells: Box<[Arc<Cells>]>,
    pub(crate) sites: Arc<Sites>,
    /// The counters of requests that no site was found for.
    pub(crate) no_site: Arc<SiteCells>,
    /// Room for connections.
    pub(crate) permits: Arc<Semaphore>,
    /// How many connections each client has.
    pub(crate) clients: Arc<Clients>,
    pub(crate) log: Arc<AccessLog>,
    /// This process's name in `CDN-Loop` (RFC 8586).
    pub(crate) token: HeaderValue,
    /// Where every request begins.
    pub(crate) front: Stack,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("revision", &self.live.now().revision)
            .finish_non_exhaustive()
    }
}

#[cfg(any(test, feature = "testing"))]
impl Engine {
    /// An engine with an empty configuration and one worker.
    pub(crate) fn testing(clock: Arc<dyn Clock>, store: Option<Arc<dyn CacheStore>>) -> Arc<Self> {
        use crate::cache::purger::Doer;
        use crate::config::{Abilities, Compiler, Config};
        let sites = Arc::new(Sites::new(1));
        let compiler = Compiler {
            abilities: Abilities::default(),
            sites: Arc::clone(&sites),
            states: Default::default(),
        };
        let (snapshot, _) = compiler
            .compile(Config::default(), None, clock.now())
            .expect("an empty configuration is valid");
        let purges = Arc::new(Purges::new(Arc::clone(&clock)));
        Arc::new(Self {
            live: Arc::new(Live::new(snapshot)),
            clock,
            purger: store.clone().map(|store| {
                let meaning =
                    |key: &crate::cache::CacheKey| vec![crate::cache::Selection::Url(key.clone())];
                let doer = Doer::new(store, Box::new(meaning), Arc::clone(&purges));
                Purger::new(doer, None)
            }),
            store,
            certs: None,
            purges,
            feeds: None,
            registry: None,
            background: Background::default(),
            flights: Flights::default(),
            outage: Outage::default(),
            tasks: Tasks::default(),
            connector: Connector::default(),
            checks: Arc::default(),
            cells: Box::new([Arc::default()]),
            sites,
            no_site: Arc::new(SiteCells::new("_none".into(), 1)),
            permits: Arc::new(Semaphore::new(16)),
            clients: Arc::default(),
            log: Arc::default(),
            token: HeaderValue::from_static("cirrus-test"),
            front: crate::middleware::front(Vec::new()),
        })
    }
}
