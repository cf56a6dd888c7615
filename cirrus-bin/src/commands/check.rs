//! `cirrus check`.

use std::path::PathBuf;

use clap::Args;

use cirrus_core::BoxError;
use cirrus_core::config::{self, Config, Faults};
use cirrus_discovery::File;
use cirrus_tls::Folder;

use crate::failure::Failure;
use crate::findings::{Findings, counted};
use crate::output;
use crate::wire;

/// Looks for mistakes in a configuration, and tells every one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cirrus check --config cirrus.toml

Mistakes go to standard error, with file, line and column. The exit status is 1 if there is an error, 0 if there are
warnings only. The certificates of `certificates.directory` are looked at too.")]
pub(super) struct Check {
    /// The configuration, TOML or JSON
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

// === impl Check ===

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let name = self.config.display();
        let (findings, sites) = match File::at(&self.config).load() {
            Ok((config, warnings)) => (look(&config, warnings), config.site.len()),
            Err(error) => (unusable(error)?, 0),
        };
        findings.tell();
        if findings.is_fatal() {
            return Err(format!("{name}: {}", findings.count()).into());
        }
        let (sites, warnings) = (
            counted(sites, "site"),
            counted(findings.warnings(), "warning"),
        );
        output::print(&format!("{name}: ok ({sites}, {warnings})\n"))?;
        Ok(())
    }
}

/// Everything that is wrong with a configuration that could be read, and with the files it names.
fn look(config: &Config, mut faults: Faults) -> Findings {
    for fault in config::check(config, wire::abilities(config)) {
        if !faults.iter().any(|known| *known == fault) {
            faults.push(fault);
        }
    }
    let mut findings = Findings::from(faults);
    if let Some(directory) = &config.certificates.directory {
        findings.add_certificates(&Folder::at(directory));
    }
    findings
}

fn unusable(error: BoxError) -> Result<Findings, BoxError> {
    let faults = error.downcast::<Faults>()?;
    Ok(Findings::from(*faults))
}
