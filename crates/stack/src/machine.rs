//! What this machine offers: its programs, its users, its processes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::StackError;

/// The user that servers run as when this program runs as root and they refuse to.
const SERVER_USER: &str = "postgres";

/// Finds a program in `PATH` and the folders where Debian keeps servers.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Finds a program, or says which Debian package brings it.
pub(crate) fn get_program(name: &str, package: &str) -> Result<PathBuf, StackError> {
    find_program(name)
        .ok_or_else(|| StackError::new(format!("`{name}` is missing; apt-get install {package}")))
}

/// Says whether this program runs with the rights of root.
pub(crate) fn is_root() -> bool {
    output_of("id", &["-u"]).as_deref() == Some("0")
}

/// What to put before a command line so that it does not run as root: nothing for other users.
pub(crate) fn unprivileged() -> Vec<OsString> {
    if !is_root() {
        return Vec::new();
    }
    [
        // The folder this program runs in may be closed to that user.
        "env",
        "--chdir=/",
        "setpriv",
        "--reuid",
        SERVER_USER,
        "--regid",
        SERVER_USER,
        "--init-groups",
        "--",
    ]
    .map(OsString::from)
    .into()
}

/// Gives `path` to the user that [`unprivileged`] changes to.
pub(crate) fn hand_over(path: &Path) -> Result<(), StackError> {
    if !is_root() {
        return Ok(());
    }
    if let Some(closed) = path.ancestors().skip(1).find(|folder| is_closed(folder)) {
        return Err(StackError::new(format!(
            "this runs as root, and {} is closed to the user `{SERVER_USER}` that the server runs \
             as: choose a folder that is below none such",
            closed.display()
        )));
    }
    let number = |option| output_of("id", &[option, SERVER_USER]).and_then(|id| id.parse().ok());
    let (Some(user), Some(group)) = (number("-u"), number("-g")) else {
        return Err(StackError::new(format!(
            "this runs as root and there is no user `{SERVER_USER}` to run servers as; \
             apt-get install postgresql"
        )));
    };
    std::os::unix::fs::chown(path, Some(user), Some(group))
        .map_err(StackError::from_io(format!("chown {}", path.display())))
}

/// Says whether users other than its owner and group cannot pass through the folder.
fn is_closed(folder: &Path) -> bool {
    const OTHERS_MAY_ENTER: u32 = 0o001;
    fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & OTHERS_MAY_ENTER == 0)
}

/// Says whether the process exists and has not ended: a zombie has.
pub(crate) fn is_running(pid: u32) -> bool {
    stat_fields(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
}

/// When the process started, in clock ticks since the machine did; `None` if it is gone.
///
/// Together with the number of the process this names it for good, as numbers are used again.
pub(crate) fn find_start_time(pid: u32) -> Option<u64> {
    stat_fields(pid)?.get(19)?.parse().ok()
}

/// The fields of `/proc/<pid>/stat` from the third on, which is the state.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold spaces and parentheses.
    let rest = text.rsplit_once(')')?.1;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Runs a program that must succeed, and gives what it printed; the error carries its complaint.
pub(crate) fn run(command: &mut Command) -> Result<String, StackError> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(StackError::from_io(format!("run `{shown}`")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let mut complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if complaint.is_empty() {
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .clone_into(&mut complaint);
    }
    Err(StackError::new(format!(
        "`{shown}` ended with {}: {complaint}",
        output.status
    )))
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    run(Command::new(program).args(arguments)).ok()
}
