//! The checks that read the source: format, lints, dependency rules, documentation.

use std::path::PathBuf;
use std::process::Command;

use crate::cache;
use crate::shell::{self, Failure, Outcome, find_output};

/// The release of cargo-deny that reads `deny.toml`, pinned so that its verdict cannot drift.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Rooms of rules and codecs: no runtime, no socket, no database (deny.toml cannot say "not under").
const PURE_ROOMS: [&str; 4] = [
    "downlink-amqp",
    "downlink-auth",
    "downlink-domain",
    "downlink-mqtt",
];

const NOT_IN_PURE_ROOMS: [&str; 6] = ["hyper", "mio", "socket2", "sqlx", "tokio", "tonic"];

/// Checks that every file is formatted.
pub(crate) fn format() -> Outcome {
    shell::run(&mut shell::cargo(["fmt", "--all", "--check"]))
}

/// Checks the workspace lints over every target.
pub(crate) fn lints() -> Outcome {
    shell::run(&mut shell::cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Checks `deny.toml`: who may use what, licences, sources, duplicate versions.
pub(crate) fn dependency_rules() -> Outcome {
    let deny = provide_cargo_deny()?;
    let mut command = Command::new(deny);
    // The advisory database is left out: the verdict on a commit must not change with the day.
    command
        .args(["--workspace", "--locked", "check", "--hide-inclusion-graph"])
        .args(["bans", "licenses", "sources"])
        .current_dir(cache::workspace());
    shell::run(&mut command)?;
    PURE_ROOMS.iter().try_for_each(|room| check_purity(room))
}

/// Checks that nothing a pure room depends on, near or far, can wait, connect or store.
fn check_purity(room: &str) -> Outcome {
    let mut tree = shell::cargo(["tree", "--locked", "--edges", "normal", "--prefix", "none"]);
    let Some(lines) = find_output(tree.args(["--package", room])) else {
        return Err(Failure(format!(
            "`cargo tree` does not know the room {room}"
        )));
    };
    match find_impurity(&lines) {
        Some(name) => Err(Failure(format!(
            "{room} is a pure room, yet it depends on {name}"
        ))),
        None => Ok(()),
    }
}

/// Finds the first forbidden crate in the lines of `cargo tree`, each `name version …`.
fn find_impurity(lines: &str) -> Option<&str> {
    lines
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .find(|name| NOT_IN_PURE_ROOMS.contains(name))
}

/// Checks that the documentation builds without a warning.
pub(crate) fn documentation() -> Outcome {
    let mut command = shell::cargo(["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
    shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn provide_cargo_deny() -> Outcome<PathBuf> {
    let root = cache::folder("tools")?;
    let program = root.join("bin").join("cargo-deny");
    let version = find_output(Command::new(&program).arg("--version")).unwrap_or_default();
    if version.split_whitespace().last() == Some(CARGO_DENY_VERSION) {
        return Ok(program);
    }
    let mut install = shell::cargo(["install", "cargo-deny", "--locked", "--force"]);
    install
        .args(["--version", CARGO_DENY_VERSION, "--root"])
        .arg(&root)
        // A build folder of its own: the workspace's would keep these artefacts for ever.
        .env("CARGO_TARGET_DIR", root.join("build"));
    shell::run(&mut install)?;
    let _ = std::fs::remove_dir_all(root.join("build"));
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_under_a_pure_room_is_found_by_its_whole_name() {
        assert_eq!(
            find_impurity("downlink-mqtt v0.1.0\nbytes v1.0.0\ntokio v1.0.0"),
            Some("tokio")
        );
        assert_eq!(
            find_impurity("downlink-mqtt v0.1.0\ntokio-free v1.0.0"),
            None
        );
    }
}
