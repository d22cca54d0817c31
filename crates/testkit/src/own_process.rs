//! What the program of a service must say while it cannot run as a process of its own.

use std::process::{Command, Output};

/// Checks that `program` says in one line what it lacks and what to run instead, and that it names
/// a setting that does not fit before it says so.
///
/// # Panics
/// When it says anything else.
#[track_caller]
pub fn assert_refuses_to_run_alone(program: &str) {
    let (lacks, said) = run(program, &[]);
    assert_eq!(lacks.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("presence") && said.contains("`downlink dev`"),
        "{said}"
    );

    let (mistaken, said) = run(program, &[("DOWNLINK_QUEUE__MAX_DEPTH", "none")]);
    assert_eq!(mistaken.status.code(), Some(1), "{said}");
    assert!(said.contains("queue.max_depth"), "{said}");
}

fn run(program: &str, variables: &[(&str, &str)]) -> (Output, String) {
    let mut command = Command::new(program);
    command.env_clear().envs(variables.iter().copied());
    let output = command
        .output()
        .expect("the program was built with the test");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}
