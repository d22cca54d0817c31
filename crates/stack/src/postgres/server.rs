//! A Postgres server's folder, command line and readiness, whoever runs it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::owned::run_to_end;
use crate::waiting::{Attempt, until};
use crate::{StackError, machine};

use super::wire;

/// The superuser of every server started here, and the name of its own database.
pub(crate) const USER: &str = "postgres";

/// Where Debian keeps the programs of each version.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";

/// The oldest version the product supports.
const OLDEST_VERSION: u32 = 15;

/// The longest a start may take: recovery after a crash is part of it.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Trust is enough on a loopback port of a developer's machine; the collation is the same on every
/// machine.
const INITDB_OPTIONS: [&str; 6] = [
    "--no-instructions",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--username",
    USER,
];

/// What a server keeps of what it acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Everything, when its process ends in whatever way. Enough for tests, and quick.
    ProcessCrash,
    /// Everything, when the machine loses power.
    PowerLoss,
}

/// The place of one server: its programs, its folder, its port.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    programs: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    durability: Durability,
}

impl PostgresServer {
    pub(crate) fn new(
        folder: &Path,
        port: u16,
        durability: Durability,
    ) -> Result<Self, StackError> {
        Ok(Self {
            programs: find_programs()?,
            data: folder.join("data"),
            log: folder.join("log"),
            port,
            durability,
        })
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.log.clone()
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes the data folder unless it has been made before.
    pub(crate) fn initialize(&self) -> Result<(), StackError> {
        if self.data.exists() {
            return Ok(());
        }
        // Made under another name, so that one which was cut off is not taken for whole.
        let making = self.data.with_extension("making");
        let _ = fs::remove_dir_all(&making);
        fs::create_dir(&making)
            .map_err(StackError::from_io(format!("make {}", making.display())))?;
        machine::hand_over(&making)?;
        let mut words = machine::unprivileged();
        words.push(self.programs.join("initdb").into());
        words.extend(INITDB_OPTIONS.map(OsString::from));
        words.extend(["--pgdata".into(), making.clone().into()]);
        if self.durability == Durability::ProcessCrash {
            words.push("--no-sync".into());
        }
        run_to_end("initdb", words, self.log(), START_TIMEOUT)?;
        fs::rename(&making, &self.data)
            .map_err(StackError::from_io(format!("rename {}", making.display())))
    }

    /// The command line of the server.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = machine::unprivileged();
        words.push(self.programs.join("postgres").into());
        words.push("-D".into());
        words.push(self.data.clone().into());
        let port = format!("port={}", self.port);
        let mut settings = vec![
            port.as_str(),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=300",
            "shared_buffers=128MB",
            "max_wal_size=2GB",
            // Shared memory in the data folder goes with it.
            "dynamic_shared_memory_type=mmap",
        ];
        if self.durability == Durability::ProcessCrash {
            settings.extend(["fsync=off", "full_page_writes=off"]);
        }
        for setting in settings {
            words.push("-c".into());
            words.push(setting.into());
        }
        words
    }

    /// Makes a database unless there is one of that name.
    pub(crate) fn ensure_database(&self, name: &str) -> Result<(), StackError> {
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0");
        match wire::execute(self.port, USER, USER, &sql) {
            Err(complaint) if !complaint.ends_with("already exists") => {
                Err(StackError::new(format!("postgres: {complaint}")))
            }
            _ => Ok(()),
        }
    }

    /// Waits until a statement runs; gives up when `is_running` says no.
    pub(crate) fn wait_until_ready(&self, is_running: impl Fn() -> bool) -> Result<(), StackError> {
        until("the start of postgres", START_TIMEOUT, || {
            if !is_running() {
                return Attempt::Hopeless(StackError::new("postgres ended"));
            }
            wire::execute(self.port, USER, USER, "SELECT 1").into()
        })
    }
}

/// Finds the folder with `postgres` and `initdb`: the newest of Debian's, else through `PATH`.
fn find_programs() -> Result<PathBuf, StackError> {
    let newest = fs::read_dir(DEBIAN_VERSIONS)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("postgres")
                .is_file()
                .then_some((version, programs))
        })
        .max();
    if let Some((version, programs)) = newest
        && version >= OLDEST_VERSION
    {
        return Ok(programs);
    }
    let found = machine::get_program("postgres", "postgresql")?;
    let version = machine::run(Command::new(&found).arg("--version"))?;
    if major_version(&version).is_none_or(|major| major < OLDEST_VERSION) {
        return Err(StackError::new(format!(
            "Postgres {OLDEST_VERSION} or newer is needed, found `{version}`"
        )));
    }
    // A link in PATH leads to the folder that has the rest.
    let found = fs::canonicalize(&found).unwrap_or(found);
    Ok(found.parent().unwrap_or(Path::new("/")).to_owned())
}

/// Reads the first number of `postgres (PostgreSQL) 15.13 (Debian …)`.
fn major_version(version: &str) -> Option<u32> {
    let digits = version.split_whitespace().nth(2)?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_postgres_says_of_itself() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_version("?"), None);
    }
}
