//! The processes of a staying stack, as a file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Signal, StackError, machine};

/// A number that changes when the machine starts: moments are counted from there.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One process that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) name: String,
    pub(super) pid: u32,
    /// Clock ticks from the start of the machine.
    pub(super) started: u64,
    /// What asks it to end.
    pub(super) ending: Signal,
}

impl Note {
    /// Says whether it is this process that runs under the number.
    pub(super) fn is_running(&self) -> bool {
        machine::find_start_time(self.pid) == Some(self.started) && machine::is_running(self.pid)
    }

    /// Sends a signal, if it still runs.
    pub(super) fn signal(&self, signal: Signal) {
        if !self.is_running() {
            return;
        }
        // The shell's own `kill` is there on every machine. One that ended meanwhile is no fault.
        let _ = Command::new("sh")
            .args(["-c", "kill \"-$0\" \"$1\"", signal.name()])
            .arg(self.pid.to_string())
            .stderr(Stdio::null())
            .status();
    }

    fn line(&self) -> String {
        let ending = self.ending.name();
        format!("{} {} {} {ending}\n", self.name, self.pid, self.started)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let note = Self {
            name: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
            ending: Signal::find(words.next()?)?,
        };
        words.next().is_none().then_some(note)
    }
}

/// The notes of a folder.
#[derive(Debug)]
pub(super) struct Notes {
    file: PathBuf,
    notes: Vec<Note>,
}

impl Notes {
    /// Reads the notes; those of before the machine's last start are dropped.
    pub(super) fn read(file: &Path) -> Result<Self, StackError> {
        let mut notes = Self {
            file: file.to_owned(),
            notes: Vec::new(),
        };
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(notes),
            Err(error) => return Err(StackError::from_io(notes.attempt("read"))(error)),
        };
        let mut lines = text.lines();
        if lines.next() != Some(boot_id().as_str()) {
            return Ok(notes);
        }
        // A last line that was cut off has no process: it is written before anything is relied on.
        notes.notes = lines.filter_map(Note::parse).collect();
        Ok(notes)
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(|note| note.is_running())
    }

    pub(super) fn add(&mut self, note: Note) -> Result<(), StackError> {
        let line = if self.notes.is_empty() {
            format!("{}\n{}", boot_id(), note.line())
        } else {
            note.line()
        };
        File::options()
            .create(true)
            .append(!self.notes.is_empty())
            .write(true)
            .truncate(self.notes.is_empty())
            .open(&self.file)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(StackError::from_io(self.attempt("write")))?;
        self.notes.push(note);
        Ok(())
    }

    pub(super) fn clear(&mut self) -> Result<(), StackError> {
        self.notes.clear();
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StackError::from_io(self.attempt("remove"))(error))
            }
            _ => Ok(()),
        }
    }

    fn attempt(&self, verb: &str) -> String {
        format!("{verb} {}", self.file.display())
    }
}

fn boot_id() -> String {
    fs::read_to_string(BOOT_ID)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(pid: u32, started: u64) -> Note {
        Note {
            name: "redis".to_owned(),
            pid,
            started,
            ending: Signal::Term,
        }
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let line = note(7, 1234).line();
        assert_eq!(Note::parse(line.trim_end()), Some(note(7, 1234)));
        assert_eq!(Note::parse("redis 7"), None);
        assert_eq!(Note::parse("redis 7 1234 TERM more"), None);
    }

    #[test]
    fn a_process_that_started_at_another_moment_is_not_the_noted_one() {
        let own = std::process::id();
        let started = machine::find_start_time(own).unwrap();
        assert!(note(own, started).is_running());
        assert!(!note(own, started + 1).is_running());
    }
}
