//! What must be on the machine, and how it gets there.

use std::process::Command;

use crate::shell::{self, Failure, Outcome, find_output};

/// The oldest Node.js whose built-in test runner has what the suite uses.
const OLDEST_NODE: u32 = 18;

/// The oldest Java that the suite is written in.
const OLDEST_JAVA: u32 = 17;

/// Something the tests need that does not come with Rust.
struct Need {
    /// The question whose answer is a successful exit.
    probe: &'static [&'static str],
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
}

// The Kafka client's C library brings a build of its own.
const FOR_BUILDING: &[Need] = &[
    Need {
        probe: &["cc", "--version"],
        packages: &["gcc", "libc6-dev"],
    },
    Need {
        probe: &["c++", "--version"],
        packages: &["g++"],
    },
    Need {
        probe: &["make", "--version"],
        packages: &["make"],
    },
];

// Servers live where only root's `PATH` leads, or where none does.
const FOR_SERVERS: &[Need] = &[
    Need {
        probe: &[
            "sh",
            "-c",
            "ls /usr/lib/postgresql/*/bin/postgres || command -v postgres",
        ],
        packages: &["postgresql"],
    },
    Need {
        probe: &["psql", "--version"],
        packages: &["postgresql-client"],
    },
    Need {
        probe: &["sh", "-c", "PATH=$PATH:/usr/sbin pgbouncer --version"],
        packages: &["pgbouncer"],
    },
    Need {
        probe: &["redis-server", "--version"],
        packages: &["redis-server"],
    },
    Need {
        probe: &["redis-cli", "--version"],
        packages: &["redis-tools"],
    },
    // The consumer outside the project that reads events back.
    Need {
        probe: &["kcat", "-V"],
        packages: &["kcat"],
    },
    Need {
        probe: &["java", "-version"],
        packages: &["default-jre-headless"],
    },
    Need {
        probe: &["mvn", "--version"],
        packages: &["maven"],
    },
];

const FOR_SDK_SUITES: &[Need] = &[
    Need {
        probe: &["node", "--version"],
        packages: &["nodejs"],
    },
    Need {
        probe: &["npm", "--version"],
        packages: &["npm"],
    },
    Need {
        probe: &["python3", "--version"],
        packages: &["python3"],
    },
    // Makes the certificates of devices.
    Need {
        probe: &["openssl", "version"],
        packages: &["openssl"],
    },
    // `venv` answers `--help` without `ensurepip`, the part that Debian packages separately.
    Need {
        probe: &["python3", "-c", "import venv, ensurepip"],
        packages: &["python3-venv"],
    },
    // The Java suite is compiled here, which takes more than the Java that Kafka runs on.
    Need {
        probe: &["javac", "-version"],
        packages: &["default-jdk-headless"],
    },
    Need {
        probe: &["mvn", "--version"],
        packages: &["maven"],
    },
];

// Qpid Proton comes as source. It builds without a word where it does not find OpenSSL, and then
// speaks no TLS: whether it would is asked before.
const FOR_PYTHON_BUILDS: &[Need] = &[
    Need {
        probe: &["cc", "--version"],
        packages: &["gcc", "libc6-dev"],
    },
    Need {
        probe: &["pkg-config", "--exists", "openssl"],
        packages: &["pkg-config", "libssl-dev"],
    },
    Need {
        probe: &[
            "python3",
            "-c",
            "import os, sysconfig; os.stat(sysconfig.get_path('include') + '/Python.h')",
        ],
        packages: &["python3-dev"],
    },
];

/// What the AMQP library of the Python SDK takes besides, where no ready-made wheel fits.
pub(crate) const FOR_UAMQP_BUILDS: &[&str] = &["cmake", "g++"];

/// Checks the Rust toolchain and the C and C++ compilers, installing the latter if it may.
///
/// # Errors
/// A component of the toolchain is missing, or a package is and this user cannot install it.
pub(crate) fn check_toolchain() -> Outcome {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let Some(version) = find_output(&mut shell::cargo([subcommand, "--version"])) else {
            let cure = format!("rustup component add {component}");
            return Err(Failure(format!("`cargo {subcommand}` is missing; {cure}")));
        };
        shell::say(version);
    }
    provide(FOR_BUILDING)
}

