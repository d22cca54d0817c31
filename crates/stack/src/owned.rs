//! Processes that never outlive the one that started them.

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::waiting::{Attempt, until};
use crate::{StackError, folder, machine};

/// The shell above an owned process. It is the parent of the process, so the number it holds
/// cannot come to mean another one, and it learns from the end of its input that the owner is
/// gone. Its commands run without the traps: a shell gives children the default for a trapped
/// signal.
const GUARDIAN: &str = r#"
trap : HUP INT TERM
folder=$1 log=$2 ending=$3
shift 3
pid=
while read -r word value; do
  case $word in
    start) "$@" </dev/null >>"$log" 2>&1 & pid=$!; echo "$pid" ;;
    signal) kill "-$value" "$pid" 2>/dev/null; echo $? ;;
    wait) wait "$pid"; code=$?; pid=; echo "$code" ;;
  esac
done
if [ -n "$pid" ]; then
  kill "-$ending" "$pid" 2>/dev/null
  kill -CONT "$pid" 2>/dev/null
  wait "$pid"
fi
# What wrote there may be just about to end, too.
for delay in 0 0.1 1 5; do
  sleep "$delay"
  [ -z "$folder" ] || rm -rf -- "$folder" 2>/dev/null || continue
  break
done
"#;

/// The longest the shell may take for an answer; no order makes it wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A signal that can be sent to an owned process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`: please end.
    Term,
    /// `SIGINT`: please end, from a keyboard.
    Int,
    /// `SIGQUIT`: end now (Postgres' immediate shutdown).
    Quit,
    /// `SIGKILL`: ended by the kernel.
    Kill,
    /// `SIGSTOP`: stand still.
    Stop,
    /// `SIGCONT`: go on.
    Cont,
    /// `SIGHUP`: read the configuration again.
    Hup,
}

impl Signal {
    const ALL: [Self; 7] = [
        Self::Term,
        Self::Int,
        Self::Quit,
        Self::Kill,
        Self::Stop,
        Self::Cont,
        Self::Hup,
    ];

    /// The signal that [`Signal::name`] calls `name`.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Hup => "HUP",
        }
    }
}

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
    state: Mutex<State>,
}

struct State {
    guardian: Child,
    /// `None` only while dropping: closing it is what ends the guardian.
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    pid: Option<u32>,
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
        let state = State::new(&program)?;
        Ok(Self {
            program,
            state: Mutex::new(state),
        })
    }

    /// Starts the program again after it ended.
    ///
    /// # Errors
    /// It has not been waited for, see [`Supervised::stop`] and [`Supervised::kill`].
    pub fn start_again(&self) -> Result<(), StackError> {
        let mut state = self.lock();
        if let Some(pid) = state.pid {
            let name = &self.program.name;
            return Err(StackError::new(format!(
                "{name} already runs as process {pid}"
            )));
        }
        let answer = state.order("start")?;
        let pid = answer
            .parse()
            .map_err(|_| StackError::new(format!("no process number: {answer}")))?;
        state.pid = Some(pid);
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
        let mut state = self.lock();
        if state.pid.is_none() {
            return Err(StackError::new(format!(
                "{} does not run",
                self.program.name
            )));
        }
        let order = format!("signal {}", signal.name());
        let answer = state.order(&order)?;
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
        let mut state = self.lock();
        let name = &self.program.name;
        let Some(pid) = state.pid else {
            return Err(StackError::new(format!("{name} does not run")));
        };
        // The shell is not asked to wait before there is nothing to wait for: while it waits it
        // would not see its owner go. Until then the number stays with the ended process.
        until(&format!("the end of {name}"), patience, || {
            if machine::is_running(pid) {
                Attempt::NotYet("it still runs".to_owned())
            } else {
                Attempt::Done(())
            }
        })?;
        let answer = state.order("wait")?;
        state.pid = None;
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

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic while holding it leaves a state that is still true.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn new(program: &Program) -> Result<Self, StackError> {
        let folder = program.folder.clone().unwrap_or_default();
        let mut guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "downlink-guardian"])
            .args([folder.as_os_str(), program.log.as_os_str()])
            .arg(program.ending.name())
            .args(&program.words)
            .envs(program.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal reaches the owner alone.
            .process_group(0)
            .spawn()
            .map_err(StackError::from_io("run `sh`"))?;
        let orders = guardian.stdin.take();
        let output = guardian.stdout.take();
        // One order is open at a time, so one place is enough.
        let (sender, answers) = sync_channel(1);
        std::thread::spawn(move || {
            let lines = output
                .into_iter()
                .flat_map(|out| BufReader::new(out).lines());
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            guardian,
            orders,
            answers,
            pid: None,
        })
    }

    fn order(&mut self, order: &str) -> Result<String, StackError> {
        let gone = || StackError::new("the shell above the process is gone");
        let orders = self.orders.as_mut().ok_or_else(gone)?;
        writeln!(orders, "{order}").map_err(|_| gone())?;
        self.answers
            .recv_timeout(ANSWER_TIMEOUT)
            .map_err(|why| match why {
                RecvTimeoutError::Disconnected => gone(),
                RecvTimeoutError::Timeout => {
                    // The late answer would be taken for that of the next order.
                    self.orders = None;
                    StackError::new("the shell above the process does not answer")
                }
            })
    }
}

impl Drop for State {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.guardian.wait();
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
