//! Apache Kafka's Java archives, fetched once from Maven Central into the user's cache folder.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::owned::run_to_end;
use crate::{StackError, folder, machine};

/// The exact versions wanted.
const POM: &str = include_str!("../../../../deploy/kafka/pom.xml");

/// The longest fetching may take: some 60 MB, over a slow line.
const FETCH_TIMEOUT: Duration = Duration::from_mins(10);

/// Gives the folder with the archives, fetching them first if that has not been done.
///
/// Of several processes that find them missing, one fetches and the others wait for it.
///
/// # Errors
/// There is no home folder, Maven is missing, or the archives cannot be had.
pub(crate) fn provide() -> Result<PathBuf, StackError> {
    let cache = cache_folder()?;
    fs::create_dir_all(&cache).map_err(StackError::from_io(format!("make {}", cache.display())))?;
    let place = cache.join("kafka");
    let lock = cache.join("kafka.lock");
    let attempt = format!("lock {}", lock.display());
    let lock = File::create(&lock).map_err(StackError::from_io(&attempt))?;
    lock.lock().map_err(StackError::from_io(&attempt))?;
    let libraries = place.join("libs");
    let stamp = place.join("stamp.xml");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == POM) {
        return Ok(libraries);
    }
    fetch(&place, &libraries)?;
    folder::write(&stamp, POM)?;
    Ok(libraries)
}

fn fetch(place: &Path, libraries: &Path) -> Result<(), StackError> {
    let maven = machine::get_program("mvn", "maven")?;
    if place.exists() {
        fs::remove_dir_all(place)
            .map_err(StackError::from_io(format!("empty {}", place.display())))?;
    }
    fs::create_dir_all(libraries)
        .map_err(StackError::from_io(format!("make {}", libraries.display())))?;
    let pom = place.join("pom.xml");
    folder::write(&pom, POM)?;
    let mut output = OsString::from("-DoutputDirectory=");
    output.push(libraries);
    let words = vec![
        maven.into(),
        "--batch-mode".into(),
        "--file".into(),
        pom.into(),
        "dependency:copy-dependencies".into(),
        "-DincludeScope=runtime".into(),
        output,
    ];
    run_to_end("maven", words, place.join("log"), FETCH_TIMEOUT)
}

fn cache_folder() -> Result<PathBuf, StackError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .map(|cache| cache.join("downlink"))
        .ok_or_else(|| StackError::new("neither HOME nor XDG_CACHE_HOME says where to keep Kafka"))
}
