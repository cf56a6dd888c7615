//! `cirrus run`.

use std::path::PathBuf;

use clap::Args;
use tracing_subscriber::filter::LevelFilter;

use cirrus_discovery::File;

use crate::failure::Failure;
use crate::{log, serve, wire};

/// Serves what a file says, and follows its changes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cirrus run --config cirrus.toml
  CIRRUS_LOG=debug cirrus run --config cirrus.toml

A change of the file takes effect at once; one with mistakes is reported and changes nothing. SIGTERM and SIGINT let
requests in flight finish, within `server.drain`; a second signal ends at once.")]
pub(super) struct Run {
    /// The configuration, TOML or JSON
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

// === impl Run ===

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        log::begin(LevelFilter::INFO)?;
        let source = File::at(&self.config);
        let (config, _) = source.load()?;
        let builder = wire::builder(source, &config)?;
        serve::block_on(serve::serve(builder, &config))
    }
}
