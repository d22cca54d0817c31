//! `split-hub dev --data DIR --host NAME --listen ADDRESS [--set KEY=VALUE]…`: the split form in
//! the place of `downlink dev`, for suites that start a hub by its command line.
//!
//! Devices reach one gateway and back-ends the other, at the same address; two processes of each
//! service are behind them. The servers are named by `DOWNLINK_POSTGRES` (a database is made for
//! each data folder), `DOWNLINK_REDIS` and `DOWNLINK_KAFKA`.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use downlink_ports::IdSource as _;
use downlink_runtime::RandomIds;
use downlink_tests::split::{Layout, Options, Programs, SplitHub};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// How long the processes of a hub that was killed may take to let go of their ports.
const PORT_PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "split-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut stop = {
        let _guard = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let args = Args::parse(std::env::args().skip(1))?;
    let layout = Layout::devices_and_back_ends(args.listen);
    wait_for_ports(&layout)?;
    std::fs::create_dir_all(&args.data)?;
    let options = Options {
        programs: Programs::beside_this_one()?,
        folder: args.data.clone(),
        hosts: args.hosts,
        layout,
        nodes: 2,
        postgres_url: database_of(&args.data)?,
        redis_url: variable("DOWNLINK_REDIS")?,
        kafka: Some(variable("DOWNLINK_KAFKA")?),
        prefix: prefix_of(&args.data)?,
        settings: args.settings,
    };
    let hub = SplitHub::start(&options)?;
    write_facts(&args.data, &hub)?;
    runtime.block_on(stop.recv());
    hub.stop()
}

struct Args {
    data: PathBuf,
    hosts: Vec<String>,
    listen: IpAddr,
    settings: Vec<String>,
}

impl Args {
    fn parse(words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let (mut data, mut listen) = (None, None);
        let (mut hosts, mut settings) = (Vec::new(), Vec::new());
        let mut words = words;
        ensure!(
            words.next().as_deref() == Some("dev"),
            "the first word is `dev`"
        );
        while let Some(flag) = words.next() {
            let value = words
                .next()
                .with_context(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--data" => data = Some(PathBuf::from(value)),
                "--host" => hosts.push(value),
                "--listen" => listen = Some(value.parse()?),
                "--set" => settings.push(value),
                // These are for operators; the processes have addresses of their own for them.
                "--grpc-port" | "--metrics-port" => {}
                other => bail!("{other} is not known here"),
            }
        }
        ensure!(!hosts.is_empty(), "--host is missing");
        Ok(Self {
            data: data.context("--data is missing")?,
            hosts,
            listen: listen.context("--listen is missing")?,
            settings,
        })
    }
}

/// The database of a data folder: the one it was given at its first start.
fn database_of(data: &Path) -> anyhow::Result<String> {
    let note = data.join("database-url");
    if let Ok(url) = std::fs::read_to_string(&note) {
        return Ok(url);
    }
    let url = create_database(&variable("DOWNLINK_POSTGRES")?)?;
    std::fs::write(&note, &url)?;
    Ok(url)
}

/// Makes a database on the server of `url`.
fn create_database(url: &str) -> anyhow::Result<String> {
    let name = format!("split_{:016x}", RandomIds.connection_number());
    let made = Command::new("psql")
        .args([
            url,
            "--quiet",
            "--command",
            &format!("CREATE DATABASE {name}"),
        ])
        .output()
        .context("`psql` is not installed")?;
    ensure!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let (server, _) = url.rsplit_once('/').context("a database url has a path")?;
    Ok(format!("{server}/{name}"))
}

/// Keys and topics are named after the database.
fn prefix_of(data: &Path) -> anyhow::Result<String> {
    let url = database_of(data)?;
    let name = url
        .rsplit('/')
        .next()
        .context("a database url has a path")?;
    Ok(name.to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "these variables name servers of a test run and are no settings of the product"
)]
fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

fn wait_for_ports(layout: &Layout) -> anyhow::Result<()> {
    let end = Instant::now() + PORT_PATIENCE;
    for doors in &layout.gateways {
        for port in [doors.mqtts, doors.amqps, doors.https, doors.grpc] {
            let address = SocketAddr::new(doors.address, port);
            while let Err(error) = TcpListener::bind(address) {
                if Instant::now() > end {
                    return Err(error).with_context(|| format!("{address} is in use"));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    Ok(())
}

/// Writes `connect.json` as `downlink dev` does, in one step.
fn write_facts(data: &Path, hub: &SplitHub) -> anyhow::Result<()> {
    let mut facts = hub.credentials.json.clone();
    facts["caFile"] = json!(hub.ca_file);
    facts["ports"] = json!({ "mqtts": 8883, "amqps": 5671, "https": 443, "grpc": 5180 });
    let temporary = data.join("connect.json.new");
    std::fs::write(&temporary, facts.to_string())?;
    std::fs::rename(temporary, data.join("connect.json"))?;
    Ok(())
}
