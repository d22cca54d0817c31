//! The twin service in a process of its own.

use std::process::ExitCode;

use downlink_config::refuse_own_process;

fn main() -> ExitCode {
    // The embedded store and presence in memory belong to one process.
    refuse_own_process("downlink-twin", "a store and a presence directory")
}
