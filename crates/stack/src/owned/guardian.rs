//! The shell that stands between an owner and its process.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::StackError;

use super::Program;

/// The shell above an owned process. It is the parent of the process, so the number it holds
/// cannot come to mean another one, and it learns from the end of its input that the owner is
/// gone.
///
/// A command that a shell starts in the background is not at once one that a signal ends. Until
/// it has dropped the traps of its parent they swallow what is sent, `INT` and `QUIT` stay
/// ignored, and so does whatever this process was told to ignore, as `nohup` does with `HUP`.
/// `env` gives all of them their default, and the number is told by the process itself when
/// nothing but the program is left to run: a signal of someone who knows it is not lost.
const SCRIPT: &str = r#"
trap : HUP INT TERM
folder=$1 log=$2 ending=$3
shift 3
pid=
while read -r word value; do
  case $word in
    start)
      env --default-signal=HUP,INT,QUIT,TERM \
        sh -c 'echo "$$"; exec "$@" >>"$0" 2>&1' "$log" "$@" </dev/null &
      pid=$!
      ;;
    signal) kill "-$value" "$pid" 2>/dev/null; echo $? ;;
    wait) wait "$pid"; code=$?; pid=; echo "$code" ;;
  esac
done
if [ -n "$pid" ]; then
  # An owner may go before the number was told: then the first signal may be lost, but for KILL.
  while kill "-$ending" "$pid" 2>/dev/null && kill -CONT "$pid" 2>/dev/null; do
    [ "$ending" != KILL ] || break
    sleep 0.05
  done
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
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The parent of an owned process, and how to speak to it.
pub(super) struct Guardian {
    shell: Child,
    /// `None` only while dropping: closing it is what ends the shell.
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    /// The process, from its start until it was waited for.
    pub(super) pid: Option<u32>,
}

impl Guardian {
    /// Starts the shell, and nothing below it.
    pub(super) fn start(program: &Program) -> Result<Self, StackError> {
        let folder = program.folder.clone().unwrap_or_default();
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "downlink-guardian"])
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
        let orders = shell.stdin.take();
        let output = shell.stdout.take();
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
            shell,
            orders,
            answers,
            pid: None,
        })
    }

    /// Sends an order and gives the answer.
    pub(super) fn order(&mut self, order: &str) -> Result<String, StackError> {
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

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::Signal;

    /// A program that handles no signal, and the folder that goes with it.
    fn sleeper(ending: Signal, turn: usize) -> (Program, PathBuf) {
        let (process, name) = (std::process::id(), ending.name());
        let folder =
            std::env::temp_dir().join(format!("downlink-guardian-{process}-{name}-{turn}"));
        std::fs::create_dir(&folder).unwrap();
        let program = Program {
            name: "sleep".to_owned(),
            words: ["sleep", "600"].map(Into::into).into(),
            environment: Vec::new(),
            log: folder.join("log"),
            folder: Some(folder.clone()),
            ending,
        };
        (program, folder)
    }

    #[test]
    fn a_program_ends_with_an_owner_that_goes_while_it_starts() {
        for (turn, ending) in [Signal::Term, Signal::Int, Signal::Hup, Signal::Kill]
            .into_iter()
            .cycle()
            .take(20)
            .enumerate()
        {
            let (program, folder) = sleeper(ending, turn);
            let mut guardian = Guardian::start(&program).unwrap();
            writeln!(guardian.orders.as_mut().unwrap(), "start").unwrap();
            let (ended, end) = sync_channel(1);
            std::thread::spawn(move || {
                drop(guardian);
                let _ = ended.send(());
            });
            end.recv_timeout(Duration::from_secs(30))
                .unwrap_or_else(|_| panic!("{ending:?}: the program outlived its owner"));
            assert!(!folder.exists(), "{ending:?}");
        }
    }
}
