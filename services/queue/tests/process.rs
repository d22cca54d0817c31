//! The service in a process of its own.

use std::process::{Command, Output};

fn run(variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downlink-queue"));
    command.env_clear().envs(variables.iter().copied());
    command
        .output()
        .expect("the program was built with this test")
}

#[test]
fn it_says_in_one_line_what_it_lacks_and_what_to_run_instead() {
    let output = run(&[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("presence"), "{said}");
    assert!(said.contains("`downlink dev`"), "{said}");
}

#[test]
fn a_bad_setting_is_named_first() {
    let output = run(&[("DOWNLINK_QUEUE__MAX_DEPTH", "none")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("queue.max_depth"), "{said}");
}
