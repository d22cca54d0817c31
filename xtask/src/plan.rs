//! Which steps a command has, and in which order they run.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::sdk::Form;
use crate::shell::{self, Outcome};
use crate::{checks, sdk, tools};

/// The commands of this program that run steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// What can be said without running the product.
    Check,
    /// Everything.
    Test,
    /// The SDK suites alone, for work on them.
    Sdk,
}

/// The steps run so far and what became of them.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    failures: usize,
}

impl Report {
    /// Runs one step and notes its outcome; a failed step does not stop the ones after it.
    fn step<T>(&mut self, name: &str, step: impl FnOnce() -> Outcome<T>) -> Option<T> {
        shell::say(format_args!("\n== {name}"));
        let started = Instant::now();
        let outcome = step();
        let took = seconds(started.elapsed());
        match outcome {
            Ok(value) => {
                self.lines.push(format!("ok      {took:>5} s  {name}"));
                Some(value)
            }
            Err(failure) => {
                shell::complain(format_args!("{name} failed: {failure}"));
                self.lines
                    .push(format!("FAILED  {took:>5} s  {name}: {failure}"));
                self.failures += 1;
                None
            }
        }
    }
}

/// Runs the steps of `plan` and prints what became of each.
pub(crate) fn run(plan: Plan) -> ExitCode {
    let started = Instant::now();
    let mut report = Report::default();
    if report.step("toolchain", tools::check_toolchain).is_some() {
        if plan != Plan::Sdk {
            run_checks(&mut report);
        }
        if plan == Plan::Test {
            report.step("servers", tools::check_servers);
            report.step("rust tests", rust_tests);
        }
        if plan != Plan::Check {
            run_sdk_suites(&mut report);
        }
    }
    shell::say(format_args!(
        "\n== summary after {} s",
        seconds(started.elapsed())
    ));
    for line in &report.lines {
        shell::say(line);
    }
    if report.failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_checks(report: &mut Report) {
    report.step("format", checks::format);
    report.step("lints", checks::lints);
    report.step("dependency rules", checks::dependency_rules);
    report.step("documentation", checks::documentation);
}

fn run_sdk_suites(report: &mut Report) {
    if report.step("server", sdk::build_server).is_none() {
        return;
    }
    let Some(names) = report.step("sdk tools and host names", sdk::prepare) else {
        return;
    };
    report.step("node sdk suite, embedded form", || {
        sdk::node_suite(Form::Embedded)
    });
    report.step("python sdk suite, embedded form", || {
        sdk::python_suite(Form::Embedded)
    });
    report.step("java sdk suite, embedded form", || {
        sdk::java_suite(Form::Embedded)
    });
    if let Some(servers) = report.step("servers of the split form", sdk::Servers::start) {
        let form = Form::Split(&servers);
        report.step("node sdk suite, split form", || sdk::node_suite(form));
        report.step("python sdk suite, split form", || sdk::python_suite(form));
        report.step("java sdk suite, split form", || sdk::java_suite(form));
    }
    drop(names);
}

fn rust_tests() -> Outcome {
    shell::run(&mut shell::cargo([
        "test",
        "--workspace",
        "--locked",
        "--no-fail-fast",
    ]))
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::Failure;

    #[test]
    fn a_failed_step_is_counted_and_the_next_one_still_runs() {
        let mut report = Report::default();
        assert_eq!(
            report.step("first", || Err::<(), _>(Failure("no".to_owned()))),
            None
        );
        assert_eq!(report.step("second", || Ok(7)), Some(7));
        assert_eq!(report.failures, 1);
        assert_eq!(report.lines.len(), 2);
        assert!(report.lines[0].starts_with("FAILED") && report.lines[0].ends_with("first: no"));
    }
}
