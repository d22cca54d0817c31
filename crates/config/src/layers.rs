//! Defaults, file, environment, flags: merged, checked, printed.

use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::source::Layer;
use crate::violation::{Checker, Violation, Violations};

mod secrets;
mod source;
#[cfg(test)]
mod tests;

/// Variables with this prefix are settings; `__` stands between section and field.
const PREFIX: &str = "DOWNLINK_";
/// The variable that names the configuration file.
const FILE_VARIABLE: &str = "DOWNLINK_CONFIG";

/// A configuration that [`Layers`] can load.
///
/// Implementors say `#[serde(default, deny_unknown_fields)]` on every section.
pub trait Configuration: Default + Serialize + DeserializeOwned {
    /// The paths of settings of type [`Secret`](crate::Secret), such as `storage.password`.
    ///
    /// Each may be given as `storage.password_file` instead, naming a file of at most 64 KiB whose content, less the
    /// final line break, is the secret.
    const SECRETS: &'static [&'static str];

    /// Notes everything that the types alone do not rule out.
    fn check(&self, checker: &mut Checker);
}

/// Why a configuration was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {} is not toml: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// Settings cannot be used.
    #[error("{0}")]
    Invalid(Violations),
}

/// The layers of a configuration, lowest first.
#[derive(Debug, Default)]
pub struct Layers {
    file: Option<PathBuf>,
    variables: Vec<Layer>,
    flags: Vec<Layer>,
}

/// Returns the configuration file that `DOWNLINK_CONFIG` names.
pub fn config_file_variable() -> Option<PathBuf> {
    std::env::var_os(FILE_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

impl Layers {
    /// Starts with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file of at most 1 MiB.
    #[must_use]
    pub fn file(mut self, path: Option<PathBuf>) -> Self {
        self.file = path;
        self
    }

    /// Adds the variables of the process's environment; see [`Self::variables`].
    #[must_use]
    pub fn environment(self) -> Self {
        let text = |text: OsString| text.into_string().ok();
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        self.variables(variables)
    }

    /// Adds variables such as `DOWNLINK_QUEUE__MAX_DEPTH`.
    ///
    /// Those without the prefix or without `__` are not settings. Nor are they mistakes: an orchestrator that runs a
    /// service called `downlink` sets `DOWNLINK_PORT` and its like.
    #[must_use]
    pub fn variables<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        for (name, value) in variables {
            let name = name.as_ref();
            let Some(setting) = name.strip_prefix(PREFIX).filter(|name| name.contains("__")) else {
                continue;
            };
            let path = setting.to_ascii_lowercase().replace("__", ".");
            self.variables.push(Layer::new(
                format!("environment variable {name}"),
                &path,
                value.into(),
            ));
        }
        self
    }

    /// Adds a flag, if it was given: its name as the user writes it, the setting it stands for, and its value.
    #[must_use]
    pub fn flag(mut self, name: &str, path: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            self.flags
                .push(Layer::new(format!("flag {name}"), path, value.to_string()));
        }
        self
    }

    /// Merges the layers and checks the result.
    ///
    /// # Errors
    /// [`LoadError`]; [`LoadError::Invalid`] holds every violation there is, of types, names and bounds alike.
    pub fn load<C: Configuration>(self) -> Result<C, LoadError> {
        self.load_for(|_, _| {})
    }

    /// As [`Self::load`], with the further checks of one use.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load_for<C: Configuration>(
        self,
        check: impl FnOnce(&C, &mut Checker),
    ) -> Result<C, LoadError> {
        let mut merged = Figment::new();
        if let Some(path) = self.file {
            merged = merged.merge(read_file(&path)?);
        }
        for layer in self.variables.into_iter().chain(self.flags) {
            merged = merged.merge(layer);
        }
        let mut violations = Violations::default();
        let mut settings = dict_of(&merged);
        for (path, message) in secrets::read_twins(&mut settings, C::SECRETS) {
            violations.list.push(violation(&merged, path, message));
        }
        let config: C = extract(&merged, settings, &mut violations);
        let mut checker = Checker::default();
        config.check(&mut checker);
        check(&config, &mut checker);
        for (path, message) in checker.into_found() {
            violations.list.push(violation(&merged, path, message));
        }
        if violations.list.is_empty() {
            Ok(config)
        } else {
            Err(LoadError::Invalid(violations))
        }
    }
}

/// Prints a configuration as TOML, secrets redacted.
///
/// # Panics
/// If `config` holds something TOML has no form for, which no section does.
pub fn to_toml<C: Configuration>(config: &C) -> String {
    toml::to_string(config).expect("sections hold tables, lists, texts and numbers only")
}

fn read_file(path: &Path) -> Result<Layer, LoadError> {
    let text = source::read_bounded(path, source::MAX_FILE_BYTES).map_err(|source| {
        LoadError::Unreadable {
            path: path.to_owned(),
            source,
        }
    })?;
    let dict = toml::from_str(&text).map_err(|error| LoadError::Syntax {
        path: path.to_owned(),
        message: fault_of(&error, &text),
    })?;
    Ok(Layer::of_dict(format!("file {}", path.display()), dict))
}

/// Where and what, on one line. The line at fault is not shown: it may hold a secret.
fn fault_of(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

fn dict_of(merged: &Figment) -> Dict {
    // Layers cannot fail: their values were parsed before they were merged.
    merged
        .data()
        .ok()
        .and_then(|mut data| data.remove(&Profile::Default))
        .unwrap_or_default()
}

/// Reads the settings into their types. What does not fit is noted and left at its default, so that the next
/// mistake is found too.
fn extract<C: Configuration>(
    merged: &Figment,
    mut settings: Dict,
    violations: &mut Violations,
) -> C {
    loop {
        let layer = Layer::of_dict("merged".to_owned(), settings.clone());
        // Lossy: texts of variables and flags turn into numbers where the type is one.
        let error = match Figment::from(layer).extract_lossy::<C>() {
            Ok(config) => return config,
            Err(error) => error,
        };
        let path = &error.path;
        let name = path.join(".");
        let message = match &error.kind {
            // What was found is the secret.
            Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected)
                if C::SECRETS.contains(&name.as_str()) =>
            {
                format!("invalid type, expected {expected}")
            }
            Kind::UnknownField(_, known) => {
                format!("there is no such setting; there are: {}", known.join(", "))
            }
            kind => kind.to_string(),
        };
        violations.list.push(violation(merged, name, message));
        if !remove(&mut settings, path) {
            return C::default();
        }
    }
}

/// Removes what stands at `path`; false if nothing does.
fn remove(settings: &mut Dict, path: &[String]) -> bool {
    match path {
        [] => false,
        [last] => settings.remove(last).is_some(),
        [first, rest @ ..] => match settings.get_mut(first) {
            Some(Value::Dict(_, inner)) => remove(inner, rest),
            // A list item that does not fit takes its list with it.
            Some(_) => settings.remove(first).is_some(),
            None => false,
        },
    }
}

fn violation(merged: &Figment, path: String, message: String) -> Violation {
    let metadata = merged
        .find_metadata(&path)
        .or_else(|| merged.find_metadata(&secrets::twin_of(&path)));
    let source = metadata.map_or_else(|| "the defaults".to_owned(), |found| found.name.to_string());
    Violation {
        path,
        message,
        source,
    }
}
