//! From parts to a running server.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http_body::Body as HttpBody;
use tokio::sync::Semaphore;
use tower_layer::Layer;
use tower_service::Service;

use super::engine::Engine;
use super::plug::{Plug, Plugged};
use super::proxy::Proxy;
use super::purging;
use super::running::{Running, start};
use super::supervise::{Background, Drain, Tasks};
use super::worker::Worker;
use crate::body::Request;
use crate::cache::{CacheStore, Flights, Outage, PurgeLog, Purges};
use crate::clock::{Clock, SystemClock};
use crate::config::{Abilities, Compiler, Config, ConfigSource, Follower, Live};
use crate::discovery::feed::Feeds;
use crate::discovery::guard::Floor;
use crate::discovery::state::StateDirectory;
use crate::discovery::{Discovery, Registry};
use crate::downstream::CertProvider;
use crate::downstream::listen::BindError;
use crate::error::BoxError;
use crate::health::{Checks, Guard, Probe};
use crate::metrics::{Cells, SiteCells, Sites};
use crate::middleware::{self, AccessLog};
use crate::upstream::Connector;

/// Cirrus: begin with [`Server::builder`].
#[derive(Clone, Copy, Debug)]
pub struct Server;

/// Takes the parts of a server; each has a default.
///
/// ```no_run
/// # async fn run() -> Result<(), cirrus_core::server::StartError> {
/// cirrus_core::Server::builder().run(std::future::pending()).await
/// # }
/// ```
#[must_use]
pub struct Builder {
    config: Arc<dyn ConfigSource>,
    discovery: Option<Arc<dyn Discovery>>,
    registry: Option<Registry>,
    store: Option<Arc<dyn CacheStore>>,
    purge_log: Option<Arc<dyn PurgeLog>>,
    certs: Option<Arc<dyn CertProvider>>,
    clock: Arc<dyn Clock>,
    plugs: Vec<Plug>,
    probes: HashMap<String, Arc<dyn Probe>>,
}

