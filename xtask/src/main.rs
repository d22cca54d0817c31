//! The project's commands: `cargo xtask test` and `cargo xtask check`.
//!
//! This room depends on the standard library only, so that a fresh machine needs nothing but a
//! Rust toolchain to learn what else is missing. Everyone may run it; no other room may use it.
//!
//! ```text
//! cargo xtask check   # format, lints, dependency rules, documentation
//! cargo xtask test    # the above, every Rust test, and the SDK suites against the real binary
//! ```

mod cache;
mod checks;
mod hosts;
mod plan;
mod sdk;
mod shell;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <command>

commands:
  check   format, lints, dependency rules and documentation
  test    everything in check, the Rust tests, then the Node and Python SDK suites
  sdk     only the Node and Python SDK suites (what test runs last)

exit codes: 0 all steps passed, 1 a step failed, 2 bad usage";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match arguments.as_slice() {
        [command] => command.as_str(),
        _ => "",
    };
    match command {
        "check" => plan::run(plan::Plan::Check),
        "test" => plan::run(plan::Plan::Test),
        "sdk" => plan::run(plan::Plan::Sdk),
        "help" | "--help" | "-h" => {
            shell::say(USAGE);
            ExitCode::SUCCESS
        }
        _ => {
            shell::complain(USAGE);
            ExitCode::from(2)
        }
    }
}
