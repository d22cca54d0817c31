//! Any program can be owned: steered, ended, started again, and never left behind.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use downlink_stack::{Program, Signal, Supervised};

const PATIENCE: Duration = Duration::from_secs(20);

/// Owns a shell that runs `script`, with a folder that goes with it.
fn own(name: &str, script: &str) -> (Supervised, PathBuf) {
    let process = std::process::id();
    let folder = std::env::temp_dir().join(format!("downlink-supervised-{process}-{name}"));
    std::fs::create_dir(&folder).unwrap();
    let supervised = Supervised::start(Program {
        name: name.to_owned(),
        words: ["sh", "-c", script].map(Into::into).into(),
        environment: vec![("GREETING".into(), "hello there".into())],
        log: folder.join("log"),
        folder: Some(folder.clone()),
        ending: Signal::Kill,
    });
    (supervised.unwrap(), folder)
}

#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_exit_code_an_environment_and_a_log_come_through() {
    let (program, _) = own("ends", "echo \"$GREETING\"; echo twice >&2; exit 7");
    assert_eq!(program.wait(PATIENCE).unwrap(), 7);
    assert_eq!(program.log_tail(), "hello there\ntwice");
    assert_eq!(program.pid(), None);
    assert!(!program.is_running());
    let error = program.signal(Signal::Term).unwrap_err().to_string();
    assert_eq!(error, "ends does not run");
}

#[test]
fn a_program_is_ended_by_a_signal_and_started_again() {
    let (program, _) = own("again", "exec sleep 600");
    let first = program.pid().unwrap();
    let error = program.start_again().unwrap_err().to_string();
    assert_eq!(error, format!("again already runs as process {first}"));
    assert_eq!(program.stop(Signal::Term, PATIENCE).unwrap(), 128 + 15);
    program.start_again().unwrap();
    assert!(program.is_running());
    assert_ne!(program.pid(), Some(first));
    program.kill().unwrap();
    assert!(!program.is_running());
}

#[test]
fn a_signal_right_after_the_start_ends_a_program_that_handles_none() {
    for (signal, code) in [(Signal::Hup, 1), (Signal::Int, 2), (Signal::Term, 15)] {
        let (program, _) = own(&format!("{signal:?}"), "exec sleep 600");
        assert_eq!(program.stop(signal, PATIENCE).unwrap(), 128 + code);
    }
}

#[test]
fn a_program_that_does_not_end_is_complained_of_and_can_still_be_ended() {
    let (program, _) = own("stays", "trap '' TERM; echo up; while :; do sleep 1; done");
    eventually("the trap", || program.log_tail() == "up");
    let error = program.stop(Signal::Term, Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("it still runs"), "{error}");
    program.kill().unwrap();
}

#[test]
fn a_program_that_stands_still_goes_on_and_goes_with_its_owner() {
    let state = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next()
    };
    let (program, folder) = own("stopped", "exec sleep 600");
    let pid = program.pid().unwrap();
    program.signal(Signal::Stop).unwrap();
    eventually("it stands still", || state(pid) == Some('T'));
    assert!(program.is_running());
    program.signal(Signal::Cont).unwrap();
    eventually("it goes on", || state(pid) != Some('T'));
    program.signal(Signal::Stop).unwrap();
    drop(program);
    assert!(!Path::new("/proc").join(pid.to_string()).exists());
    assert!(!folder.exists());
}

#[test]
fn a_program_that_cannot_be_run_shows_as_one_that_ended() {
    let (program, _) = own("missing", "exec /no/such/program");
    assert_eq!(program.wait(PATIENCE).unwrap(), 127);
    assert!(program.log_tail().contains("/no/such/program"));
}
