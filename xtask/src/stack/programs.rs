//! The product's programs: built, and run as tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache;
use crate::shell::{self, Failure, Outcome};

use super::options::Profile;
use super::settings::Service;

/// The package and program of everything that is no service.
const TOOL: &str = "downlink";

/// The folder of the built programs.
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds the services and the tool.
    ///
    /// # Errors
    /// They do not build.
    pub(super) fn build(profile: Profile) -> Outcome<Self> {
        let mut command = shell::cargo(["build", "--locked", "--bins", "--package", TOOL]);
        for service in Service::ALL {
            command.args(["--package", service.program()]);
        }
        let folder = match profile {
            Profile::Debug => "debug",
            Profile::Release => {
                command.arg("--release");
                "release"
            }
        };
        shell::run(&mut command)?;
        Ok(Self {
            folder: cache::build_dir().join(folder),
        })
    }

    /// The file of a program.
    pub(super) fn of(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// Runs a command of the tool with these settings; what it prints reaches the reader.
    ///
    /// # Errors
    /// It failed; it has said why.
    pub(super) fn run(&self, command: &str, words: &[&str], settings: &[String]) -> Outcome {
        match self.tool(command, settings).args(words).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure(format!("`downlink {command}` ended with {status}"))),
            Err(error) => Err(Failure(format!(
                "`downlink {command}` did not start: {error}"
            ))),
        }
    }

    /// Makes sure of a certificate in `folder`, and gives the file of what clients must trust.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn certificate(&self, folder: &Path, settings: &[String]) -> Outcome<PathBuf> {
        let mut command = self.tool("certificate", settings);
        command.arg("--folder").arg(folder);
        if shell::find_output(&mut command).is_none() {
            // Once more, for the reader.
            return shell::run(&mut command).map(|()| folder.join("ca.pem"));
        }
        Ok(folder.join("ca.pem"))
    }

    fn tool(&self, command: &str, settings: &[String]) -> Command {
        let mut tool = Command::new(self.of(TOOL));
        tool.arg(command);
        for setting in settings {
            tool.args(["--set", setting]);
        }
        tool
    }
}
