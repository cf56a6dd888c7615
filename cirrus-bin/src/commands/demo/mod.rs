//! `cirrus demo`.

mod origin;
mod pages;
mod tour;

use std::net::{SocketAddr, TcpListener};

use clap::Args;
use tracing_subscriber::filter::LevelFilter;

use cirrus_core::config::{Config, OriginUrl, Size};
use cirrus_discovery::Fixed;

use self::origin::Origin;
use self::tour::{Door, Tour};
use super::values;
use crate::failure::Failure;
use crate::serve::{self, Signals};
use crate::wire::{self, Edge};
use crate::{log, output};

const LISTEN: SocketAddr = SocketAddr::new(LOCALHOST, 8080);
const ADMIN: SocketAddr = SocketAddr::new(LOCALHOST, 9145);
const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Shows caching at work: a small origin, and the edge in front of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cirrus demo
  cirrus demo --listen 127.0.0.1:3000

It needs nothing else, and listens on this machine only unless told otherwise. Ctrl-C ends it.")]
pub(super) struct Demo {
    /// Where clients connect to [default: 127.0.0.1:8080, or a free port if that one is taken]
    #[arg(long, value_name = "ADDR", value_parser = values::address)]
    listen: Option<SocketAddr>,
    /// Where operators connect to [default: 127.0.0.1:9145, or a free port if that one is taken]
    #[arg(long, value_name = "ADDR", value_parser = values::loopback)]
    admin: Option<SocketAddr>,
}

// === impl Demo ===

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        // The tour is the demo's text; lines about its parts would stand in between.
        log::begin(LevelFilter::WARN)?;
        serve::block_on(Box::pin(self.show()))
    }

    async fn show(self) -> Result<(), Failure> {
        let signals = Signals::listen()?;
        let origin = Origin::bind().await?;
        let (listen, admin) = (door(self.listen, LISTEN), door(self.admin, ADMIN));
        let config = config(&listen, &admin, &origin.url().parse()?)?;
        let running = wire::builder(Fixed::new(config.clone()), &config)?
            .start()
            .await?;
        let tour = Tour {
            edge: listen.opened(running.addresses().first().copied()),
            admin: admin.opened(running.admin()),
            origin: origin.url(),
        };
        output::print(&tour.to_string())?;
        tokio::select! {
            ended = serve::end(running, signals) => ended,
            never = origin.serve() => match never {},
        }
    }
}

/// The address that was asked for; or the usual one, if nobody has taken it.
fn door(asked: Option<SocketAddr>, usual: SocketAddr) -> Door {
    match asked {
        Some(address) => Door {
            address,
            taken: None,
        },
        None if TcpListener::bind(usual).is_ok() => Door {
            address: usual,
            taken: None,
        },
        None => Door {
            address: SocketAddr::new(LOCALHOST, 0),
            taken: Some(usual.port()),
        },
    }
}

fn config(
    listen: &Door,
    admin: &Door,
    origin: &OriginUrl,
) -> Result<Config, cirrus_core::BoxError> {
    let edge = Edge {
        listen: listen.address,
        admin: Some(admin.address),
        origins: std::slice::from_ref(origin),
        cache: Some(Size::mib(512)),
        // `/large` is to be kept as well; a store takes nothing larger than a quarter of itself.
        max_object: Some(Size::mib(128)),
        host: None,
    };
    edge.config()
}
