//! What the program of a service must say when it is started without what it needs.

use std::process::{Command, Output};

/// Checks that `program`, started without any setting, names on a line of its own each of the
/// settings in `lacks`, says what to run instead, and ends; and that a setting that does not fit
/// is named among them.
///
/// # Panics
/// When it says anything else.
#[track_caller]
pub fn assert_names_what_it_lacks(program: &str, lacks: &[&str]) {
    let (ended, said) = run(program, &[]);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), lacks.len(), "{said}");
    for (line, setting) in said.lines().zip(lacks) {
        assert!(
            line.contains(&format!(": {setting}: ")),
            "{setting}: {said}"
        );
    }
    assert!(said.contains("`downlink dev`"), "{said}");

    let (ended, said) = run(program, &[("DOWNLINK_QUEUE__MAX_DEPTH", "none")]);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), lacks.len() + 1, "{said}");
    assert!(said.contains(": queue.max_depth: "), "{said}");
    assert!(said.contains("DOWNLINK_QUEUE__MAX_DEPTH"), "{said}");
}

/// Checks that `program` ends with one line that names `setting` when what `settings` name is not
/// there.
///
/// # Panics
/// When it says anything else.
#[track_caller]
pub fn assert_names_what_does_not_answer(program: &str, settings: &[(&str, &str)], setting: &str) {
    let (ended, said) = run(program, settings);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(&format!(": {setting}: ")), "{said}");
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
