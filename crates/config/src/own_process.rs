//! What a service says that is started as a process of its own before it can be one.

use std::io::Write as _;
use std::process::ExitCode;

use crate::{Config, Layers, config_file_variable};

/// Loads the configuration, so that mistakes in it are told first, and then tells in one line on stderr that
/// `service` cannot start by itself because `missing` is not there; returns the exit code of a failure.
pub fn refuse_own_process(service: &str, missing: &str) -> ExitCode {
    let loaded = Layers::new()
        .file(config_file_variable())
        .environment()
        .load::<Config>();
    let cause = match loaded {
        Err(error) => error.to_string(),
        Ok(_) => format!(
            "it needs {missing} that processes can share, which this release does not have; \
             `downlink dev` runs all services in one process"
        ),
    };
    // There is nowhere to tell of a closed stderr.
    let _ = writeln!(std::io::stderr(), "{service}: cannot start: {cause}");
    ExitCode::FAILURE
}
