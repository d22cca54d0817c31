//! Running other programs, and speaking to the person who started this one.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};

/// Why a step did not pass: one sentence for the person reading.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The outcome of a step.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Prints a line on standard output.
pub(crate) fn say(line: impl fmt::Display) {
    // A closed pipe on the reader's side is no reason to stop the tests.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line on standard error.
pub(crate) fn complain(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs `command` with this program's input and output, so that its own words reach the reader
/// unchanged.
///
/// # Errors
/// The program is missing or answered with a code other than 0.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let shown = describe(command);
    say(format_args!("$ {shown}"));
    let status = command
        .status()
        .map_err(|error| Failure(format!("`{shown}` did not start: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure(format!("`{shown}` ended with {status}")))
    }
}

/// Runs `command` quietly and returns what it printed, without surrounding white space.
///
/// Returns `None` when the program is missing or failed: callers ask "is it there, and which?".
pub(crate) fn find_output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Reads an environment variable; an empty one counts as unset.
pub(crate) fn find_variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Starts describing a call of the cargo that runs this program.
pub(crate) fn cargo<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let program = find_variable("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(crate::cache::workspace());
    command
}

fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut words = vec![
        program
            .file_name()
            .unwrap_or(command.get_program())
            .to_string_lossy(),
    ];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}
