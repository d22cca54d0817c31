//! The suites that drive the real binary with unmodified device and service SDKs.

use std::path::{Path, PathBuf};
use std::process::Command;

use downlink_stack::{Kafka, Postgres, Redis, StackError};

use crate::cache;
use crate::hosts::Names;
use crate::shell::{self, Failure, Outcome};
use crate::tools;

/// Where the built server is handed to the suites.
const SERVER_VARIABLE: &str = "DOWNLINK_BIN";

/// The servers below the split form, for as long as this value is held.
pub(crate) struct Servers {
    postgres: Postgres,
    redis: Redis,
    kafka: Kafka,
}

impl Servers {
    /// Starts them.
    ///
    /// # Errors
    /// One of them is not installed or does not start.
    pub(crate) fn start() -> Outcome<Self> {
        let failed = |error: StackError| Failure(error.to_string());
        Ok(Self {
            postgres: Postgres::try_start().map_err(failed)?,
            redis: Redis::try_start().map_err(failed)?,
            kafka: Kafka::try_start().map_err(failed)?,
        })
    }
}

/// In which form the hub is driven.
#[derive(Clone, Copy)]
pub(crate) enum Form<'a> {
    /// All services in one process on embedded storage.
    Embedded,
    /// Two processes of each service; devices reach one gateway and back-ends the other.
    Split(&'a Servers),
}

impl Form<'_> {
    /// Tells `suite` which program to start, and where its servers are.
    fn apply(self, suite: &mut Command) {
        let folder = cache::build_dir().join("debug");
        match self {
            Self::Embedded => suite.env(SERVER_VARIABLE, folder.join("downlink")),
            Self::Split(servers) => suite
                .env(SERVER_VARIABLE, folder.join("split-hub"))
                .env("DOWNLINK_POSTGRES", servers.postgres.url())
                .env("DOWNLINK_REDIS", servers.redis.url())
                .env("DOWNLINK_KAFKA", servers.kafka.bootstrap()),
        };
    }
}

/// Builds the programs that the SDK suites start.
///
/// The development profile is what `cargo test` has just built most of: a release build would
/// double the time of a cold run and the suites prove behaviour, not speed.
pub(crate) fn build_server() -> Outcome {
    // As the tests are built: `cargo test` makes the programs of packages that have integration
    // tests, which all of them do, and another command would build every dependency once more
    // because of the features that only tests ask for.
    shell::run(&mut shell::cargo([
        "test",
        "--workspace",
        "--locked",
        "--no-run",
        "--quiet",
    ]))
}

/// Checks the machine for what the suites need and makes their host names resolve.
///
/// # Errors
/// A tool is missing, the ports are closed to this user, or a name cannot be made to resolve.
pub(crate) fn prepare() -> Outcome<Names> {
    tools::check_sdk_tools()?;
    if !tools::may_listen_on_low_ports() {
        return Err(Failure(
            "the SDKs fix port 443, which this user may not open; \
             as root: sysctl net.ipv4.ip_unprivileged_port_start=443"
                .to_owned(),
        ));
    }
    Names::provide()
}

/// Installs the pinned Node SDKs and runs their suite.
pub(crate) fn node_suite(form: Form<'_>) -> Outcome {
    let dir = suite_dir("node");
    install_packages(&dir)?;
    provide_issuer()?;
    let mut suite = Command::new("node");
    form.apply(&mut suite);
    shell::run(suite.arg("run.mjs").current_dir(&dir))
}

/// Installs the pinned Python SDKs and runs their suite.
pub(crate) fn python_suite(form: Form<'_>) -> Outcome {
    let dir = suite_dir("python");
    let python = provide_python(&dir.join("requirements.txt"))?;
    provide_issuer()?;
    let mut suite = Command::new(python);
    suite
        .args(["-m", "pytest", "-p", "no:cacheprovider"])
        .current_dir(&dir)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    form.apply(&mut suite);
    shell::run(&mut suite)
}

/// Fetches the pinned Java SDKs where they are missing and runs their suite.
pub(crate) fn java_suite(form: Form<'_>) -> Outcome {
    provide_issuer()?;
    let mut suite = Command::new("mvn");
    suite
        .args(["--batch-mode", "--no-transfer-progress", "--quiet", "test"])
        .current_dir(suite_dir("java"));
    form.apply(&mut suite);
    shell::run(&mut suite)
}

/// Installs the `OpenID` Connect server that the suites start beside their hubs.
fn provide_issuer() -> Outcome {
    install_packages(&suite_dir("oidc"))
}

/// Installs what the lock file in `dir` pins, unless it is there.
fn install_packages(dir: &Path) -> Outcome {
    let lock = dir.join("package-lock.json");
    let stamp = dir.join("node_modules").join(".made-from-lock");
    if cache::is_current(&stamp, &lock) {
        return Ok(());
    }
    let mut install = Command::new("npm");
    install
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(dir);
    shell::run(&mut install)?;
    cache::mark(&stamp, &lock)
}

/// Makes the virtual environment of the Python suite unless it is current, and returns its Python.
fn provide_python(requirements: &Path) -> Outcome<PathBuf> {
    let environment = cache::folder("python")?;
    let python = environment.join("bin").join("python");
    let stamp = environment.join("made-from-requirements.txt");
    let is_alive = shell::find_output(Command::new(&python).arg("--version")).is_some();
    if is_alive && cache::is_current(&stamp, requirements) {
        return Ok(python);
    }
    tools::check_python_builds()?;
    let mut make = Command::new("python3");
    shell::run(make.args(["-m", "venv", "--clear"]).arg(&environment))?;
    if install_requirements(&python, requirements).is_err() {
        // No wheel of the SDK's AMQP library fits this Python: it is built here, with more packages.
        tools::install(tools::FOR_UAMQP_BUILDS)?;
        install_requirements(&python, requirements)?;
    }
    cache::mark(&stamp, requirements)?;
    Ok(python)
}

fn install_requirements(python: &Path, requirements: &Path) -> Outcome {
    let mut install = Command::new(python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    shell::run(install.arg("--requirement").arg(requirements))
}

fn suite_dir(language: &str) -> PathBuf {
    cache::workspace().join("tests").join("sdk").join(language)
}
