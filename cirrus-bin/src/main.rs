//! The reference binary of Cirrus: arguments → wiring → run.

mod acme;
mod admin;
mod commands;
mod failure;
mod findings;
mod log;
mod memory;
mod output;
mod serve;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use commands::Cli;

fn main() -> ExitCode {
    // It fails only if there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            ExitCode::FAILURE
        }
    }
}
