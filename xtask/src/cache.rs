//! Where this program keeps what is dear to make and may be lost.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{Failure, Outcome, find_variable};

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// The folder cargo builds into, honouring `CARGO_TARGET_DIR`.
pub(crate) fn build_dir() -> PathBuf {
    match find_variable("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// A folder of this project in the user's cache folder; `build_dir()` when there is no home.
///
/// # Errors
/// The folder can neither be found nor made.
pub(crate) fn folder(name: &str) -> Outcome<PathBuf> {
    let base = find_variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| find_variable("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .map_or_else(build_dir, |cache| cache.join("downlink"));
    let dir = base.join(name);
    fs::create_dir_all(&dir)
        .map_err(|error| Failure(format!("cannot make the folder {}: {error}", dir.display())))?;
    Ok(dir)
}

/// Says whether what `stamp` marks was made from exactly `source`.
pub(crate) fn is_current(stamp: &Path, source: &Path) -> bool {
    match (fs::read(stamp), fs::read(source)) {
        (Ok(made_from), Ok(wanted)) => made_from == wanted,
        _ => false,
    }
}

/// Marks at `stamp` what was made from `source`, for [`is_current`].
///
/// # Errors
/// `source` cannot be read or `stamp` cannot be written.
pub(crate) fn mark(stamp: &Path, source: &Path) -> Outcome {
    fs::copy(source, stamp)
        .map(|_| ())
        .map_err(|error| Failure(format!("cannot write {}: {error}", stamp.display())))
}
