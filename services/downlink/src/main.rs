//! The all-in-one hub: gateway, queue, method-router and twin in one process on embedded storage;
//! and the tools of the split form.
//!
//! It starts the services that the split form runs as processes of their own, and joins them by
//! the same gRPC, carried in memory.

mod cli;
mod dev;
mod facts;
mod first_start;
mod tools;
mod wiring;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let done = match cli::Cli::parse().command {
        cli::Command::Dev(args) => dev::run(&args),
        cli::Command::Migrate(args) => tools::migrate(&args),
        cli::Command::Hub(args) => tools::hub(&args),
        cli::Command::Certificate(args) => tools::certificate(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` puts the whole chain on one line; a configuration has a line for each fault.
            for line in format!("{error:#}").lines() {
                let _ = writeln!(std::io::stderr(), "downlink: {line}");
            }
            ExitCode::FAILURE
        }
    }
}
