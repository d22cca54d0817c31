//! The command line of a service's program, and the configuration it leads to.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser};
use downlink_config::{Config, Layers, Process, config_file_variable};

/// The command line of a service's program.
#[derive(Debug, Parser)]
#[command(version)]
pub struct ServiceArgs {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: Settings,
    /// Print the merged settings, secrets hidden, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// Where settings come from beside the environment.
#[derive(Clone, Debug, Default, Args)]
pub struct Settings {
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, as in the file, such as `queue.max_depth=100`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

impl Settings {
    /// The layers below the flags of a program: file and environment.
    pub fn lower_layers(&self) -> Layers {
        Layers::new()
            .file(self.config.clone().or_else(config_file_variable))
            .environment()
    }

    /// Puts the `--set` flags on top of `layers` and loads what `process` needs.
    ///
    /// # Errors
    /// Every violation, with path and source, a line each.
    pub fn load(&self, mut layers: Layers, process: Process) -> anyhow::Result<Config> {
        for setting in &self.settings {
            let (path, value) = setting
                .split_once('=')
                .with_context(|| format!("--set {}: write it as key=value", name_in(setting)))?;
            layers = layers.flag("--set", path.trim(), Some(value.trim()));
        }
        Ok(layers.load_for::<Config>(|config, checker| process.check(config, checker))?)
    }
}

/// What looks like the name of a setting at the beginning of `setting`; the rest may be a secret.
fn name_in(setting: &str) -> &str {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let end = setting.bytes().position(|byte| !is_name(byte));
    &setting[..end.unwrap_or(setting.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_without_a_value_is_named_without_what_may_be_its_secret() {
        let settings = Settings {
            config: None,
            settings: vec!["storage.postgres.url:postgres://u:hunter2@h/d".to_owned()],
        };
        let refused = settings.load(Layers::new(), Process::AllInOne).unwrap_err();
        let told = "--set storage.postgres.url: write it as key=value";
        assert_eq!(refused.to_string(), told);
    }
}
