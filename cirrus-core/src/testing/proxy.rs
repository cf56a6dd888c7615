//! A proxy on a free port.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::origin;
use crate::Updates;
use crate::clock::ManualClock;
use crate::clock::Timestamp;
use crate::config::{Config, ConfigSource, Format};
use crate::server::{Builder, Server, StartError};

/// A proxy that is being described; [`run`](Self::run) starts it.
#[derive(Debug)]
pub struct Proxy {
    builder: Builder,
    toml: String,
    clock: ManualClock,
}

/// A running proxy.
#[derive(Debug)]
pub struct Running {
    server: Option<crate::server::Running>,
    source: Source,
    clock: ManualClock,
}

/// A configuration that the test replaces.
#[derive(Clone, Debug)]
pub struct Source(Arc<Mutex<watch::Sender<Config>>>);

/// A proxy for every host to one origin, with the cache on.
pub fn to(origin: &origin::Running) -> Proxy {
    new(&format!(
        "[[site]]\nhosts = [\"*\"]\ncache = {{ enable = true }}\n[[site.origin]]\nurl = \"{}\"\n",
        origin.url()
    ))
}

/// A proxy with this configuration, on a free port of the loopback interface unless it names others; one worker,
/// and an admin listener on a free port.
#[must_use]
pub fn new(toml: &str) -> Proxy {
    let clock = ManualClock::at(Timestamp::from_secs(1_795_200_000));
    Proxy {
        builder: Server::builder().clock(clock.clone()),
        toml: toml.to_owned(),
        clock,
    }
}

fn parse(toml: &str) -> Config {
    let mut text = String::new();
    if !toml.contains("[[listen]]") {
        text.push_str("[[listen]]\naddress = \"127.0.0.1:0\"\n");
    }
    if !toml.contains("[admin]") {
        text.push_str("[admin]\naddress = \"127.0.0.1:0\"\n");
    }
    if !toml.contains("[server]") {
        text.push_str("[server]\nworkers = 1\n");
    }
    text.push_str(toml);
    match Config::parse(&text, Format::Toml) {
        Ok((config, _)) => config,
        Err(faults) => panic!("{faults}"),
    }
}

// === impl Proxy ===

impl Proxy {
    /// Gives the builder further parts: a store, certificates, layers.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.builder = change(self.builder);
        self
    }

    /// The clock that its freshness goes by.
    #[must_use]
    pub fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn run(self) -> Running {
        match self.start().await {
            Ok(running) => running,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts it, or says why not.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    ///
    /// # Panics
    ///
    /// If the configuration cannot be read.
    pub async fn start(self) -> Result<Running, StartError> {
        let source = Source(Arc::new(Mutex::new(watch::Sender::new(parse(&self.toml)))));
        let server = self.builder.config(source.clone()).start().await?;
        Ok(Running {
            server: Some(server),
            source,
            clock: self.clock,
        })
    }
}

// === impl Running ===

impl Running {
    fn server(&self) -> &crate::server::Running {
        self.server.as_ref().expect("a proxy that runs")
    }

    /// Where it listens, if that is one address.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server().addresses()[0]
    }

    /// Where it listens.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.server().addresses()
    }

    /// Where operators ask.
    ///
    /// # Panics
    ///
    /// If it has no admin listener.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.server().admin().expect("an admin listener")
    }

    /// The clock that its freshness goes by.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Which revision of its configuration is in force.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.server().revision()
    }

    /// Offers another configuration; the next revision tells that it is in force.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn reconfigure(&self, toml: &str) {
        let sender = self.source.0.lock();
        let before = sender.borrow().clone();
        let mut config = parse(toml);
        config.listen = before.listen;
        config.admin = before.admin;
        sender.send_replace(config);
    }

    /// Drains it.
    ///
    /// # Panics
    ///
    /// If it has been drained already.
    pub async fn shutdown(mut self) {
        self.server
            .take()
            .expect("a proxy that runs")
            .shutdown()
            .await;
    }
}

impl ConfigSource for Source {
    fn watch(&self) -> Updates<Config> {
        let receiver = self.0.lock().subscribe();
        let first = receiver.borrow().clone();
        let later = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.changed().await.ok()?;
            let config = receiver.borrow_and_update().clone();
            Some((Ok(config), receiver))
        });
        Box::pin(futures_util::stream::once(async { Ok(first) }).chain(later))
    }
}
