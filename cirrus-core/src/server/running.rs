//! A server that serves: its worker threads, its admin listener, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::admin;
use super::builder::{Parts, StartError};
use super::engine::Engine;
use super::supervise::{Drain, Tasks};
use super::worker::Worker;
use crate::config::ListenConfig;
use crate::downstream::CertProvider;
use crate::downstream::listen::{self, Beginning, Bound};
use crate::downstream::tls::{Acceptor, HandshakeTimeout, Spawn, Terms, Turns};
use crate::upstream::pool::Pool;

/// How often idle connections to origins are looked through.
const REAP: Duration = Duration::from_secs(5);

/// A running server. Dropped, it ends at once; [`shutdown`](Self::shutdown) lets requests in flight finish.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    engine: Arc<Engine>,
    /// Of connections and listeners.
    drain: Drain,
    /// Of watches and the admin listener, which stay to the end.
    background: Drain,
    tasks: Tasks,
    threads: Vec<(JoinHandle<()>, oneshot::Receiver<()>)>,
}

/// Opens the sockets and starts the threads.
pub(super) async fn start(parts: Parts) -> Result<Running, StartError> {
    let snapshot = parts.engine.live.now();
    let acceptor = match &parts.certs {
        Some(certs) if snapshot.config.listen.iter().any(|listener| listener.tls) => {
            Some(acceptor(certs, &parts)?)
        }
        _ => None,
    };
    let bind = |listener: &ListenConfig| Bound::new(listener, parts.workers);
    let mut bound = snapshot
        .config
        .listen
        .iter()
        .map(bind)
        .collect::<Result<Vec<_>, _>>()?;
    let admin = match &snapshot.config.admin {
        Some(admin) => Some(Bound::new(&ListenConfig::plain(admin.address), 1)?),
        None => None,
    };
    let drain = Drain::default();
    let mut running = Running {
        addresses: bound.iter().map(|bound| bound.address).collect(),
        admin: admin.as_ref().map(|bound| bound.address),
        engine: Arc::clone(&parts.engine),
        drain: drain.clone(),
        background: parts.background.clone(),
        tasks: parts.tasks.clone(),
        threads: Vec::with_capacity(parts.workers),
    };
    let mut workers = Vec::with_capacity(parts.workers);
    for index in 0..parts.workers {
        let worker = Worker::new(Arc::clone(&parts.engine), index, drain.child());
        let turns = Turns::new(worker.connections.clone());
        let sockets = bound
            .iter_mut()
            .filter_map(|bound| {
                let beginning = beginning(bound, acceptor.as_ref(), &turns);
                Some((bound.sockets.pop()?, beginning))
            })
            .collect();
        workers.push(Arc::clone(&worker));
        running.threads.push(spawn(worker, sockets)?);
    }
    if let Some(bound) = admin {
        let state = admin::State::new(
            Arc::clone(&parts.engine),
            workers,
            parts.follower.status(),
            prefetches(&parts),
            drain,
        );
        parts
            .tasks
            .spawn(admin::serve(bound, state, parts.background.clone()));
    }
    parts.begin();
    for address in &running.addresses {
        tracing::debug!(%address, "listening");
    }
    Ok(running)
}

/// What is fetched before it is asked for, beside the workers.
fn prefetches(parts: &Parts) -> admin::Prefetches {
    let worker = Worker::new(Arc::clone(&parts.engine), 0, parts.background.child());
    let reaping = reap(Arc::clone(&worker.pool), parts.background.clone());
    parts.tasks.spawn(reaping);
    admin::Prefetches::new(worker, parts.tasks.clone(), parts.background.clone())
}

/// One for all workers: sessions and loads are shared. Loads run in the background, since they outlive a connection.
fn acceptor(certs: &Arc<dyn CertProvider>, parts: &Parts) -> Result<Acceptor, StartError> {
    let (tasks, background) = (parts.tasks.clone(), Handle::current());
    let live = &parts.engine.live;
    let snapshot = live.now();
    let limits = &snapshot.config.limits;
    let limit = limits.handshake_time.as_duration();
    let clock = Arc::clone(&parts.engine.clock);
    let terms = Terms::new(&snapshot.config.tls, clock, Some(Arc::clone(live)))
        .map_err(|error| StartError::System(error.into()))?;
    parts
        .tasks
        .spawn(Arc::clone(&terms).follow(Arc::clone(certs), parts.background.clone()));
    let spawn = Spawn::new(move |load| tasks.spawn_on(&background, load));
    let acceptor = Acceptor::new(Arc::clone(certs), terms, spawn);
    Ok(acceptor
        .with_timeout(HandshakeTimeout(limit))
        .with_room(limits.handshakes))
}

