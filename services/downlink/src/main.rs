//! The all-in-one hub: gateway, queue, method-router and twin in one process on embedded storage.
//!
//! It starts the services that the split form runs as processes of their own, and joins them by
//! the same gRPC, carried in memory.

mod cli;
mod dev;
mod facts;
mod first_start;
mod ports;
mod settings;
mod wiring;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli::Command::Dev(args) = cli::Cli::parse().command;
    match dev::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` puts the whole chain on one line.
            let _ = writeln!(std::io::stderr(), "downlink: {error:#}");
            ExitCode::FAILURE
        }
    }
}
