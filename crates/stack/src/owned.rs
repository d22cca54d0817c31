//! Processes that never outlive the one that started them.

mod guardian;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use crate::waiting::{Attempt, until};
use crate::{Signal, StackError, folder, machine};

use guardian::{ANSWER_TIMEOUT, Guardian};

/// What to run, and what becomes of it when its owner is gone.
#[derive(Debug, Clone)]
pub struct Program {
    /// How errors name it.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Variables set for it besides those of this process.
    pub environment: Vec<(OsString, OsString)>,
    /// Where its output goes; appended to.
    pub log: PathBuf,
    /// The folder that is removed when the owner is gone, after the process ended.
    pub folder: Option<PathBuf>,
    /// The signal that ends it when the owner is gone.
    pub ending: Signal,
}

/// Runs a program that ends by itself and must succeed; it does not outlive this process either.
pub(crate) fn run_to_end(
    name: &str,
    words: Vec<OsString>,
    log: PathBuf,
    patience: Duration,
) -> Result<(), StackError> {
    let run = Supervised::start(Program {
        name: name.to_owned(),
        words,
        environment: Vec::new(),
        log,
        folder: None,
        ending: Signal::Kill,
    })?;
    match run.wait(patience)? {
        0 => Ok(()),
        code => Err(StackError::new(format!(
            "{name} ended with {code}; it said: {}",
            run.log_tail()
        ))),
    }
}

/// A process that ends when this value is dropped or its owner dies, however that happens.
///
/// It can be ended and started again; its number changes then, its command line does not.
pub struct Supervised {
    program: Program,
    guardian: Mutex<Guardian>,
}

impl Supervised {
    /// Starts the program; that it is ready is for the caller to find out.
    ///
    /// # Errors
    /// The shell above it did not start. A program that cannot be run shows as one that ended.
    pub fn start(program: Program) -> Result<Self, StackError> {
        let supervised = Self::prepare(program)?;
        supervised.start_again()?;
        Ok(supervised)
    }

    /// Does all but start the program: from now on its folder goes when the owner does.
    pub(crate) fn prepare(program: Program) -> Result<Self, StackError> {
        let guardian = Guardian::start(&program)?;
        Ok(Self {
            program,
            guardian: Mutex::new(guardian),
        })
    }

    /// Starts the program again after it ended.
    ///
    /// # Errors
    /// It has not been waited for, see [`Supervised::stop`] and [`Supervised::kill`].
    pub fn start_again(&self) -> Result<(), StackError> {
        let mut guardian = self.lock();
        if let Some(pid) = guardian.pid {
            let name = &self.program.name;
            return Err(StackError::new(format!(
                "{name} already runs as process {pid}"
            )));
        }
        let answer = guardian.order("start")?;
        let pid = answer
            .parse()
            .map_err(|_| StackError::new(format!("no process number: {answer}")))?;
        guardian.pid = Some(pid);
        Ok(())
    }

    /// The number of the process, unless it was stopped or killed.
    pub fn pid(&self) -> Option<u32> {
        self.lock().pid
    }

    /// Says whether the process has been started and not ended, by itself or otherwise.
    pub fn is_running(&self) -> bool {
        self.pid().is_some_and(machine::is_running)
    }

    /// Sends a signal and does not wait for what it does.
    ///
    /// # Errors
    /// The process was stopped or killed before, or may not be signalled.
    pub fn signal(&self, signal: Signal) -> Result<(), StackError> {
        let mut guardian = self.lock();
        if guardian.pid.is_none() {
            return Err(StackError::new(format!(
                "{} does not run",
                self.program.name
            )));
        }
        let order = format!("signal {}", signal.name());
        let answer = guardian.order(&order)?;
        if answer == "0" {
            Ok(())
        } else {
            let name = &self.program.name;
            Err(StackError::new(format!("{name} could not be signalled")))
        }
    }

    /// Waits for the process to end by itself and gives its exit code (128 + n after signal n).
    ///
    /// # Errors
    /// It does not run, or has not ended after `patience`.
    pub fn wait(&self, patience: Duration) -> Result<i32, StackError> {
        let name = &self.program.name;
        let does_not_run = || StackError::new(format!("{name} does not run"));
        let pid = self.pid().ok_or_else(does_not_run)?;
        // The shell is not asked to wait before there is nothing to wait for: while it waits it
        // would not see its owner go. Until then the number stays with the ended process.
        until(&format!("the end of {name}"), patience, || {
            if machine::is_running(pid) {
                Attempt::NotYet("it still runs".to_owned())
            } else {
                Attempt::Done(())
            }
        })?;
        let mut guardian = self.lock();
        if guardian.pid != Some(pid) {
            return Err(does_not_run());
        }
        let answer = guardian.order("wait")?;
        guardian.pid = None;
        answer
            .parse()
            .map_err(|_| StackError::new(format!("no exit code: {answer}")))
    }

    /// Sends `signal` and waits for the process to end.
    ///
    /// # Errors
    /// As [`Supervised::signal`] and [`Supervised::wait`].
    pub fn stop(&self, signal: Signal, patience: Duration) -> Result<i32, StackError> {
        self.signal(signal)?;
        self.wait(patience)
    }

    /// Ends the process by `SIGKILL` and waits for that.
    ///
    /// # Errors
    /// As [`Supervised::signal`] and [`Supervised::wait`].
    pub fn kill(&self) -> Result<(), StackError> {
        self.stop(Signal::Kill, ANSWER_TIMEOUT).map(|_| ())
    }

    /// The end of what the process wrote.
    pub fn log_tail(&self) -> String {
        folder::tail(&self.program.log)
    }

    /// Adds to an error of waiting for the process what it said before it ended, if it has.
    pub(crate) fn explain(&self, error: StackError) -> StackError {
        if self.is_running() {
            return error;
        }
        let name = &self.program.name;
        StackError::new(format!("{name} ended; it said: {}", self.log_tail()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Guardian> {
        // A panic while holding it leaves a state that is still true.
        self.guardian
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervised")
            .field("program", &self.program)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