/// How the connections of a listener begin.
fn beginning(bound: &Bound, acceptor: Option<&Acceptor>, turns: &Turns) -> Beginning {
    let acceptor = acceptor.filter(|_| bound.tls).cloned();
    let acceptor = acceptor.map(|acceptor| acceptor.with_turns(turns.clone()));
    Beginning {
        tls: acceptor.map(|acceptor| match bound.http2 {
            true => acceptor,
            false => acceptor.without_http2(),
        }),
        http2: bound.http2,
        half_close: bound.half_close,
        senders: bound.senders.clone(),
    }
}

/// Each with how its connections begin.
type Sockets = Vec<(std::net::TcpListener, Beginning)>;

/// Starts one worker's thread; the receiver hears when it has ended.
fn spawn(
    worker: Arc<Worker>,
    sockets: Sockets,
) -> Result<(JoinHandle<()>, oneshot::Receiver<()>), StartError> {
    let system = |error: std::io::Error| StartError::System(error.into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system)?;
    let (ended, hears) = oneshot::channel();
    let work = move || {
        runtime.block_on(work(worker, sockets));
        // A file system or resolver that hangs must not keep the process from ending.
        runtime.shutdown_background();
        // Nobody may be left to hear it.
        let _ = ended.send(());
    };
    let thread = std::thread::Builder::new()
        .name("cirrus-worker".to_owned())
        .spawn(work)
        .map_err(system)?;
    Ok((thread, hears))
}

/// A worker's life: accept until draining begins, then see the connections to their end.
async fn work(worker: Arc<Worker>, sockets: Sockets) {
    let accepting = Tasks::default();
    for (socket, beginning) in sockets {
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                accepting.spawn(listen::accept(listener, beginning, Arc::clone(&worker)));
            }
            Err(error) => tracing::error!(%error, "a listening socket cannot be used"),
        }
    }
    let reaping = Tasks::default();
    reaping.spawn(reap(Arc::clone(&worker.pool), worker.drain.clone()));
    worker.drain.begun().await;
    accepting.ended(Duration::MAX).await;
    // `over` closes what is left.
    worker.connections.ended(Duration::MAX).await;
    // Fills may have readers on other workers.
    tokio::select! {
        _ = worker.engine.tasks.ended(Duration::MAX) => {}
        () = worker.drain.over() => {}
    }
}

/// Closes connections to origins that have been idle for too long, until draining begins.
pub(super) async fn reap(pool: Arc<Pool>, drain: Drain) {
    let mut ticks = tokio::time::interval(REAP);
    loop {
        tokio::select! {
            _ = ticks.tick() => pool.reap(),
            () = drain.begun() => return,
        }
    }
}

// === impl Running ===

impl Running {
    /// The addresses that are listened on, in the configuration's order, with the ports that were found for port 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The admin listener's address.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The revision of the configuration in force; grows by one with each that is applied.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.engine.live.now().revision
    }

    /// Refuses new connections, lets requests in flight finish within `server.drain`, closes the rest.
    ///
    /// Idle connections are closed at once; HTTP/1.1 responses in flight say `Connection: close`, HTTP/2 clients get
    /// GOAWAY.
    pub async fn shutdown(mut self) {
        let limit = self.engine.live.now().config.server.drain.as_duration();
        tracing::info!(?limit, "draining");
        self.drain.begin();
        let threads = std::mem::take(&mut self.threads);
        let all = async {
            for (thread, ended) in threads {
                // An error means that it has ended as well.
                let _ = ended.await;
                if thread.join().is_err() {
                    tracing::error!("a worker panicked");
                }
            }
        };
        let mut all = std::pin::pin!(all);
        if tokio::time::timeout(limit, all.as_mut()).await.is_err() {
            tracing::warn!("the time for draining is over; closing the remaining connections");
            self.drain.end();
            all.await;
        }
        self.engine.log.finish().await;
        self.background.end();
        self.tasks.ended(Duration::from_secs(1)).await;
        tracing::info!("stopped");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.end();
        self.background.end();
    }
}
