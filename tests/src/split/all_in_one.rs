//! The all-in-one form, for comparison.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use downlink_stack::{Program, Signal, Supervised};

use super::{Credentials, Programs};

const PATIENCE: Duration = Duration::from_mins(1);

/// A running `downlink dev`.
#[derive(Debug)]
pub struct AllInOne {
    /// What clients prove themselves by.
    pub credentials: Credentials,
    /// The certificate authority that clients must trust.
    pub ca_file: PathBuf,
    process: Supervised,
}

impl AllInOne {
    /// Starts a hub named `host` in `folder`, with the usual ports at `address`, and waits until it
    /// is there. A file `downlink.toml` in the folder is its configuration, below `settings`.
    ///
    /// # Errors
    /// What kept it from its start.
    pub fn start(
        programs: &Programs,
        folder: &Path,
        host: &str,
        address: IpAddr,
        settings: &[String],
    ) -> anyhow::Result<Self> {
        let mut words = vec![programs.all_in_one().into_os_string()];
        for word in [
            "dev",
            "--host",
            host,
            "--listen",
            &address.to_string(),
            "--metrics-port",
            "0",
        ] {
            words.push(word.into());
        }
        words.push("--data".into());
        words.push(folder.into());
        let file = folder.join("downlink.toml");
        if file.is_file() {
            words.extend(["--config".into(), file.into()]);
        }
        for setting in settings {
            words.push("--set".into());
            words.push(setting.into());
        }
        let process = Supervised::start(Program {
            name: "downlink".to_owned(),
            words,
            environment: Vec::new(),
            log: folder.join("downlink.log"),
            folder: None,
            ending: Signal::Kill,
        })?;
        let facts = folder.join("connect.json");
        let end = Instant::now() + PATIENCE;
        let text = loop {
            if let Ok(text) = std::fs::read_to_string(&facts) {
                break text;
            }
            ensure!(process.is_running(), "it ended:\n{}", process.log_tail());
            ensure!(
                Instant::now() < end,
                "it is not ready:\n{}",
                process.log_tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        let credentials = Credentials::parse(&text)?;
        let ca_file = credentials.json["caFile"].as_str().context("no caFile")?;
        Ok(Self {
            ca_file: ca_file.into(),
            credentials,
            process,
        })
    }

    /// The process.
    pub fn process(&self) -> &Supervised {
        &self.process
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// It ended with another code than 0, or did not end.
    pub fn stop(&self) -> anyhow::Result<()> {
        let code = self.process.stop(Signal::Term, PATIENCE)?;
        ensure!(
            code == 0,
            "it ended with {code}:\n{}",
            self.process.log_tail()
        );
        Ok(())
    }
}
