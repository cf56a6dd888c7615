//! From a builder to a process: start, say where it listens, serve, and end as signals ask.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use cirrus_core::config::Config;
use cirrus_core::server::{Builder, Running};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Threads for background work; traffic has threads of its own.
const THREADS: usize = 2;

/// The signals that end the program.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Runs `work` on a runtime for background work, and ends what is left of it.
pub(crate) fn block_on<F, T>(work: F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("cirrus-background")
        .enable_all()
        .build()?;
    let result = runtime.block_on(work);
    // A file system that hangs must not keep the process alive.
    runtime.shutdown_background();
    result
}

/// Starts the server and serves until a signal ends it.
pub(crate) async fn serve(builder: Builder, config: &Config) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let running = builder.start().await?;
    announce(&running, config);
    end(running, signals).await
}

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends at once.
pub(crate) async fn end(running: Running, mut signals: Signals) -> Result<(), Failure> {
    let name = tokio::select! {
        name = signals.next() => name,
        never = crate::memory::give_back() => match never {},
    };
    tracing::info!("{name}: finishing requests in flight; a second signal ends at once");
    tokio::select! {
        () = running.shutdown() => Ok(()),
        name = signals.next() => Err(Failure::from(format!("a second signal ({name}) cut off requests in flight"))),
    }
}

fn announce(running: &Running, config: &Config) {
    for (address, listener) in running.addresses().iter().zip(&config.listen) {
        tracing::info!("listening on {}", url(*address, listener.tls));
    }
    if let Some(address) = running.admin() {
        tracing::info!("admin on {}", url(address, false));
    }
}

/// What a browser would be given.
pub(crate) fn url(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

// === impl Signals ===

impl Signals {
    /// From now on signals do not end the program by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self {
            terminate,
            interrupt,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
