//! The queue service in a process of its own.

use std::io::Write as _;
use std::process::ExitCode;

use downlink_config::{Config, Layers, config_file_variable};

fn main() -> ExitCode {
    let loaded = Layers::new()
        .file(config_file_variable())
        .environment()
        .load::<Config>();
    let cause = match loaded {
        Err(error) => error.to_string(),
        // The embedded store and presence in memory belong to one process.
        Ok(_) => "it needs a store and a presence directory that processes can share, and this \
                  release has neither; `downlink dev` runs all services in one process"
            .to_owned(),
    };
    let _ = writeln!(std::io::stderr(), "downlink-queue: cannot start: {cause}");
    ExitCode::FAILURE
}
