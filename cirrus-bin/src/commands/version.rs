//! `cirrus version`.

use clap::Args;

use crate::failure::Failure;
use crate::output;

/// Prints the version.
#[derive(Debug, Args)]
pub(super) struct Version;

// === impl Version ===

impl Version {
    pub(super) fn run(self) -> Result<(), Failure> {
        output::print(concat!("cirrus ", env!("CARGO_PKG_VERSION"), "\n"))?;
        Ok(())
    }
}
