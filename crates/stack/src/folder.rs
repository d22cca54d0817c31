//! A folder of a server's own.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::StackError;

/// How many taken names are skipped before giving up.
const TRIES: u32 = 1000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Makes a new, empty folder below the machine's temporary folder.
///
/// Who removes it is the business of the caller: the guardian of the server that lives in it.
pub(crate) fn create(server: &str) -> Result<PathBuf, StackError> {
    let process = std::process::id();
    for _ in 0..TRIES {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("downlink-{server}-{process}-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                let attempt = format!("make the folder {}", path.display());
                return Err(StackError::from_io(attempt)(error));
            }
        }
    }
    Err(StackError::new(format!(
        "{TRIES} folders named downlink-{server}-{process}-* are in the way"
    )))
}

/// Writes a file, naming it in the error.
pub(crate) fn write(path: &std::path::Path, text: &str) -> Result<(), StackError> {
    fs::write(path, text).map_err(StackError::from_io(format!("write {}", path.display())))
}