/// Checks the servers that tests and the local stack run, installing what is missing if it may, and
/// fetches Kafka once.
///
/// # Errors
/// A package is missing and this user cannot install it, or Kafka cannot be fetched.
pub(crate) fn check_servers() -> Outcome {
    provide(FOR_SERVERS)?;
    downlink_stack::Kafka::fetch()?;
    Ok(())
}

/// Checks Node.js, Python and Java, installing what is missing if it may.
///
/// # Errors
/// A package is missing and this user cannot install it, or Node.js or Java is too old.
pub(crate) fn check_sdk_tools() -> Outcome {
    provide(FOR_SDK_SUITES)?;
    let node = find_output(Command::new("node").arg("--version")).unwrap_or_default();
    let python = find_output(Command::new("python3").arg("--version")).unwrap_or_default();
    let javac = find_output(Command::new("javac").arg("-version")).unwrap_or_default();
    shell::say(format_args!("node {node}, {python}, {javac}"));
    require("Node.js", &node, OLDEST_NODE)?;
    require("Java", javac.trim_start_matches("javac "), OLDEST_JAVA)
}

/// Checks for what the packages of the Python suite are built with, installing what is missing if it
/// may.
///
/// # Errors
/// A package is missing and this user cannot install it.
pub(crate) fn check_python_builds() -> Outcome {
    provide(FOR_PYTHON_BUILDS)
}

/// Installs Debian packages as root.
///
/// # Errors
/// This user is not root (the message names the packages), or `apt-get` failed.
pub(crate) fn install(packages: &[&str]) -> Outcome {
    let list = packages.join(" ");
    if !is_root() {
        return Err(Failure(format!(
            "missing on this machine: {list}; as root: apt-get install {list}"
        )));
    }
    shell::run(&mut apt(&["update"]))?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    shell::run(&mut apt(&arguments))
}

/// Says whether this program runs with the rights of root.
pub(crate) fn is_root() -> bool {
    find_output(Command::new("id").arg("-u")).as_deref() == Some("0")
}

fn provide(needs: &[Need]) -> Outcome {
    let missing = find_missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    let still_missing = find_missing(needs);
    if still_missing.is_empty() {
        Ok(())
    } else {
        Err(Failure(format!(
            "still missing after installation: {}",
            still_missing.join(" ")
        )))
    }
}

fn find_missing(needs: &[Need]) -> Vec<&'static str> {
    needs
        .iter()
        .filter(|need| {
            let mut command = Command::new(need.probe[0]);
            find_output(command.args(&need.probe[1..])).is_none()
        })
        .flat_map(|need| need.packages.iter().copied())
        .collect()
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn require(what: &str, found: &str, oldest: u32) -> Outcome {
    match major_version(found) {
        Some(major) if major >= oldest => Ok(()),
        _ => Err(Failure(format!(
            "{what} {oldest} or newer is needed, found `{found}`"
        ))),
    }
}

fn major_version(version: &str) -> Option<u32> {
    version
        .trim_start_matches('v')
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Says whether this user may listen on the HTTPS port, which the SDKs fix at 443.
pub(crate) fn may_listen_on_low_ports() -> bool {
    const FIRST_FREE_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let first = std::fs::read_to_string(FIRST_FREE_PORT).unwrap_or_default();
    is_root() || first.trim().parse::<u32>().is_ok_and(|port| port <= 443)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_first_number() {
        assert_eq!(major_version("v20.20.2"), Some(20));
        assert_eq!(major_version("17.0.15"), Some(17));
        assert_eq!(major_version("18.19.0"), Some(18));
        assert_eq!(major_version(""), None);
    }

    #[test]
    fn a_version_that_is_too_old_or_unreadable_is_named() {
        assert!(require("Java", "21", 17).is_ok());
        for found in ["11.0.2", "1.8.0_392", ""] {
            let failure = require("Java", found, 17).expect_err("too old");
            assert!(failure.to_string().contains("Java 17 or newer"));
        }
    }

    #[test]
    fn a_program_that_does_not_exist_is_reported_by_its_packages() {
        let needs = &[
            Need {
                probe: &["downlink-no-such-program"],
                packages: &["one", "two"],
            },
            Need {
                probe: &["id", "-u"],
                packages: &["three"],
            },
        ];
        assert_eq!(find_missing(needs), ["one", "two"]);
    }
}
