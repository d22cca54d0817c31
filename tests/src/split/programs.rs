//! The built programs and the tools among them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{Credentials, Kind};

pub(super) const CERTIFICATE_FILE: &str = "server.pem";
pub(super) const KEY_FILE: &str = "server.key";

/// The folder that cargo built the programs into.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The programs beside the one that runs, or, for a test, in the folder above it.
    ///
    /// # Errors
    /// They are not there: `cargo build --workspace --bins` makes them.
    pub fn beside_this_one() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("this program has no path")?;
        let found = own
            .ancestors()
            .skip(1)
            .take(2)
            .find(|folder| folder.join(Kind::Gateway.program()).is_file());
        let folder = found
            .context("the services' programs are not built: run `cargo build --workspace --bins`")?
            .to_owned();
        Ok(Self { folder })
    }

    /// A service's program.
    pub fn of(&self, kind: Kind) -> PathBuf {
        self.folder.join(kind.program())
    }

    /// The program that is all services in one.
    pub fn all_in_one(&self) -> PathBuf {
        self.folder.join("downlink")
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// What the tool says.
    pub fn migrate(&self, settings: &[String]) -> anyhow::Result<()> {
        self.tool(&["migrate"], settings)?;
        Ok(())
    }

    /// Makes sure of the hub and a device, and reads what clients prove themselves by.
    ///
    /// # Errors
    /// What the tool says.
    pub fn credentials(&self, settings: &[String]) -> anyhow::Result<Credentials> {
        let said = self.tool(&["hub", "--json", "--demo-device"], settings)?;
        Credentials::parse(&said)
    }

    /// Makes sure of a certificate in `folder`; returns the file of its authority.
    ///
    /// # Errors
    /// What the tool says.
    pub fn certificate(&self, folder: &Path, settings: &[String]) -> anyhow::Result<PathBuf> {
        let said = self.tool(
            &["certificate", "--folder", &folder.display().to_string()],
            settings,
        )?;
        let of = |name: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|path| PathBuf::from(path.trim()))
                .with_context(|| format!("the tool named no {name}:\n{said}"))
        };
        for (name, file) in [("certificate", CERTIFICATE_FILE), ("key", KEY_FILE)] {
            let (made, wanted) = (of(name)?, folder.join(file));
            if made != wanted {
                std::fs::copy(&made, &wanted)
                    .with_context(|| format!("cannot copy {}", made.display()))?;
            }
        }
        of("ca")
    }

    fn tool(&self, words: &[&str], settings: &[String]) -> anyhow::Result<String> {
        let mut command = Command::new(self.all_in_one());
        command.args(words);
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        let output = command
            .output()
            .context("`downlink` is not built: run `cargo build --workspace --bins`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "downlink {}: {said}", words[0]);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
