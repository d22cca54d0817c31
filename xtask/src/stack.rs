//! `cargo xtask up` and `cargo xtask down`: the split form on this machine, without containers.

mod options;
mod probe;
mod programs;
mod settings;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use downlink_stack::staying::StayingStack;
use downlink_stack::{Signal, StackError};

use crate::shell::{self, Failure, Outcome};
use crate::tools;

use programs::Programs;
use settings::{Plan, Service, Stores};

pub(crate) use options::{Options, USAGE};

impl From<StackError> for Failure {
    fn from(error: StackError) -> Self {
        Self(error.to_string())
    }
}

/// Starts the stores, then the services, and says how to reach them. What a failed start had
/// started is ended again.
pub(crate) fn up(options: &Options) -> ExitCode {
    finish(try_up(options))
}

/// Ends exactly what `up` started in the folder; its data stays.
pub(crate) fn down(options: &Options) -> ExitCode {
    finish(try_down(options))
}

fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            shell::complain(failure);
            ExitCode::FAILURE
        }
    }
}

fn try_up(options: &Options) -> Outcome {
    tools::check_servers()?;
    let programs = Programs::build(options.profile)?;
    let mut stack = StayingStack::open(&options.data)?;
    let running = stack.running();
    if !running.is_empty() {
        return Err(Failure(format!(
            "{} still run; `cargo xtask down` ends them",
            running.join(", ")
        )));
    }
    start_all(&mut stack, options, &programs).inspect_err(|_| {
        if let Err(failure) = end_all(&mut stack) {
            shell::complain(failure);
        }
    })
}

fn try_down(options: &Options) -> Outcome {
    // Opening would make it.
    if !options.data.exists() {
        return Err(Failure(format!(
            "there is no folder {}",
            options.data.display()
        )));
    }
    end_all(&mut StayingStack::open(&options.data)?)
}

fn end_all(stack: &mut StayingStack) -> Outcome {
    let ended = stack.end(|one, other| settings::group(one) == settings::group(other))?;
    if ended.is_empty() {
        shell::say("nothing was running");
    } else {
        shell::say(format_args!("ended {}", ended.join(", ")));
    }
    Ok(())
}

fn start_all(stack: &mut StayingStack, options: &Options, programs: &Programs) -> Outcome {
    let stores = start_stores(stack)?;
    let plan = Plan::make(stack, &stores, options)?;
    programs.run("migrate", &[], &plan.tool_settings())?;
    let folder = stack.folder().join("certificates");
    let authority = programs.certificate(&folder, &plan.tool_settings())?;
    for service in Service::ALL {
        for number in 1..=options.nodes {
            start_service(stack, &plan, programs, service, number)?;
        }
    }
    report(stack.folder(), &plan, &stores, &authority);
    programs.run("hub", &["--demo-device"], &plan.tool_settings())
}

fn start_stores(stack: &mut StayingStack) -> Outcome<Stores> {
    shell::say("starting postgres");
    let postgres = stack.start_postgres()?;
    shell::say("starting redis");
    let redis = stack.start_redis()?;
    shell::say("starting kafka (the first time, it is fetched from Maven Central)");
    let kafka = stack.start_kafka()?;
    Ok(Stores {
        postgres,
        redis,
        kafka,
    })
}

fn start_service(
    stack: &mut StayingStack,
    plan: &Plan,
    programs: &Programs,
    service: Service,
    number: usize,
) -> Outcome {
    let name = service.node(number);
    shell::say(format_args!("starting {name}"));
    let mut words = vec![OsString::from(programs.of(service.program()))];
    for setting in plan.settings(service, number) {
        words.extend(["--set".into(), setting.into()]);
    }
    stack.start(&name, &words, &[], Signal::Term)?;
    probe::wait_until_ready(plan.metrics_port(service, number), || {
        stack.is_running(&name)
    })
    .map_err(|failure| {
        let said = stack.log_tail(&name);
        Failure(format!("{name} {failure}; it said:\n{said}"))
    })
}

fn report(folder: &Path, plan: &Plan, stores: &Stores, authority: &Path) {
    shell::say(format_args!(
        "\npostgres   {}\nredis      {}\nkafka      {}\nfolder     {}\nauthority  {}",
        stores.postgres,
        stores.redis,
        stores.kafka,
        folder.display(),
        authority.display()
    ));
    for line in plan.doors() {
        shell::say(line);
    }
    shell::say("");
}
