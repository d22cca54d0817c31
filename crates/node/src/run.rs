//! The life of a process: command line, logs, start, signals, drain.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use downlink_config::sections::{self, Config};
use downlink_config::{Process, to_toml};
use downlink_runtime::telemetry::{LogFormat, init_logging};
use downlink_runtime::{Lifecycle, Shutdown, Signals};

use crate::cli::ServiceArgs;
use crate::ground::Ground;

/// How long the end of a process waits for calls that cannot be cut off, such as a look-up of a
/// name that nobody answers.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Runs the program of one service: `start` opens everything and returns when it works.
///
/// The exit code is 0 after a drain, 1 when it could not start or not end in order; the last lines
/// on stderr say why.
pub fn run_process<F>(process: Process, start: impl FnOnce(Ground) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    let args = ServiceArgs::parse();
    match run(&args, process, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                // There is nowhere to tell of a closed stderr.
                let _ = writeln!(std::io::stderr(), "{}: {line}", process.name());
            }
            ExitCode::FAILURE
        }
    }
}

fn run<F>(
    args: &ServiceArgs,
    process: Process,
    start: impl FnOnce(Ground) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let settings = &args.settings;
    let config = settings.load(settings.lower_layers(), process)?;
    if args.print_config {
        write!(std::io::stdout(), "{}", to_toml(&config))?;
        return Ok(());
    }
    run_until_stopped(config, async |ground| {
        let readiness = ground.readiness.clone();
        start(ground).await?;
        readiness.started();
        tracing::info!(process = process.name(), "started");
        Ok(())
    })
}

/// Starts a process with `config`, runs it until it is told to stop, and drains it.
///
/// # Errors
/// Whatever kept the process from starting or from ending in order.
pub fn run_until_stopped(
    config: Config,
    start: impl AsyncFnOnce(Ground) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let format = match config.log.format {
        sections::LogFormat::Human => LogFormat::Human,
        sections::LogFormat::Json => LogFormat::Json,
    };
    init_logging(&config.log.level, format)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(serve(Arc::new(config), start));
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}

async fn serve(
    config: Arc<Config>,
    start: impl AsyncFnOnce(Ground) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // Before anything is said to be ready: whoever reads that may stop it at once.
    let mut signals = Signals::install().context("cannot listen for stop signals")?;
    let lifecycle = Lifecycle::new();
    let grace = config.shutdown.grace.get();
    let ground = Ground::new(config, lifecycle.clone())?;
    let started = tokio::select! {
        started = start(ground) => started,
        name = signals.next() => {
            tracing::info!(signal = name, "stopping on signal before the start was over");
            lifecycle.shutdown(grace).await;
            return Ok(());
        }
    };
    if let Err(error) = started {
        lifecycle.shutdown(grace).await;
        return Err(error);
    }
    match lifecycle.run_until_signal(signals, grace).await? {
        Shutdown::Drained => Ok(()),
        Shutdown::Halted { unfinished } => {
            anyhow::bail!("stopped with unfinished tasks: {unfinished:?}")
        }
    }
}

/// Every connection is a descriptor, and the usual limit of 1,024 is for other kinds of programs.
fn raise_descriptor_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_start_that_failed_is_told_though_a_name_is_still_looked_up() {
        let (answer, look_up) = mpsc::sync_channel::<()>(1);
        let (told, outcome) = mpsc::sync_channel(1);
        let process = std::thread::spawn(move || {
            let ended = run_until_stopped(Config::default(), async |_| {
                // As the resolver of the operating system does: nothing but an answer ends it.
                tokio::task::spawn_blocking(move || look_up.recv());
                anyhow::bail!("the store cannot be reached")
            });
            told.send(ended.unwrap_err().to_string()).unwrap();
        });
        let outcome = outcome.recv_timeout(Duration::from_secs(20));
        drop(answer);
        process.join().unwrap();
        assert_eq!(outcome.unwrap(), "the store cannot be reached");
    }
}
