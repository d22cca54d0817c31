//! Servers and programs that outlive the program that starts them, and how they are ended.
//!
//! A [`StayingStack`] is a folder: the servers' data, their logs, and a note of every process that
//! was started, with the moment it started. Ending looks at both, so that a process that got the
//! number of one that is gone is left alone.

mod notes;
mod stores;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::ports::Port;
use crate::waiting::{Attempt, until};
use crate::{Signal, StackError, folder, machine};

use notes::{Note, Notes};

/// The longest a process may take after it was asked to end; then it is killed.
const END_TIMEOUT: Duration = Duration::from_mins(1);

/// A folder with servers and programs that stay.
///
/// One program at a time may hold it: starting and ending do not mix.
#[derive(Debug)]
pub struct StayingStack {
    folder: PathBuf,
    notes: Notes,
    /// Kept from others until what shall use them does.
    ports: Vec<Port>,
    /// Locked for as long as this value lives.
    _lock: File,
}

impl StayingStack {
    /// Takes hold of the folder, making it if need be. What runs there goes on running.
    ///
    /// # Errors
    /// The folder cannot be made or read, or another program holds it.
    pub fn open(folder: &Path) -> Result<Self, StackError> {
        let shown = folder.display();
        fs::create_dir_all(folder).map_err(StackError::from_io(format!("make {shown}")))?;
        let folder =
            fs::canonicalize(folder).map_err(StackError::from_io(format!("find {shown}")))?;
        let lock = File::create(folder.join("lock"))
            .map_err(StackError::from_io(format!("write in {shown}")))?;
        lock.try_lock().map_err(|_| {
            StackError::new(format!("another program is starting or ending {shown}"))
        })?;
        Ok(Self {
            notes: Notes::read(&folder.join("processes"))?,
            folder,
            ports: Vec::new(),
            _lock: lock,
        })
    }

    /// The folder, from the root.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of the processes that were started here and still run.
    pub fn running(&self) -> Vec<String> {
        self.notes.running().map(|note| note.name.clone()).collect()
    }

    /// Starts a program that stays: it belongs to no terminal, and its output goes to
    /// `<folder>/<name>.log`; that of the process before it to `<name>.log.old`.
    ///
    /// # Errors
    /// It cannot be run, or noted; in the latter case it has been killed.
    pub fn start(
        &mut self,
        name: &str,
        words: &[OsString],
        environment: &[(OsString, OsString)],
        ending: Signal,
    ) -> Result<(), StackError> {
        let log = self.log(name);
        // What the former process said is kept, and apart from what this one will say.
        let _ = fs::rename(&log, log.with_extension("log.old"));
        let attempt = format!("write {}", log.display());
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(StackError::from_io(&attempt))?;
        let errors = output.try_clone().map_err(StackError::from_io(&attempt))?;
        // `setsid` becomes the program, so the number of the process is the program's.
        let mut child = Command::new("setsid")
            .args(words)
            .envs(environment.iter().cloned())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(StackError::from_io(format!("run {name}")))?;
        let noted = self.notes.add(Note {
            name: name.to_owned(),
            pid: child.id(),
            started: machine::find_start_time(child.id()).unwrap_or_default(),
            ending,
        });
        if noted.is_err() {
            let _ = child.kill();
        }
        noted
    }

    /// Says whether the program last started under `name` still runs.
    pub fn is_running(&self, name: &str) -> bool {
        self.notes.running().any(|note| note.name == name)
    }

    /// The end of what the program wrote.
    pub fn log_tail(&self, name: &str) -> String {
        folder::tail(&self.log(name))
    }

    /// Ends what was started here, the last first: each group of names that `together` puts
    /// together is asked to end at once and waited for. What takes more than a minute is killed.
    ///
    /// Gives the names of those that still ran, in the order in which they ended.
    ///
    /// # Errors
    /// A process outlived even `SIGKILL`, or the notes cannot be written.
    pub fn end(
        &mut self,
        together: impl Fn(&str, &str) -> bool,
    ) -> Result<Vec<String>, StackError> {
        let mut left: Vec<Note> = self.notes.running().cloned().collect();
        let mut ended = Vec::new();
        while let Some(last) = left.pop() {
            let mut group = vec![last];
            while let Some(next) = left.pop_if(|note| together(&note.name, &group[0].name)) {
                group.push(next);
            }
            for note in &group {
                note.signal(note.ending);
            }
            for note in group {
                wait_for_end(&note)?;
                ended.push(note.name);
            }
        }
        self.notes.clear()?;
        Ok(ended)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// The port that `name` had last time if it is free, else another, kept for the next time.
    ///
    /// # Errors
    /// None is free, or the choice cannot be written.
    pub fn port(&mut self, name: &str) -> Result<u16, StackError> {
        let ports = self.folder.join("ports");
        fs::create_dir_all(&ports)
            .map_err(StackError::from_io(format!("make {}", ports.display())))?;
        let file = ports.join(name);
        let last = fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let port = match last.and_then(Port::try_reserve) {
            Some(port) => port,
            None => Port::reserve()?,
        };
        let number = port.number();
        self.ports.push(port);
        folder::write(&file, &number.to_string())?;
        Ok(number)
    }
}

fn wait_for_end(note: &Note) -> Result<(), StackError> {
    let what = format!("the end of {}", note.name);
    let gone = || {
        if note.is_running() {
            Attempt::NotYet("it still runs".to_owned())
        } else {
            Attempt::Done(())
        }
    };
    until(&what, END_TIMEOUT, gone).or_else(|_| {
        note.signal(Signal::Kill);
        until(&what, Duration::from_secs(10), gone)
    })
}
