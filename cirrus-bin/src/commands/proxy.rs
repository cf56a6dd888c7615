//! `cirrus proxy`.

use std::net::SocketAddr;

use clap::Args;
use tracing_subscriber::filter::LevelFilter;

use cirrus_core::config::OriginUrl;
use cirrus_discovery::Fixed;

use super::values::{self, Memory};
use crate::failure::Failure;
use crate::wire::{self, Edge};
use crate::{log, serve};

/// A caching reverse proxy without a file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cirrus proxy --to http://127.0.0.1:3000
  cirrus proxy --to http://10.0.0.1:3000 --to http://10.0.0.2:3000 --listen 0.0.0.0:80
  cirrus proxy --to https://shop.example --host shop.example --cache 1GiB

Requests take turns over several origins. SIGTERM and SIGINT let requests in flight finish; a second signal ends at
once.")]
pub(super) struct Proxy {
    /// An origin, `http://host:port` or `https://host:port`; once or more
    #[arg(long, required = true, value_name = "URL")]
    to: Vec<OriginUrl>,
    /// Where clients connect to
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = values::address)]
    listen: SocketAddr,
    /// Memory for responses; `off` keeps none
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = values::memory)]
    cache: Memory,
    /// Where operators connect to: metrics and health [default: off]
    #[arg(long, value_name = "ADDR", value_parser = values::loopback)]
    admin: Option<SocketAddr>,
    /// The `Host` that origins see [default: the client's]
    #[arg(long, value_name = "HOST", value_parser = values::host)]
    host: Option<String>,
}

// === impl Proxy ===

impl Proxy {
    pub(super) fn run(self) -> Result<(), Failure> {
        log::begin(LevelFilter::INFO)?;
        let edge = Edge {
            listen: self.listen,
            admin: self.admin,
            origins: &self.to,
            cache: self.cache.0,
            max_object: None,
            host: self.host.as_deref(),
        };
        let config = edge.config()?;
        let builder = wire::builder(Fixed::new(config.clone()), &config)?;
        serve::block_on(serve::serve(builder, &config))
    }
}
