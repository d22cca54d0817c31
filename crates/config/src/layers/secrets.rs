//! Secrets from files: `name_file` beside `name`.

use std::path::Path;

use figment::value::{Dict, Value};

use super::source::read_bounded;

const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Returns the path of the setting that names a secret's file.
pub(super) fn twin_of(path: &str) -> String {
    format!("{path}_file")
}

/// Puts the content of the files in place of their names; returns path and message of what went wrong.
pub(super) fn read_twins(settings: &mut Dict, secrets: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for secret in secrets {
        let (section, name) = secret.rsplit_once('.').unwrap_or(("", secret));
        let Some(section) = section_mut(settings, section) else {
            continue;
        };
        let Some(file) = section.remove(&twin_of(name)) else {
            continue;
        };
        if section.contains_key(name) {
            found.push((
                twin_of(secret),
                format!("give {name} or {name}_file, not both"),
            ));
            continue;
        }
        let Some(file) = file.as_str() else {
            found.push((twin_of(secret), "is not a path".to_owned()));
            continue;
        };
        match read_bounded(Path::new(file), MAX_SECRET_BYTES) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                section.insert(name.to_owned(), Value::from(text));
            }
            Err(error) => found.push((twin_of(secret), format!("cannot read {file}: {error}"))),
        }
    }
    found
}

fn section_mut<'a>(settings: &'a mut Dict, path: &str) -> Option<&'a mut Dict> {
    let mut section = settings;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let Value::Dict(_, inner) = section.get_mut(name)? else {
            return None;
        };
        section = inner;
    }
    Some(section)
}
