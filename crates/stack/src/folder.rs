//! A folder of a server's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::StackError;

/// How many taken names are skipped before giving up.
const TRIES: u32 = 1000;

/// How much of a log is shown when its writer failed, in bytes.
const LOG_TAIL_BYTES: usize = 4096;

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
pub(crate) fn write(path: &Path, text: &str) -> Result<(), StackError> {
    fs::write(path, text).map_err(StackError::from_io(format!("write {}", path.display())))
}

/// The end of a log; empty if there is none.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let from = bytes.len().saturating_sub(LOG_TAIL_BYTES);
    String::from_utf8_lossy(&bytes[from..]).trim().to_owned()
}
