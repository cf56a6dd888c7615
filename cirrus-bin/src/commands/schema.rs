//! `cirrus schema`.

use clap::Args;

use cirrus_core::config;

use crate::failure::Failure;
use crate::output;

/// Prints the JSON Schema of the configuration.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cirrus schema > cirrus.schema.json           for an editor that completes and checks
  cirrus schema --markdown > configuration.md  the same as a reference for people")]
pub(super) struct Schema {
    /// The reference for people instead, as Markdown
    #[arg(long)]
    markdown: bool,
}

// === impl Schema ===

impl Schema {
    pub(super) fn run(self) -> Result<(), Failure> {
        let text = match self.markdown {
            true => config::markdown(),
            false => format!("{:#}", config::json_schema()),
        };
        output::print(&format!("{}\n", text.trim_end()))?;
        Ok(())
    }
}
