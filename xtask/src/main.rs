//! The project's commands.
//!
//! This room depends on the standard library and on `downlink-stack` only, which does too, so that
//! a fresh machine needs nothing but a Rust toolchain to learn what else is missing. Everyone may
//! run it; no other room may use it.
//!
//! ```text
//! cargo xtask check   # format, lints, dependency rules, documentation
//! cargo xtask test    # the above, every Rust test, and the SDK suites against the real binary
//! cargo xtask up      # Postgres, Redis, Kafka and the four services on this machine
//! cargo xtask down    # ends exactly those
//! ```

mod cache;
mod checks;
#[cfg(test)]
mod deployment;
mod hosts;
mod plan;
mod sdk;
mod shell;
mod stack;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <command>

commands:
  check   format, lints, dependency rules and documentation
  test    everything in check, the Rust tests, then the Node, Python and Java SDK suites
  sdk     only the Node, Python and Java SDK suites (what test runs last)
  up      start Postgres, Redis, Kafka and the four services, to stay; `up --help` lists its flags
  down    end what `up` started

exit codes: 0 all steps passed, 1 a step failed, 2 bad usage";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, words)) = arguments.split_first() else {
        return misused(USAGE);
    };
    match (command.as_str(), words) {
        ("check", []) => plan::run(plan::Plan::Check),
        ("test", []) => plan::run(plan::Plan::Test),
        ("sdk", []) => plan::run(plan::Plan::Sdk),
        ("help" | "--help" | "-h", []) => explained(USAGE),
        ("up" | "down", [flag]) if flag == "--help" => explained(stack::USAGE),
        ("up", words) => {
            stack::Options::for_up(words).map_or_else(|| misused(stack::USAGE), |o| stack::up(&o))
        }
        ("down", words) => stack::Options::for_down(words)
            .map_or_else(|| misused(stack::USAGE), |o| stack::down(&o)),
        _ => misused(USAGE),
    }
}

fn explained(usage: &str) -> ExitCode {
    shell::say(usage);
    ExitCode::SUCCESS
}

fn misused(usage: &str) -> ExitCode {
    shell::complain(usage);
    ExitCode::from(2)
}
