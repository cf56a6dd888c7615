//! What the program can be asked to do; a file for each command.

mod cert;
mod check;
mod completions;
mod demo;
mod explain;
mod prefetch;
mod proxy;
mod purge;
mod run;
mod schema;
mod values;
mod version;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// A caching reverse proxy and CDN edge.
#[derive(Debug, Parser)]
#[command(
    name = "cirrus",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cirrus demo                                  see caching at work, with nothing to prepare
  cirrus proxy --to http://127.0.0.1:3000      put a cache in front of a program
  cirrus check --config cirrus.toml            look for mistakes
  cirrus run --config cirrus.toml              serve what a file says
  cirrus explain --config cirrus.toml URL      tell what it makes of a request
  cirrus purge https://shop.example/page       remove a page from the cache
  cirrus cert list                             how certificates are doing

Environment:
  CIRRUS_LOG   what is logged to standard error, such as `debug` or `info,cirrus_core=debug` [default: info]
  CIRRUS_TOKEN the token for an edge's admin listener: `purge`, `prefetch`, `cert`
  NO_COLOR     no colours, even on a terminal"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Proxy(proxy::Proxy),
    Run(run::Run),
    Check(check::Check),
    Explain(explain::Explain),
    Purge(purge::Purge),
    Prefetch(prefetch::Prefetch),
    Cert(cert::Cert),
    Schema(schema::Schema),
    Completions(completions::Completions),
    Version(version::Version),
}

// === impl Cli ===

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    ///
    /// Whatever should end the program with status 1.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Demo(command) => command.run(),
            Command::Proxy(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Purge(command) => command.run(),
            Command::Prefetch(command) => command.run(),
            Command::Cert(command) => command.run(),
            Command::Schema(command) => command.run(),
            Command::Completions(command) => command.run(),
            Command::Version(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }
}