/// Why a server does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no configuration, or it has faults.
    #[error("{0}")]
    Config(#[source] BoxError),
    /// A socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The access log cannot be opened.
    #[error("cannot open the access log {}: {source}", path.display())]
    AccessLog {
        /// The file; empty for standard output.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The directory for the endpoints of services cannot be had.
    #[error("cannot use the directory of discovery.state, {}: {source}", path.display())]
    State {
        /// The directory.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The machine refuses a thread, or TLS cannot be set up.
    #[error("cannot start: {0}")]
    System(#[source] BoxError),
}

/// Everything that is made before a socket is opened.
pub(super) struct Parts {
    pub(super) engine: Arc<Engine>,
    pub(super) follower: Arc<Follower>,
    pub(super) certs: Option<Arc<dyn CertProvider>>,
    pub(super) tasks: Tasks,
    /// Ends what runs in the background.
    pub(super) background: Drain,
    pub(super) workers: usize,
}

// === impl Server ===

impl Server {
    /// A server of default parts: no sites (every request is answered 404), no discovery, no cache, no certificates.
    pub fn builder() -> Builder {
        Builder {
            config: Arc::new(Nothing),
            discovery: None,
            registry: None,
            store: None,
            purge_log: None,
            certs: None,
            clock: Arc::new(SystemClock),
            plugs: Vec::new(),
            probes: HashMap::new(),
        }
    }
}

// === impl Builder ===

impl Builder {
    /// Where the configuration comes from. By default an empty one.
    pub fn config(mut self, source: impl ConfigSource) -> Self {
        self.config = Arc::new(source);
        self
    }

    /// What finds the endpoints of clusters that name a `service`. By default such clusters are faults.
    pub fn discovery(mut self, discovery: impl Discovery) -> Self {
        self.discovery = Some(Arc::new(discovery));
        self
    }

    /// A table of endpoints that the admin listener offers for change, at `/api/v1/registry`. By default there is none.
    ///
    /// Give it to [`discovery`](Self::discovery) too, by itself or among others.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Where responses are kept. By default none are.
    pub fn cache(mut self, store: impl CacheStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// A log of purges that this edge and others follow. By default purges concern this edge only.
    ///
    /// Before it serves, the server waits a while for the purges it has missed; until it has done them, what was stored
    /// before is not used. Without a store it is ignored.
    pub fn purge_log(mut self, log: impl PurgeLog) -> Self {
        self.purge_log = Some(Arc::new(log));
        self
    }

    /// What supplies server certificates. By default listeners with `tls` are faults.
    pub fn certs(mut self, provider: impl CertProvider) -> Self {
        self.certs = Some(Arc::new(provider));
        self
    }

    /// What tells the wall-clock time. By default the machine's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Adds a tower layer around routing and everything behind it. The first one added is the outermost.
    ///
    /// It sees each request after hygiene (one valid host, one way to write the path, no hop-by-hop fields, an
    /// `Arc<Connection>` in its extensions) and each response as the client will get it, cache hits and errors included.
    pub fn layer<L, B, E>(mut self, layer: L) -> Self
    where
        L: Layer<Plugged> + Send + 'static,
        L::Service: Service<Request, Response = http::Response<B>, Error = E>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        E: Into<BoxError> + 'static,
    {
        self.plugs.push(Box::new(move |inner| inner.wrap(&layer)));
        self
    }

    /// A health check of your own: checks with `kind = "custom"` ask it by this name.
    pub fn probe(mut self, name: impl Into<String>, probe: impl Probe) -> Self {
        self.probes.insert(name.into(), Arc::new(probe));
        self
    }

    /// Starts, serves until `shutdown` resolves, then drains: new connections are refused, requests in flight may
    /// finish within `server.drain`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends everything at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let running = self.start().await?;
        shutdown.await;
        running.shutdown().await;
        Ok(())
    }

    /// Starts listeners and workers as configured, and returns as soon as they serve.
    ///
    /// Background work (watches, certificates, the admin listener) runs on the caller's runtime.
    pub async fn start(self) -> Result<Running, StartError> {
        let parts = self.parts(None).await?;
        start(parts).await
    }

    /// The engine as a service, for programs with listeners of their own: `listen` and `admin` are not opened.
    pub async fn build(self) -> Result<Proxy, StartError> {
        let parts = self.parts(Some(1)).await?;
        let worker = Worker::new(Arc::clone(&parts.engine), 0, parts.background.clone());
        parts.begin();
        parts.tasks.spawn(super::running::reap(
            Arc::clone(&worker.pool),
            parts.background.clone(),
        ));
        Ok(Proxy::new(worker, parts.background))
    }

    async fn parts(self, workers: Option<usize>) -> Result<Parts, StartError> {
        let (tasks, background) = (Tasks::default(), Drain::default());
        let abilities = Abilities::new(false, self.certs.is_some());
        let mut abilities = abilities.with_probes(self.probes.keys().cloned());
        if let Some(discovery) = &self.discovery {
            abilities = abilities.with_discovery(Arc::clone(discovery));
        }
        // Counters of sites are made while compiling, so the number of workers has to be known before.
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let sites = Arc::new(Sites::new(workers.unwrap_or(threads)));
        let compiler = Compiler {
            abilities,
            sites: Arc::clone(&sites),
            states: Default::default(),
        };
        let follower = Follower::new(self.config, compiler, tasks.clone(), background.clone());
        let first = follower
            .first(self.clock.now())
            .await
            .map_err(StartError::Config)?;
        let config = Arc::clone(&first.config);
        let workers = workers.unwrap_or_else(|| config.server.workers.map_or(threads, usize::from));
        let log = AccessLog::open(&config.access_log, workers).map_err(|source| {
            StartError::AccessLog {
                path: config.access_log.file.clone().unwrap_or_default(),
                source,
            }
        })?;
        let live = Arc::new(Live::new(first));
        let state = config.discovery.state.as_deref().map(|path| {
            StateDirectory::open(path, Arc::clone(&self.clock)).map_err(|source| {
                StartError::State {
                    path: path.to_owned(),
                    source,
                }
            })
        });
        let state = state.transpose()?;
        let floor = Floor::of(&config.discovery.guard);
        let feeds = self
            .discovery
            .map(|source| Feeds::new(source, state, floor, tasks.clone(), background.clone()));
        let purges = Arc::new(Purges::new(Arc::clone(&self.clock)));
        let (store, purge_log) = (self.store, self.purge_log);
        let purging = purging::begin(store, purge_log, &live, &purges, &tasks, &background).await;
        let engine = Arc::new(Engine {
            live,
            clock: self.clock,
            store: purging.store,
            certs: self.certs.clone(),
            purger: purging.purger,
            purges,
            feeds,
            registry: self.registry,
            background: Background {
                runtime: tokio::runtime::Handle::try_current().ok(),
                tasks: tasks.clone(),
                drain: background.clone(),
            },
            flights: Flights::default(),
            outage: Outage::default(),
            tasks: Tasks::default(),
            connector: Connector::default(),
            checks: Arc::new(Checks::new(self.probes)),
            cells: (0..workers).map(|_| Arc::new(Cells::default())).collect(),
            sites,
            no_site: Arc::new(SiteCells::new("_none".into(), workers)),
            permits: Arc::new(Semaphore::new(config.limits.connections as usize)),
            clients: Arc::default(),
            log: Arc::new(log),
            token: token(),
            front: middleware::front(self.plugs),
        });
        Ok(Parts {
            engine,
            follower,
            certs: self.certs,
            tasks,
            background,
            workers,
        })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("layers", &self.plugs.len())
            .finish_non_exhaustive()
    }
}

// === impl Parts ===

impl Parts {
    /// Begins what runs in the background.
    pub(super) fn begin(&self) {
        // Before anybody is served: what is known from before is there at once.
        self.follower.watch_services(&self.engine);
        self.tasks
            .spawn(Arc::clone(&self.follower).run(Arc::clone(&self.engine)));
        let guard = Guard::new(
            Arc::clone(&self.engine),
            self.tasks.clone(),
            self.background.clone(),
        );
        self.tasks.spawn(guard.run());
        if let Some(certs) = self.certs.clone() {
            self.beside(async move { certs.maintain().await });
        }
        if let Some(store) = self.engine.store.clone() {
            self.beside(async move { store.maintain().await });
        }
        if self.engine.log.is_on() {
            let (log, drain) = (Arc::clone(&self.engine.log), self.background.clone());
            self.tasks.spawn(async move {
                tokio::select! {
                    () = middleware::keep_flushed(Arc::clone(&log)) => {}
                    () = drain.begun() => log.finish().await,
                }
            });
        }
    }

    /// Runs something until the background ends.
    fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let drain = self.background.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = drain.begun() => {}
            }
        });
    }
}

/// The configuration of a program that gives none.
struct Nothing;

impl ConfigSource for Nothing {
    fn watch(&self) -> crate::Updates<Config> {
        use futures_util::{StreamExt, stream};
        Box::pin(stream::once(async { Ok(Config::default()) }).chain(stream::pending()))
    }
}

/// A name that no other process has, for telling our own requests when they come round again.
fn token() -> HeaderValue {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(std::process::id());
    HeaderValue::try_from(format!("cirrus-{random:016x}"))
        .unwrap_or(HeaderValue::from_static("cirrus"))
}
