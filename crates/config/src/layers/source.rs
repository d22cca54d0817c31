//! One layer, and where it came from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

/// A configuration file larger than this is something else.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Settings with the name of their source.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    source: String,
    settings: Dict,
}

impl Layer {
    /// Makes a layer of one setting. Its value stays a text until the type of the setting is known.
    pub(super) fn new(source: String, path: &str, value: String) -> Self {
        let settings = match figment::util::nest(path, Value::from(value)) {
            Value::Dict(_, settings) => settings,
            _ => Dict::new(),
        };
        Self { source, settings }
    }

    pub(super) fn of_dict(source: String, settings: Dict) -> Self {
        Self { source, settings }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}

/// Reads a text file of at most `max_bytes`.
pub(super) fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(max_bytes + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > max_bytes {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(text)
}
