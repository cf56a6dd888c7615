//! `cirrus completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::failure::Failure;
use crate::output;

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cirrus completions bash > /etc/bash_completion.d/cirrus
  cirrus completions zsh > ~/.zfunc/_cirrus
  cirrus completions fish > ~/.config/fish/completions/cirrus.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

// === impl Completions ===

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "cirrus", &mut text);
        output::print(&String::from_utf8(text)?)?;
        Ok(())
    }
}
